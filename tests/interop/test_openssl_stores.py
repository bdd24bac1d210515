"""Keys and certificates that OpenSSL's providers find by URI.

pkcs11-provider with SoftHSM, and tpm2-openssl with a TPM in software; tools/install-peers.sh
unpacks both.

Each in a process of its own: a provider's module shares its logins with whoever has it loaded.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import polytls
from interop.token_peers import HOST, PIN, SOFTHSM, Tokens, run
from polytls import PrivateKey, TLSServerConfiguration

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        "openssl" not in polytls.implementations(), reason="there is no OpenSSL to be had"
    ),
]

CONFIGURATION = """
openssl_conf = init
[init]
providers = providers
[providers]
default = default_section
{name} = provider_section
[default_section]
activate = 1
[provider_section]
module = {module}
activate = 1
{more}
"""

#: Handshakes in both versions with one key on both sides; a failure's field, reason and words.
TRIED = """
import sys
from polytls import *
from polytls.engines import openssl
from polytls.testing import tie
configuration, ca, certificate, key, host = sys.argv[1:]
tls = openssl.with_options(configuration_file=configuration)
leaf = Certificate.from_file(certificate)
if certificate == "by id":
    leaf = Certificate.from_id(key.encode())
chain = SigningChain((leaf, PrivateKey.from_id(key.encode())))
trust = TrustStore.from_file(ca)
try:
    for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
        only = {"lowest_supported_version": version, "highest_supported_version": version}
        server = tls.server_context(
            TLSServerConfiguration(certificate_chain=[chain], trust_store=trust, **only)
        )
        client = tls.client_context(
            TLSClientConfiguration(certificate_chain=chain, trust_store=trust, **only)
        )
        assert server.handshake_may_block and client.handshake_may_block
        pair = tie(client.create_buffer(host), server.create_buffer())
        assert pair.client.getpeercert() == pair.server.getpeercert() != None
        print(version.name)
except ConfigurationError as error:
    print(error.field, error.__cause__.reason.name, error)
"""


def provider(folder: Path, name: str, package: str, more: str = "") -> Path:
    """A configuration with a provider of `package`."""
    found = list((ROOT / ".tools" / package).glob(f"usr/lib/*/ossl-modules/{name}.so"))
    assert found, f"{package} is missing: run tools/install-peers.sh"
    path = folder / f"{name}.cnf"
    path.write_text(CONFIGURATION.format(name=name, module=found[0], more=more))
    return path


@pytest.fixture
def tried(hsm: Tokens, tmp_path: Path) -> Callable[..., str]:
    """A function that tries a key by its URI, and says what came of it."""
    # Without the quirk, SoftHSM has taken itself apart when the provider ends (softhsm issue 729).
    more = f"pkcs11-module-path = {SOFTHSM}\npkcs11-module-quirks = no-deinit"
    configuration = provider(tmp_path, "pkcs11", "pkcs11-provider", more)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(hsm.ca.certificate_pem)

    def go(key: str, certificate: str = "by id", pin: str | None = None) -> str:
        """`pin`: that of the configuration."""
        if pin is not None:
            provider(
                tmp_path, "pkcs11", "pkcs11-provider", f"{more}\npkcs11-module-token-pin = {pin}"
            )
        return run(
            sys.executable, "-c", TRIED, str(configuration), str(ca), certificate, key, HOST
        ).strip()

    return go


def stored(name: str, pin: str | None = PIN) -> str:
    given = "" if pin is None else f"?pin-value={pin}"
    return f"store:pkcs11:token=web;object={name}{given}"


BOTH = "TLSv1_2\nTLSv1_3"


@pytest.mark.parametrize("name", ["ec", "ec384", "rsa"])
def test_a_key_and_a_certificate_are_found_by_a_provider(
    tried: Callable[..., str], name: str
) -> None:
    assert tried(stored(name)) == BOTH


@pytest.fixture
def leaf(hsm: Tokens, tmp_path: Path) -> str:
    """A file with a certificate whose key is in no token."""
    chain = hsm.ca.issue(HOST)
    path = tmp_path / "leaf.pem"
    assert chain.leaf[0].buffer is not None
    assert chain.leaf[1] is not None
    path.write_bytes(chain.leaf[0].buffer)
    (tmp_path / "key.der").write_bytes(chain.leaf[1].buffer or b"")
    run(
        "openssl", "pkey", "-inform", "DER", "-in", str(tmp_path / "key.der"),
        "-out", str(tmp_path / "key.pem"),
    )  # fmt: skip
    run(
        "openssl", "pkey", "-in", str(tmp_path / "key.pem"), "-aes256", "-passout", "pass:secret",
        "-out", str(tmp_path / "encrypted.pem"),
    )  # fmt: skip
    return str(path)


def test_a_file_is_a_store_too(tried: Callable[..., str], leaf: str, tmp_path: Path) -> None:
    assert tried(f"file:{tmp_path}/key.pem", leaf) == BOTH


WRONG = {
    "no key": (stored("none"), "NOT_FOUND", "finds no private key"),
    "several": (stored("twin"), "AMBIGUOUS", "2 private keys"),
    "another's": (stored("ec"), "UNUSABLE", "does not belong to the certificate"),
    "another kind's": (stored("rsa"), "UNUSABLE", "does not belong to the certificate"),
    "wrong PIN": (stored("ec", "9999"), "WRONG_PIN", "does not accept the PIN"),
    "wrong PIN, no key": (stored("none", "9999"), "WRONG_PIN", "does not accept the PIN"),
    "no PIN": (stored("ec", None), "NO_PIN", "a PIN or password is wanted"),
    "no file": ("file:/nowhere/key.pem", "NOT_FOUND", "no such file"),
    "no provider": ("handle:0x81010001", "NO_MODULE", "openssl.cnf"),
    "no URI": ("key.pem", "INVALID_URI", "an id is a URI"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(tried: Callable[..., str], leaf: str, case: str) -> None:
    uri, reason, said = WRONG[case]
    told = tried(uri, leaf)
    assert told.startswith(f"certificate_chain {reason} openssl: certificate_chain: ")
    assert said in told
    assert "pin-value" not in told


@pytest.mark.parametrize(
    ("uris", "configured", "accepted"),
    [
        (None, PIN, True),
        (None, "9999", False),
        # That of the URI comes first.
        ("9999", PIN, False),
        (PIN, "9999", True),
    ],
)
def test_a_pin_of_the_configuration_is_right_or_wrong_too(
    tried: Callable[..., str], uris: str | None, configured: str, accepted: bool
) -> None:
    told = tried(stored("ec", uris), pin=configured)
    assert told == BOTH if accepted else " WRONG_PIN " in told
    assert "9999" not in told


def test_several_certificates_are_not_a_chain(tried: Callable[..., str]) -> None:
    told = tried(stored("twin"))
    assert "AMBIGUOUS" in told
    assert "2 certificates" in told


@pytest.mark.parametrize("kind", ["token", "file"])
def test_nobody_is_asked_on_a_terminal(
    tried: Callable[..., str], leaf: str, tmp_path: Path, kind: str
) -> None:
    """A server would wait for ever."""
    key = stored("ec", None) if kind == "token" else f"file:{tmp_path}/encrypted.pem"
    master, terminal = os.openpty()
    try:
        files = (str(tmp_path / "pkcs11.cnf"), str(tmp_path / "ca.pem"), leaf)
        done = subprocess.run(
            [sys.executable, "-c", TRIED, *files, key, HOST],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            start_new_session=True,
            # It is the controlling terminal, which OpenSSL would open as /dev/tty.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            timeout=60,
            check=False,
        )
        assert "NO_PIN" in done.stdout
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1000)
    finally:
        os.close(terminal)
        os.close(master)


SHARED = """
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from polytls import *
from polytls.engines import openssl
from polytls.testing import tie
configuration, ca, key, host = sys.argv[1:]
tls = openssl.with_options(configuration_file=configuration)
chain = SigningChain((Certificate.from_id(key.encode()), PrivateKey.from_id(key.encode())))
server = tls.server_context(TLSServerConfiguration(certificate_chain=[chain], sessions=None))
trust = TrustStore.from_file(ca)
client = tls.client_context(TLSClientConfiguration(trust_store=trust, sessions=None))
def handshakes(_=None):
    for _ in range(20):
        tie(client.create_buffer(host), server.create_buffer())
    return 20
with ThreadPoolExecutor(4) as threads:
    print(sum(threads.map(handshakes, range(4))))
for _ in range(2):
    child = os.fork()
    if child == 0:
        try:
            handshakes()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), handshakes())
"""


def test_threads_and_children_of_fork_share_a_key(
    hsm: Tokens,
    tried: Callable[..., str],
    tmp_path: Path,
) -> None:
    files = (str(tmp_path / "pkcs11.cnf"), str(tmp_path / "ca.pem"))
    told = run(sys.executable, "-c", SHARED, *files, stored("ec"), HOST)
    assert told.split() == ["80", "0", "20", "0", "20"]


def test_other_libraries_take_pkcs11_uris_alone() -> None:
    certificate, _ = polytls.testing.CertificateAuthority().issue(HOST).leaf
    chain = polytls.SigningChain((certificate, PrivateKey.from_id(b"handle:0x81010001")))
    with pytest.raises(polytls.ConfigurationError, match="pkcs11:") as refused:
        polytls.implementation("rustls").validate_config(
            TLSServerConfiguration(certificate_chain=[chain])
        )
    assert refused.value.field == "certificate_chain"


# --- a TPM ---


def test_a_tpm_signs_by_its_handles(tpm: Callable[..., str], tmp_path: Path) -> None:
    configuration = str(provider(tmp_path, "tpm2", "tpm2-openssl"))
    at = {name: str(tmp_path / name) for name in ("primary", "public", "private", "loaded")}
    tpm("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", at["primary"])

    def made(handle: str, algorithm: str, password: str | None = None) -> str:
        """Make a key, keep it at the handle, and certify it."""
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
        if password is None:
            # Without protection against guessing, which the key with a password sets off.
            given, attributes = [], f"{attributes}|noda"
        else:
            given = ["-p", password]
        tpm(
            "tpm2_create", "-C", at["primary"], "-G", algorithm, *given, "-a", attributes,
            "-u", at["public"], "-r", at["private"],
        )  # fmt: skip
        tpm(
            "tpm2_load", "-C", at["primary"], "-u", at["public"], "-r", at["private"],
            "-c", at["loaded"],
        )  # fmt: skip
        tpm("tpm2_evictcontrol", "-C", "o", "-c", at["loaded"], handle)
        tpm("tpm2_readpublic", "-c", handle, "-f", "pem", "-o", f"{tmp_path}/{handle}.pub")
        run(
            "openssl", "x509", "-req", "-in", f"{tmp_path}/request.pem", "-days", "1",
            "-CA", f"{tmp_path}/ca.pem", "-CAkey", f"{tmp_path}/ca-key.pem", "-CAcreateserial",
            "-force_pubkey", f"{tmp_path}/{handle}.pub",
            "-extfile", f"{tmp_path}/names", "-out", f"{tmp_path}/{handle}.pem",
        )  # fmt: skip
        return f"{tmp_path}/{handle}.pem"

    def tried(key: str, certificate: str) -> str:
        ca = f"{tmp_path}/ca.pem"
        return tpm(sys.executable, "-c", TRIED, configuration, ca, certificate, key, HOST).strip()

    (tmp_path / "names").write_text(f"subjectAltName=DNS:{HOST}\n")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    run(
        "openssl", "req", "-x509", *ec, "-subj", "/CN=TPM Root", "-days", "2",
        "-keyout", f"{tmp_path}/ca-key.pem", "-out", f"{tmp_path}/ca.pem",
    )  # fmt: skip
    run(
        "openssl", "req", "-new", *ec, "-subj", f"/CN={HOST}",
        "-keyout", f"{tmp_path}/unused.pem", "-out", f"{tmp_path}/request.pem",
    )  # fmt: skip

    ecc = made("0x81010001", "ecc256")
    rsa = made("0x81010002", "rsa2048")
    locked = made("0x81010003", "ecc256", "secret")
    assert tried("handle:0x81010001", ecc) == BOTH
    assert tried("handle:0x81010002", rsa) == BOTH
    assert " UNUSABLE " in tried("handle:0x81010002", ecc)
    assert " NOT_FOUND " in tried("handle:0x81010009", ecc)
    assert " NO_PIN " in tried("handle:0x81010003?pass", locked)
    assert " WRONG_PIN " in tried("handle:0x81010003", locked)
