"""Python without OpenSSL: `_ssl` and `_hashlib` cannot be imported, and polytls stands under `ssl`.

The programs run in interpreters of their own (`without_ssl/sitecustomize.py`); their peers are of
OpenSSL.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import compat
from polytls.testing import CertificateAuthority

WITHOUT = Path(__file__).resolve().parent / "without_ssl"
ON_THE_PATH = Path(compat.__file__).resolve().parent / "path"

CALL, PATH, COMMAND = "by calling provide", "by a folder on the path", "by the command"
VERSION = f"OpenSSL 3.0.0 (compatible; polytls {polytls.__version__})"
WAYS = (CALL, PATH, COMMAND)


def started(*arguments: object, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run an interpreter that has no OpenSSL."""
    search = os.pathsep.join(map(str, (WITHOUT, *path)))
    # They would take the place of what pip is told.
    bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    kept = {name: value for name, value in os.environ.items() if name not in bundles}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run a program that comes by its `ssl` in one of the ways; return the JSON that it prints."""

    def run(way: str, program: str, *arguments: object) -> Any:
        text = textwrap.dedent(program)
        if way == CALL:
            text = f"from polytls import compat\nassert compat.provide()\n{text}"
        (tmp_path / "program.py").write_text(text)
        command = ("-m", "polytls", "run") if way == COMMAND else ()
        folders = (ON_THE_PATH,) if way == PATH else ()
        ran = started(*command, tmp_path / "program.py", *arguments, path=folders)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


class Page(http.server.BaseHTTPRequestHandler):
    """Answers with a megabyte, or with what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"x" * 1_000_000)

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serve HTTPS by OpenSSL on a free port, which is returned."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(chain: str, handler: Any = Page, ca: str | None = None) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        if ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(ca)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_interpreter_has_none() -> None:
    ran = started("-c", "import ssl")
    assert ran.returncode == 1
    assert "No module named '_ssl'" in ran.stderr
    program = "import polytls, sys; print(polytls.implementations(), 'ssl' in sys.modules)"
    ran = started("-c", program)
    assert "'rustls'" in ran.stdout
    assert "'stdlib'" not in ran.stdout


def test_where_openssl_is_nothing_changes() -> None:
    assert compat.provide() is False
    assert ssl.OPENSSL_VERSION != VERSION


@pytest.mark.parametrize("way", WAYS)
def test_ssl_is_the_standard_library_s(run: Any, way: str) -> None:
    told = run(
        way,
        """
        import json, ssl, _ssl
        import polytls
        from polytls import compat
        context = ssl.create_default_context()
        print(json.dumps({
            "file": ssl.__file__,
            "version": ssl.OPENSSL_VERSION,
            "class": type(context).__module__,
            "below": ssl.SSLContext.__base__ is _ssl._SSLContext,
            "verifies": [context.verify_mode, context.check_hostname],
            "trusts": context.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0},
            "report": compat.report(),
            "names": polytls.implementations(),
        }))
        """,
    )
    assert told["file"] == ssl.__file__
    assert told["version"] == VERSION
    assert told["class"] == "ssl"
    assert told["below"] is True
    assert told["verifies"] == [ssl.CERT_REQUIRED, True]
    assert told["trusts"] is False
    assert told["report"]["installed"]
    assert told["report"]["openssl"] == 0
    # It would be polytls on itself.
    assert "stdlib" not in told["names"]


def test_an_isolated_interpreter_gets_it_as_well() -> None:
    program = (
        "import sys; sys.modules['_ssl'] = sys.modules['_hashlib'] = None\n"
        "from polytls import compat; assert compat.provide() and compat.provide()\n"
        "import ssl, hashlib; print(ssl.OPENSSL_VERSION, hashlib.sha256(b'').hexdigest()[:4])"
    )
    ran = started("-I", "-c", program)
    assert ran.stdout == f"{VERSION} e3b0\n", ran.stderr


def test_the_order_of_imports_does_not_matter() -> None:
    for first in (
        "import polytls.compat.context",
        "import ssl",
        "from polytls.compat import Refused",
    ):
        program = (
            f"{first}\nimport ssl\nfrom polytls import compat\n"
            "context = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
            "assert issubclass(compat.Refused, ssl.SSLError)\n"
            "context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='a.example')"
        )
        ran = started("-c", program, path=(ON_THE_PATH,))
        assert ran.returncode == 0, ran.stderr


FETCH = """
    import json, ssl, sys, urllib.request
    ca, url = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca or None)
    try:
        with urllib.request.urlopen(url, context=context, timeout=20) as answer:
            body = answer.read()
        posted = urllib.request.urlopen(url, data=b"hello", context=context, timeout=20).read()
        told = [len(body), posted.decode()]
    except urllib.error.URLError as error:
        reason = error.reason
        told = [type(reason).__name__, reason.verify_code, reason.verify_message]
    print(json.dumps(told))
"""


@pytest.mark.parametrize("way", WAYS)
def test_urllib_fetches_over_https(files: Any, run: Any, serve: Any, way: str) -> None:
    port = serve(files.server)
    assert run(way, FETCH, files.ca, f"https://localhost:{port}/") == [1_000_000, "hello"]


def test_certificates_and_names_are_verified(files: Any, run: Any, serve: Any) -> None:
    port = serve(files.server)
    other = files.folder / "other.pem"
    other.write_bytes(CertificateAuthority().certificate_pem)
    kind = "SSLCertVerificationError"
    local = f"https://localhost:{port}/"
    for ca in (other, ""):
        told = run(PATH, FETCH, ca, local)
        assert told == [kind, 20, "unable to get local issuer certificate"]
    strange = serve(files.chain("strange.pem", files.authority.issue("else.example")))
    told = run(PATH, FETCH, files.ca, f"https://localhost:{strange}/")
    assert told[:2] == [kind, 62]


def test_http_client_shows_its_certificate(files: Any, run: Any, serve: Any) -> None:
    port = serve(files.server, ca=files.ca)
    told = run(
        CALL,
        """
        import http.client, json, ssl, sys
        ca, chain, port = sys.argv[1:]
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(chain)
        connection = http.client.HTTPSConnection("localhost", int(port), context=context)
        connection.request("POST", "/", b"hello")
        sock = connection.sock
        names = sock.getpeercert()["subjectAltName"]
        print(json.dumps([connection.getresponse().read().decode(), sock.version(), names]))
        """,
        files.ca,
        files.client,
        port,
    )
    assert told[:2] == ["hello", "TLSv1.3"]
    assert ["DNS", "localhost"] in told[2]


def test_asyncio_fetches_over_https(files: Any, run: Any, serve: Any) -> None:
    port = serve(files.server)
    told = run(
        COMMAND,
        """
        import asyncio, json, ssl, sys

        async def main():
            context = ssl.create_default_context(cafile=sys.argv[1])
            reader, writer = await asyncio.open_connection("localhost", sys.argv[2], ssl=context)
            writer.write(b"GET / HTTP/1.0\\r\\nConnection: close\\r\\n\\r\\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return len(answer.partition(b"\\r\\n\\r\\n")[2])

        print(json.dumps(asyncio.run(main())))
        """,
        files.ca,
        port,
    )
    assert told == 1_000_000


def fetched(port: int, ca: str) -> list[Any]:
    """What OpenSSL's client finds at a server that echoes."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["echo"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(b"hello\n")
        return [sock.recv(100), sock.version(), sock.selected_alpn_protocol()]


ECHOES = {
    "sockets": """
        import socket, ssl, sys
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1])
        context.set_alpn_protocols(["echo"])
        asked = []
        context.sni_callback = lambda sock, name, context: asked.append(name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)
            with context.wrap_socket(listener, server_side=True) as wrapped:
                sock, _ = wrapped.accept()
                with sock:
                    sock.sendall(sock.recv(100))
                    sock.recv(100)
        assert asked == ["localhost"]
        """,
    "asyncio": """
        import asyncio, ssl, sys

        async def main():
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(sys.argv[1])
            context.set_alpn_protocols(["echo"])
            done = asyncio.Event()

            async def echo(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                await reader.read()
                writer.close()
                done.set()

            server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
            print(server.sockets[0].getsockname()[1], flush=True)
            await done.wait()

        asyncio.run(main())
        """,
}


@pytest.mark.parametrize("kind", ECHOES)
def test_servers_serve_clients_of_openssl(files: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(ECHOES[kind]))
    with subprocess.Popen(
        [sys.executable, "-m", "polytls", "run", tmp_path / "program.py", files.server],
        env={**os.environ, "PYTHONPATH": str(WITHOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            assert fetched(port, files.ca) == [b"hello\n", "TLSv1.3", "echo"]
            _, said = server.communicate(timeout=20)
        finally:
            server.kill()
    assert (server.returncode, said) == (0, "")


def test_what_is_not_honoured_is_refused_by_name(run: Any, files: Any) -> None:
    told = run(
        PATH,
        """
        import json, ssl, sys
        from polytls import compat

        def said(call):
            try:
                call()
            except Exception as error:
                return [type(error).__name__, str(error)]

        def wrap(change):
            context = ssl.create_default_context()
            change(context)
            return said(lambda: context.wrap_bio(
                ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a.example"))

        def old(context):
            context.maximum_version = ssl.TLSVersion.TLSv1_1

        print(json.dumps([
            said(lambda: compat.install(fallback=True)),
            wrap(old),
            wrap(lambda context: context.set_ecdh_curve("brainpoolP256r1")),
            wrap(lambda context: context.set_ciphers("@SECLEVEL=3:HIGH")),
            wrap(lambda context: None),
        ]))
        """,
    )
    fallback, old, curve, level, nothing = told
    assert fallback[0] == "ConfigurationError"
    assert "no OpenSSL" in fallback[1]
    assert "TLS below 1.2" in old[1]
    assert "brainpoolP256r1" in curve[1]
    assert "SECLEVEL" in level[1]
    assert [it[0] for it in (old, curve, level)] == ["Refused"] * 3
    assert nothing is None


def test_sessions_and_certificates_are_of_the_module_s_classes(files: Any, run: Any) -> None:
    told = run(
        PATH,
        """
        import json, ssl, sys, _ssl
        ca, chain = sys.argv[1:]

        def tied(client, server, **more):
            there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
            sides = [client.wrap_bio(back, there, server_hostname="localhost", **more),
                     server.wrap_bio(there, back, server_side=True)]
            for _ in range(6):
                for side in sides:
                    try:
                        side.do_handshake()
                    except ssl.SSLWantReadError:
                        pass
            try:
                sides[0].read(1)
            except ssl.SSLWantReadError:
                pass
            return sides

        client = ssl.create_default_context(cafile=ca)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(chain)
        one, _ = tied(client, server)
        two, _ = tied(client, server, session=one.session)
        certificate = one._sslobj.get_unverified_chain()[0]
        made = []
        for kind in (ssl.SSLSession, _ssl._SSLSocket, _ssl.Certificate):
            try:
                kind()
            except TypeError as error:
                made.append(str(error))
        print(json.dumps([
            isinstance(one.session, ssl.SSLSession), two.session_reused,
            isinstance(certificate, _ssl.Certificate), type(one._sslobj) is _ssl._SSLSocket, made,
        ]))
        """,
        files.ca,
        files.server,
    )
    assert told[:4] == [True] * 4
    assert len(told[4]) == 3


def wheel(folder: Path) -> None:
    """Write a wheel of one module."""
    about = "demonstration-1.0.dist-info"
    contents = {
        "demonstration.py": "said = 'over TLS'\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: demonstration\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*contents, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / "demonstration-1.0-py3-none-any.whl", "w") as archive:
        for name, text in {**contents, f"{about}/RECORD": record}.items():
            archive.writestr(name, text)


def test_pip_installs_over_tls(files: Any, serve: Any, tmp_path: Path) -> None:
    index = tmp_path / "index" / "demonstration"
    index.mkdir(parents=True)
    wheel(index)
    port = serve(
        files.server,
        type(
            "Index",
            (http.server.SimpleHTTPRequestHandler,),
            {
                "__init__": functools.partialmethod(
                    http.server.SimpleHTTPRequestHandler.__init__, directory=str(index.parent)
                ),
                "log_message": lambda *_: None,
            },
        ),
    )
    url = f"https://localhost:{port}/"
    options = ("--isolated", "--disable-pip-version-check", "--no-cache-dir", "--retries", "0")
    install = ("install", "--index-url", url, "--no-deps", "--target", tmp_path / "there")
    trusted = ("--cert", files.ca, "demonstration")
    without = started("-m", "pip", *options, *install, *trusted)
    assert without.returncode != 0
    refused = started("-m", "polytls", "run", "-m", "pip", *options, *install, "demonstration")
    assert refused.returncode != 0
    assert "certificate verify failed" in refused.stdout + refused.stderr
    ran = started("-m", "polytls", "run", "-m", "pip", *options, *install, *trusted)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "there" / "demonstration.py").read_text() == "said = 'over TLS'\n"
