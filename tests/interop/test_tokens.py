"""Private keys in PKCS#11 tokens: SoftHSM, SoftHSM in another process behind p11-kit, and a TPM."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import polytls.asyncio
from interop.token_peers import HOST, KEYS, PATIENCE, PIN, SOFTHSM, TPM2, Tokens, end, run
from pages import ROOT, programs
from polytls import (
    Certificate,
    ConfigurationError,
    PrivateKey,
    SigningChain,
    TLSServerConfiguration,
    TLSVersion,
    TokenError,
    TokenFailure,
)
from polytls.cli import main
from polytls.insecure import SecurityWarning
from polytls.reload import ReloadingServerContext
from polytls.testing import Pair
from polytls.testing.certificates import pem
from polytls.tokens import PinRequest, private_key, signing_chain, tokens

pytestmark = pytest.mark.peers

P11_KIT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
#: For what needs a process of its own.
each_library = pytest.mark.parametrize(
    "library",
    [
        name
        for name in polytls.implementations()
        if "id" in polytls.implementation(name).capabilities.key_sources
    ],
)


def connected(lab: Any, hsm: Tokens, server: Any, client: Any) -> None:
    outcome = lab.settle(pair := Pair(client.create_buffer(HOST), server.create_buffer()))
    assert (outcome.client, outcome.server) == (None, None)
    assert pair.client.getpeercert() is not None


# --- handshakes ---


@pytest.fixture
def native(lab: Any) -> Any:
    """A lab of an implementation that takes ids."""
    if "id" not in lab.implementation.capabilities.key_sources:
        pytest.skip("takes no ids")
    return lab


@pytest.mark.parametrize("version", [V12, V13], ids=lambda version: version.name)
@pytest.mark.parametrize("name", KEYS)
def test_a_key_in_a_token_signs_for_servers_and_for_clients(
    native: Any, hsm: Tokens, name: str, version: TLSVersion
) -> None:
    chain = hsm.chain(name)
    server = native.server(chain, version=version, trust_store=hsm.trust())
    client = native.client(version=version, trust_store=hsm.trust(), certificate_chain=chain)
    assert server.handshake_may_block
    assert client.handshake_may_block
    outcome = native.settle(pair := Pair(client.create_buffer(HOST), server.create_buffer()))
    assert (outcome.client, outcome.server) == (None, None)
    assert pair.client.getpeercert() == pair.server.getpeercert()


def test_a_whole_chain_comes_from_a_token_with_a_pin_that_is_asked_for(
    native: Any, hsm: Tokens
) -> None:
    chain = signing_chain(hsm.uri("ec", pin=None), pin=lambda _: PIN)
    server = native.server(chain)
    connected(native, hsm, server, native.client(trust_store=hsm.trust()))


def test_a_library_that_takes_no_ids_says_so(lab: Any, hsm: Tokens) -> None:
    if "id" in lab.implementation.capabilities.key_sources:
        pytest.skip("takes ids")
    with pytest.raises(ConfigurationError, match="an id") as refused:
        lab.server(hsm.chain("ec"))
    assert refused.value.field == "certificate_chain"


def test_sockets_listeners_and_asyncio_take_keys_in_tokens(native: Any, hsm: Tokens) -> None:
    server = native.server(hsm.chain("rsa"))
    client = native.client(trust_store=hsm.trust())

    async def echo(reader: Any, writer: Any) -> None:
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()

    async def talk() -> bytes:
        listening = await polytls.asyncio.start_server(echo, "127.0.0.1", 0, tls=server)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            reader, writer = await polytls.asyncio.open_connection(
                "127.0.0.1", port, tls=client, server_hostname=HOST
            )
            writer.write(b"hello")
            answer: bytes = await reader.read(100)
            writer.close()
            return answer

    assert asyncio.run(asyncio.wait_for(talk(), PATIENCE)) == b"hello"
    with server.connect(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        accepted = thread.submit(listener.accept)
        with client.connect(listener.getsockname(), server_hostname=HOST) as ours:
            theirs, _ = accepted.result(PATIENCE)
            theirs.sendall(b"hello")
            assert ours.recv(100) == b"hello"
            theirs.close(force=True)


def test_eight_threads_share_a_key(native: Any, hsm: Tokens) -> None:
    server = native.server(hsm.chain("ec"), sessions=None)
    client = native.client(trust_store=hsm.trust(), sessions=None)

    def handshakes(_: int) -> int:
        for _ in range(500):
            connected(native, hsm, server, client)
        return 500

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(handshakes, range(8))) == 4000


def test_a_server_moves_to_other_keys_of_the_token_under_load(native: Any, hsm: Tokens) -> None:
    chains = {name: hsm.chain(name) for name in KEYS}
    leaves = {name: signing_chain(hsm.uri(name)).leaf[0].buffer for name in KEYS}
    server = ReloadingServerContext(
        native.implementation, TLSServerConfiguration([chains["ec"]], sessions=None)
    )
    client = native.client(trust_store=hsm.trust(), sessions=None)
    stop = threading.Event()

    def shown() -> bytes | None:
        outcome = native.settle(pair := Pair(client.create_buffer(HOST), server.create_buffer()))
        assert (outcome.client, outcome.server) == (None, None)
        leaf: bytes | None = pair.client.getpeercert()
        return leaf

    def load() -> int:
        done = 0
        while not stop.is_set():
            assert shown() in leaves.values()
            done += 1
        return done

    with ThreadPoolExecutor(4) as threads:
        loads = [threads.submit(load) for _ in range(4)]
        try:
            for _ in range(5):
                for name, chain in chains.items():
                    server.replace([chain])
                    assert shown() == leaves[name]
            with pytest.raises(ConfigurationError):
                server.replace([hsm.chain("none")])
            assert shown() == leaves[name]
        finally:
            stop.set()
        assert all(done.result(PATIENCE) for done in loads)


# --- what is wrong ---

WRONG = {
    "no token": ("pkcs11:token=none", {}, TokenFailure.NOT_FOUND, "it has pkcs11:token="),
    "no key": ("pkcs11:token=web;object=none", {}, TokenFailure.NOT_FOUND, "it has pkcs11:object="),
    "several keys": (
        "pkcs11:token=web;object=twin",
        {},
        TokenFailure.AMBIGUOUS,
        "id=%00%04;type=private, pkcs11:object=twin;id=%00%05",
    ),
    "several tokens": ("pkcs11:object=ec", {}, TokenFailure.AMBIGUOUS, "2 tokens match"),
    "wrong PIN": ("pkcs11:token=web;object=ec", {"pin": "9999"}, TokenFailure.WRONG_PIN, "PIN"),
    "no PIN": (
        "pkcs11:token=other;object=ec",
        {"pin": None},
        TokenFailure.NO_PIN,
        "requires a PIN",
    ),
    "certificate": (
        "pkcs11:token=web;object=ec;type=cert",
        {},
        TokenFailure.INVALID_URI,
        "private",
    ),
    "unknown attribute": ("pkcs11:colour=red", {}, TokenFailure.INVALID_URI, "colour"),
    "no module": (
        "pkcs11:token=web;object=ec",
        {"module": "/nowhere.so"},
        TokenFailure.NO_MODULE,
        "/nowhere.so",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(hsm: Tokens, case: str) -> None:
    path, given, reason, said = WRONG[case]
    options = {"pin": PIN, "module": SOFTHSM} | given
    uri = f"{path}?module-path={options['module']}"
    if options["pin"] is not None:
        uri += f"&pin-value={options['pin']}"
    with pytest.raises(TokenError) as refused:
        private_key(uri)
    assert refused.value.reason is reason
    assert said in str(refused.value)
    assert f"pin-value={PIN}" not in str(refused.value)


def test_a_context_names_the_field_and_keeps_the_reason(native: Any, hsm: Tokens) -> None:
    certificate = Certificate.from_id(hsm.uri("ec").encode())
    missing = PrivateKey.from_id(hsm.uri("none").encode())
    with pytest.raises(ConfigurationError, match="no private key of the token") as refused:
        native.server(SigningChain((certificate, missing)))
    assert refused.value.field == "certificate_chain"
    cause = refused.value.__cause__
    assert isinstance(cause, TokenError)
    assert cause.reason is TokenFailure.NOT_FOUND


def test_a_key_of_another_certificate_is_refused(native: Any, hsm: Tokens) -> None:
    certificate = Certificate.from_id(hsm.uri("ec").encode())
    other = PrivateKey.from_id(hsm.uri("ec384").encode())
    with pytest.raises(ConfigurationError, match="does not match the"):
        native.server(SigningChain((certificate, other)))


# --- PINs ---


def in_a_process_of_its_own(code: str, *arguments: str) -> str:
    """Where no other test has logged in."""
    return run(sys.executable, "-c", code, *arguments)


CALLBACK = """
import sys
from polytls import TokenError
from polytls.tokens import private_key
asked = []
def pin(request):
    asked.append(request)
    return sys.argv[2]
for attempt in range(3):
    try:
        private_key(sys.argv[1], pin=pin)
        print("opened")
    except TokenError as error:
        print(error.reason.value)
print(len(asked), asked[0].token, asked[0].for_signature)
"""


def test_a_callback_is_asked_once_a_login(hsm: Tokens) -> None:
    uri = hsm.uri("ec", pin=None)
    assert in_a_process_of_its_own(CALLBACK, uri, PIN).splitlines() == [
        "opened",
        "opened",
        "opened",
        "1 web False",
    ]
    assert in_a_process_of_its_own(CALLBACK, uri, "9999").splitlines()[:3] == ["wrong PIN"] * 3


RAISES = """
import sys
from polytls.tokens import private_key
def pin(request):
    raise LookupError("the safe is shut")
try:
    private_key(sys.argv[1], pin=pin)
except OSError as error:
    print(type(error).__name__, error.reason.value, repr(error.__cause__))
"""


def test_what_a_callback_raises_is_the_cause(hsm: Tokens) -> None:
    told = in_a_process_of_its_own(RAISES, hsm.uri("ec", pin=None))
    assert told.strip() == "TokenError no PIN LookupError('the safe is shut')"


WRONG_WHILE_LOGGED_IN = """
import sys
from polytls import TokenError
from polytls.tokens import private_key
key = private_key(sys.argv[1])
try:
    private_key(sys.argv[2])
    print("opened")
except TokenError as error:
    print(error.reason.value)
"""


def test_a_wrong_pin_is_refused_while_another_has_logged_in(hsm: Tokens) -> None:
    right, wrong = hsm.uri("ec"), hsm.uri("ec", pin="9999")
    assert in_a_process_of_its_own(WRONG_WHILE_LOGGED_IN, right, wrong).strip() == "wrong PIN"


def test_a_pin_comes_from_the_first_line_of_a_file(hsm: Tokens, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text(f"{PIN}\nanother line\n")
    for source in (file, f"file:{file}", f"file://{file}"):
        uri = f"{hsm.uri('ec', pin=None)}&pin-source={source}"
        assert in_a_process_of_its_own(
            CALLBACK.replace("asked[0].token", "0").replace("asked[0].for_signature", "0"),
            uri,
            "unused",
        ).startswith("opened")
    missing = f"{hsm.uri('ec', pin=None)}&pin-source={tmp_path}/missing"
    told = in_a_process_of_its_own(RAISES, missing)
    assert told.startswith("TokenError no PIN")


def test_a_key_may_want_its_pin_for_each_signature(hsm: Tokens) -> None:
    asked: list[PinRequest] = []

    def pin(request: PinRequest) -> str:
        asked.append(request)
        return PIN

    signer = private_key(hsm.uri("strict", pin=None), pin=pin).signer
    assert signer is not None
    asked.clear()
    for _ in range(3):
        assert signer.sign(b"data", signer.algorithms[0])
    assert [request.for_signature for request in asked] == [True] * 3


def test_no_text_has_the_pin(native: Any, hsm: Tokens, tmp_path: Path) -> None:
    chain, key = hsm.chain("ec"), private_key(hsm.uri("ec"))
    said = [repr(each) for each in (chain, key, key.signer, *chain.leaf)]
    log = tmp_path / "keys"
    with pytest.warns(SecurityWarning):
        server = native.server(chain, key_log=log)
    connected(native, hsm, server, native.client(trust_store=hsm.trust()))
    said += [repr(server.configuration), log.read_text()]
    assert "TRAFFIC_SECRET" in said[-1]
    for wrong in ("none", "twin"):
        faulty = PrivateKey.from_id(hsm.uri(wrong).encode())
        with pytest.raises(ConfigurationError) as refused:
            native.server(SigningChain((chain.leaf[0], faulty)))
        said += traceback.format_exception(refused.value)
    for text in said:
        assert PIN not in text
        assert "pin-value" not in text


def test_an_unknown_query_attribute_is_warned_of(hsm: Tokens) -> None:
    with pytest.warns(UserWarning, match="x-colour"):
        private_key(hsm.uri("ec") + "&x-colour=red")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        private_key(hsm.uri("ec"))


# --- processes, and tokens that go ---

#: A server context with the key and the certificate of a URI, before anything forks.
SERVER = """
import os, sys
import polytls
from polytls import *
implementation = polytls.implementation(sys.argv[1])
uri = sys.argv[2].encode()
chain = SigningChain((Certificate.from_id(uri), PrivateKey.from_id(uri)))
configuration = TLSServerConfiguration(certificate_chain=[chain], sessions=None)
server = implementation.server_context(configuration)
"""

CHILDREN = (
    SERVER
    + """
from polytls.testing import Pair
trust = TrustStore.from_file(sys.argv[3])
client = implementation.client_context(TLSClientConfiguration(trust_store=trust, sessions=None))
def handshake():
    pair = Pair(client.create_buffer("server.example"), server.create_buffer())
    pair.handshake()
handshake()
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        try:
            for _ in range(25):
                handshake()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
for _ in range(25):
    handshake()
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
)


@each_library
def test_children_of_fork_log_in_for_themselves(hsm: Tokens, tmp_path: Path, library: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(hsm.ca.certificate_pem)
    assert (
        in_a_process_of_its_own(CHILDREN, library, hsm.uri("ec"), str(file)).strip()
        == "[0, 0, 0, 0]"
    )


PREFORKED = (
    SERVER
    + """
with server.connect(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"%d" % os.getpid())
            finally:
                os._exit(1)
        children.append(child)
    print(*children, flush=True)
    sys.stdin.read()
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
"""
)


def test_the_children_of_a_server_serve_with_the_key(native: Any, hsm: Tokens) -> None:
    client = native.client(trust_store=hsm.trust(), sessions=None)
    process = subprocess.Popen(
        [sys.executable, "-c", PREFORKED, native.implementation.name, hsm.uri("ec")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        children = {int(number) for number in process.stdout.readline().split()}
        assert len(children) == 4
        served: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while served != children:
            assert time.monotonic() < deadline, (served, children)
            # Several at a time, or one child gets them all.
            with ExitStack() as stack:
                ours = [
                    stack.enter_context(
                        client.connect(("127.0.0.1", port), server_hostname=HOST, timeout=PATIENCE)
                    )
                    for _ in range(16)
                ]
                served |= {int(each.recv(100)) for each in ours}
        assert served == children
    finally:
        process.stdin.close()
        process.wait(PATIENCE)
        end(process)


class Remote:
    """SoftHSM in a process of its own, behind p11-kit."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.address.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                "p11-kit", "server", "--foreground", "--name", str(self.address),
                "--provider", SOFTHSM, "pkcs11:token=web",
            ],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.address)) == 0:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Pull it: the processes of those who are connected, too."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def remote(hsm: Tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        remote = Remote(tmp_path_factory.mktemp("p11") / "socket")
        patch.setenv("P11_KIT_SERVER_ADDRESS", f"unix:path={remote.address}")
        stack.callback(remote.stop)
        remote.start()
        yield remote


PULLED = """
import os, sys, threading, time
import polytls
from polytls import *
from polytls.testing import Pair
implementation = polytls.implementation(sys.argv[1])
def chain(uri):
    uri = uri.encode()
    return SigningChain((Certificate.from_id(uri), PrivateKey.from_id(uri)))
def server(uri):
    configuration = TLSServerConfiguration(certificate_chain=[chain(uri)], sessions=None)
    return implementation.server_context(configuration)
remote, local = server(sys.argv[2]), server(sys.argv[3])
trust = TrustStore.from_file(sys.argv[4])
client = implementation.client_context(TLSClientConfiguration(trust_store=trust, sessions=None))
def handshake(server):
    try:
        Pair(client.create_buffer("server.example"), server.create_buffer()).handshake()
        return "done"
    except TLSError as error:
        return type(error).__name__
stop = threading.Event()
seen = {"local": [], "remote": []}
def load(name, server):
    while not stop.is_set():
        seen[name].append(handshake(server))
loads = [("local", local), ("remote", remote)] * 2
threads = [threading.Thread(target=load, args=pair) for pair in loads]
for thread in threads: thread.start()
for line in sys.stdin:
    print({name: sorted(set(outcomes)) for name, outcomes in seen.items()}, flush=True)
    if line.strip() == "clear":
        seen["local"].clear(), seen["remote"].clear()
stop.set()
for thread in threads: thread.join(20)
print([thread.is_alive() for thread in threads], handshake(remote), flush=True)
"""


@each_library
def test_a_token_is_pulled_and_put_back_under_load(
    hsm: Tokens, remote: Remote, tmp_path: Path, library: str
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(hsm.ca.certificate_pem)
    away, here = hsm.uri("ec", module=P11_KIT), hsm.uri("ec384")
    process = subprocess.Popen(
        [sys.executable, "-c", PULLED, library, away, here, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:

        def comes_to(remote: str) -> None:
            """What the threads see from now on, once the change has come through."""
            assert process.stdin is not None
            assert process.stdout is not None
            deadline = time.monotonic() + PATIENCE
            seen = ""
            while seen != f"{{'local': ['done'], 'remote': ['{remote}']}}":
                assert time.monotonic() < deadline, seen
                time.sleep(0.3)
                process.stdin.write("clear\n")
                process.stdin.flush()
                seen = process.stdout.readline().strip()

        comes_to("done")
        remote.stop()
        comes_to("TLSError")
        remote.start()
        comes_to("done")
        process.stdin.close()
        assert process.stdout.readline().strip() == "[False, False, False, False] done"
        assert process.wait(PATIENCE) == 0
    finally:
        end(process)


SCANNED = """
import sys
import polytls
from polytls import *
from polytls.testing import Pair
implementation = polytls.implementation(sys.argv[1])
uri = sys.argv[2].encode()
chain = SigningChain((Certificate.from_id(uri), PrivateKey.from_id(uri)))
server = implementation.server_context(TLSServerConfiguration(certificate_chain=[chain]))
trust = TrustStore.from_file(sys.argv[3])
client = implementation.client_context(TLSClientConfiguration(trust_store=trust))
pair = Pair(client.create_buffer("server.example"), server.create_buffer())
pair.handshake()
print("ready", flush=True)
sys.stdin.read()
"""


def _memory(process: int) -> Iterator[bytes]:
    with (
        open(f"/proc/{process}/maps") as maps,
        open(f"/proc/{process}/mem", "rb", buffering=0) as memory,
    ):
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("r") or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            with suppress(OSError):
                yield memory.read(end - start)


@each_library
def test_no_byte_of_the_key_is_in_the_process(
    hsm: Tokens, remote: Remote, tmp_path: Path, library: str
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(hsm.ca.certificate_pem)
    process = subprocess.Popen(
        [sys.executable, "-c", SCANNED, library, hsm.uri("ec", module=P11_KIT), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        # PKCS#8 of a P-256 key: the scalar is the 32 bytes behind this header of ECPrivateKey.
        der = hsm.private["ec"]
        at = der.index(b"\x02\x01\x01\x04\x20") + 5
        scalar = der[at : at + 32]
        leaf = tokens_certificate(hsm)
        found = {"scalar": False, "certificate": False}
        for part in _memory(process.pid):
            found["scalar"] |= scalar in part or scalar[::-1] in part
            found["certificate"] |= leaf in part
        # The certificate shows that the scan finds what is there.
        assert found == {"scalar": False, "certificate": True}
    finally:
        end(process)


def tokens_certificate(hsm: Tokens) -> bytes:
    leaf = signing_chain(hsm.uri("ec")).leaf[0].buffer
    assert leaf is not None
    return leaf


# --- a TPM ---

PUBLIC = """
import sys
from polytls.tokens import private_key
sys.stdout.write(private_key(sys.argv[1]).signer.public_key.hex())
"""

TPM_HANDSHAKES = """
import sys
import polytls
from polytls import *
from polytls.testing import Pair
implementation = polytls.implementation(sys.argv[1])
uri, certificate, ca = sys.argv[2].encode(), sys.argv[3], sys.argv[4]
chain = SigningChain((Certificate.from_file(certificate), PrivateKey.from_id(uri)))
trust = TrustStore.from_file(ca)
for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
    only = {"lowest_supported_version": version, "highest_supported_version": version}
    server = implementation.server_context(
        TLSServerConfiguration(certificate_chain=[chain], trust_store=trust, **only)
    )
    client = implementation.client_context(
        TLSClientConfiguration(certificate_chain=chain, trust_store=trust, **only)
    )
    pair = Pair(client.create_buffer("server.example"), server.create_buffer())
    pair.handshake()
    print(pair.server.info.version.name, pair.server.getpeercert() is not None)
"""


def certified(tpm: Callable[..., str], tmp_path: Path, key_type: str) -> tuple[str, str, str]:
    """Have a TPM make a key; the key's URI, and the files of its certificate and of the CA."""
    tpm(
        "pkcs11-tool", "--module", TPM2, "--token-label", "tpm", "--login", "--pin", PIN,
        "--keypairgen", "--key-type", key_type, "--label", "server", "--id", "01",
    )  # fmt: skip
    uri = Tokens.uri("server", token="tpm", module=TPM2)
    public = bytes.fromhex(tpm(sys.executable, "-c", PUBLIC, uri))
    (tmp_path / "public.pem").write_bytes(pem("PUBLIC KEY", public))
    (tmp_path / "names").write_text(f"subjectAltName=DNS:{HOST}\n")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "ca-key", "request", "leaf")}
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    run(
        "openssl", "req", "-x509", *ec, "-subj", "/CN=TPM Root", "-days", "2",
        "-keyout", files["ca-key"], "-out", files["ca"],
    )  # fmt: skip
    run(
        "openssl", "req", "-new", *ec, "-subj", f"/CN={HOST}",
        "-keyout", str(tmp_path / "unused.pem"), "-out", files["request"],
    )  # fmt: skip
    run(
        "openssl", "x509", "-req", "-in", files["request"], "-days", "1",
        "-CA", files["ca"], "-CAkey", files["ca-key"], "-CAcreateserial",
        "-force_pubkey", str(tmp_path / "public.pem"),
        "-extfile", str(tmp_path / "names"), "-out", files["leaf"],
    )  # fmt: skip
    return uri, files["leaf"], files["ca"]


@pytest.mark.parametrize("key_type", ["EC:prime256v1", "RSA:2048"])
@each_library
def test_a_tpm_signs_handshakes(
    tpm: Callable[..., str], tmp_path: Path, key_type: str, library: str
) -> None:
    told = tpm(sys.executable, "-c", TPM_HANDSHAKES, library, *certified(tpm, tmp_path, key_type))
    assert told.split() == ["TLSv1_2", "True", "TLSv1_3", "True"]


# --- the page ---


def test_the_program_of_the_page_runs(hsm: Tokens, tmp_path: Path) -> None:
    code = programs(ROOT / "docs" / "identity.md")["Keys in PKCS#11 tokens"].code
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    code = code.replace("object=server", "object=ec").replace("/run/secrets/pin", str(pin))
    code = code.replace("input(", "str('7519-4826' if True else ")
    assert in_a_process_of_its_own(code) == ""


def test_the_tutorial_works_as_pasted(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorials" / "hsm.md"
    commands = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(commands) == 3
    (tmp_path / "server.py").write_text(programs(page)["Serve with it"].code)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", "".join(commands) + f"{sys.executable} -W error server.py"],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pkcs11:" in done.stdout
    assert done.stdout.endswith("b'signed by the token'\n")


#: Behind the program of the page.
HANDSHAKE = """
import sys
from polytls.testing import tie
trust = polytls.TrustStore.from_file(sys.argv[1])
configuration = polytls.TLSClientConfiguration(trust_store=trust)
client = polytls.implementation().client_context(configuration)
pair = tie(client.create_buffer("server.example"), server.create_buffer())
print(pair.send(pair.server, b"signed"))
"""


def test_the_program_with_a_tpm_runs(
    tpm: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, leaf, ca = certified(tpm, tmp_path, "EC:prime256v1")
    (tmp_path / "cert.pem").write_bytes(Path(leaf).read_bytes())
    (tmp_path / "pin").write_text(PIN)
    monkeypatch.chdir(tmp_path)
    code = programs(ROOT / "docs" / "signers.md")["A TPM"].code
    assert uri.startswith("pkcs11:token=tpm;object=server?")
    code = code.replace("/run/secrets/pin", str(tmp_path / "pin")).replace(
        "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so", TPM2
    )
    told = tpm(sys.executable, "-c", code + HANDSHAKE, ca)
    assert told.splitlines() == ["['ecdsa_secp256r1_sha256']", "b'signed'"]


# --- the kit ---


def test_the_cases_of_signers_pass_with_keys_in_tokens(native: Any, tmp_path: Path) -> None:
    own = {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "--pyargs", "polytls.testing.conformance",
            "-c", os.devnull, "--tb=short", "-p", "no:cacheprovider", "-p", "pytest_polytls",
            "--polytls-implementation", native.implementation.name,
            "--polytls-signers", "polytls.testing.softhsm:signer",
            "-k", "signer or elsewhere",
        ],
        cwd=tmp_path,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# --- the command ---


def test_the_command_lists_tokens_and_tries_keys(
    hsm: Tokens, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokens", "list", SOFTHSM]) == 0
    listed = capsys.readouterr().out
    assert "pkcs11:token=web;" in listed
    assert "object=ec;id=%00%01;type=cert" in listed
    certificate = next(line.strip() for line in listed.splitlines() if "object=ec;" in line)
    key = certificate.replace("type=cert", "type=private") + f"&pin-value={PIN}"
    assert main(["tokens", "check", key]) == 0
    assert "ecdsa_secp256r1_sha256" in capsys.readouterr().out
    assert main(["tokens", "check", hsm.uri("none")]) == 1
    assert "no private key" in capsys.readouterr().err


def test_tokens_are_told_with_their_objects(hsm: Tokens) -> None:
    web = next(token for token in tokens(SOFTHSM, pin=lambda _: PIN) if "token=web" in token.uri)
    assert web.needs_pin
    assert any("object=ec;" in uri and "type=private" in uri for uri in web.objects)
