"""`install`, `uninstall`, `report`, and `python -m polytls run`."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import SSLContext as TakenBefore
from typing import Any

import pytest

from polytls import compat

NAME = "server.example"


@pytest.fixture
def installed() -> Iterator[Callable[..., None]]:
    yield compat.install
    compat.uninstall()


def served(call: Callable[[], Any]) -> tuple[int, int]:
    """How many connections polytls and OpenSSL have made in a call."""
    before = compat.report()
    call()
    after = compat.report()
    return after["polytls"] - before["polytls"], after["openssl"] - before["openssl"]


def test_every_context_from_then_on_is_served(files: Any, memory: Any, installed: Any) -> None:
    before = files.client_context(ssl.SSLContext)
    installed()
    installed()

    def pair() -> None:
        client, server = files.client_context(TakenBefore), files.server_context(ssl.SSLContext)
        assert type(client) is ssl.SSLContext
        memory(client, server).handshake()

    assert served(pair) == (2, 0)
    # What exists stays OpenSSL's, and is told.
    assert served(lambda: memory(before).handshake()) == (1, 1)
    assert compat.report()["reasons"]["the context was created before install()"] >= 1
    assert compat.report()["installed"]
    assert ssl.CHANNEL_BINDING_TYPES == []


def test_uninstall_gives_everything_back(files: Any, memory: Any, installed: Any) -> None:
    attributes, bindings = dict(ssl.SSLContext.__dict__), list(ssl.CHANNEL_BINDING_TYPES)
    installed()
    assert dict(ssl.SSLContext.__dict__) != attributes
    meanwhile = files.client_context(ssl.SSLContext)
    trusting = ssl.create_default_context()
    compat.uninstall()
    compat.uninstall()
    now = dict(ssl.SSLContext.__dict__)
    assert now.keys() == attributes.keys()
    assert all(now[name] is attributes[name] for name in now if name != "__new__")
    assert bindings == ssl.CHANNEL_BINDING_TYPES
    assert not compat.report()["installed"]
    # A context that was made meanwhile is OpenSSL's, with all that it was told.
    pair = memory(meanwhile, files.server_context(ssl.SSLContext)).handshake()
    assert type(pair.client._sslobj).__module__ == "_ssl"
    assert trusting.cert_store_stats() == ssl.create_default_context().cert_store_stats()


def test_strict_is_the_default_and_fallback_is_counted(
    files: Any, memory: Any, installed: Any
) -> None:
    def legacy() -> Any:
        context = files.client_context(ssl.SSLContext)
        context._msg_callback = lambda *_: None
        return context

    installed()
    with pytest.raises(compat.Refused, match="_msg_callback"):
        memory(legacy())
    installed(fallback=True)
    client = legacy()
    assert served(lambda: memory(client, files.server_context()).handshake()) == (1, 1)
    # The context stays OpenSSL's.
    client._msg_callback = None
    assert served(lambda: memory(client, files.server_context()).handshake()) == (1, 1)
    assert any("_msg_callback" in reason for reason in compat.report()["reasons"])


def test_a_subclass_of_somebody_elses_is_served(files: Any, memory: Any, installed: Any) -> None:
    class Theirs(ssl.SSLContext):
        pass

    installed()
    client = files.client_context(Theirs)
    assert served(lambda: memory(client, files.server_context()).handshake()) == (2, 0)


IN_PLACE = """
    import ssl
    Standard = ssl.SSLContext
    class Theirs(Standard):
        pass
    ssl.SSLContext = Theirs
    from polytls import compat
    compat.install()
    for kind in (Theirs, Standard, compat.SSLContext):
        context = kind(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    print(compat.report()["polytls"], compat.report()["openssl"])
    compat.uninstall()
    print("_wrap_bio" in Standard.__dict__)
"""


def test_a_class_in_the_place_of_the_standard_librarys_is_served() -> None:
    """As gevent's and eventlet's, once they have patched `ssl`."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_PLACE)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stdout.split() == ["3", "0", "False"], ran.stderr


def test_what_is_set_past_any_override_is_obeyed(files: Any, memory: Any, installed: Any) -> None:
    """As truststore does it."""
    installed()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    ssl._ssl._SSLContext.verify_mode.__set__(client, ssl.CERT_NONE)
    pair = memory(client, files.server_context(ssl.SSLContext), name=None).handshake()
    chain = pair.client._sslobj.get_unverified_chain()
    assert chain[0].public_bytes(ssl._ssl.ENCODING_DER) == pair.client.getpeercert(True)


def serving(files: Any) -> tuple[int, Callable[[], None]]:
    listener = socket.create_server(("127.0.0.1", 0))
    context = files.server_context(ssl.SSLContext)

    def serve() -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as accepted:
            accepted.sendall(accepted.recv(100))
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], lambda: thread.join(20)


PROGRAM = """
    import json, socket, ssl, sys
    from polytls import compat
    context = ssl.create_default_context(cafile=sys.argv[1])
    plain = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(b"hello")
        said = sock.recv(100).decode()
    print(json.dumps([said, __name__, compat.report()["polytls"], sys.argv[1:]]))
"""


@pytest.mark.parametrize("as_module", [False, True])
def test_a_program_runs_with_polytls_under_it(files: Any, tmp_path: Path, as_module: bool) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    port, done = serving(files)
    what = ["-m", "program"] if as_module else [str(tmp_path / "program.py")]
    ran = subprocess.run(
        [sys.executable, "-m", "polytls", "run", *what, files.ca, str(port)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    done()
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["hello", "__main__", 1, [files.ca, str(port)]]
