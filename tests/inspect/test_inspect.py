"""`polytls inspect`: what it shows, its exit codes, STARTTLS, and servers that mean harm."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import polytls
from inspection import NAME, PATIENCE, Handle, Serve, doing_tls, result_of, results_of
from polytls import TLSServerConfiguration
from polytls.cli import main
from polytls.cli.verdict import Failure, Outcome
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
#: The services that speak in lines, and the others.
IN_LINES = ("smtp", "lmtp", "imap", "pop3", "sieve", "nntp", "ftp")
IN_BINARY = ("ldap", "xmpp", "xmpp-server", "postgres", "mysql")
SERVICES = (*IN_LINES, *IN_BINARY)

Run = Callable[..., tuple[int, str]]


def wait_for_the_end(plain: socket.socket) -> None:
    while plain.recv(4096):
        pass


# --- what is shown ---


@pytest.mark.parametrize("name", polytls.implementations())
def test_a_server_in_order_is_shown_as_a_document(
    serve: Serve, tls: Handle, run: Run, ca: CertificateAuthority, name: str
) -> None:
    port = serve(tls)
    options = ("--implementation", name, "--alpn", "h2", "--alpn", "foo, http/1.1", "--json")
    code, printed = run(port, *options)
    whole, document = json.loads(printed), result_of(printed)
    assert (code, whole["exit_code"], document["exit_code"]) == (0, 0, 0)
    assert whole["format"] == 1
    assert whole["polytls"] == polytls.__version__
    assert document["target"] == {
        "file": None,
        "host": "127.0.0.1",
        "port": port,
        "server_hostname": NAME,
        "starttls": None,
    }
    assert document["addresses"] == [{"address": "127.0.0.1", "port": port, "error": None}]
    assert document["stage"] == "connected"
    timings = document["timings"]
    assert timings.pop("starttls") is timings.pop("proxy") is None
    assert document["proxy"] is document["offers"] is None
    assert sorted(timings) == ["connect", "handshake", "resolve"]
    assert all(0 < seconds < PATIENCE for seconds in timings.values())
    connection = document["connection"]
    assert connection["implementation"] == name
    assert connection["version"] == "TLSv1.3"
    assert connection["suite"].startswith("TLS_")
    assert connection["alpn"] == "http/1.1"
    assert connection["server_name"] == NAME
    assert document["resumption"] == {"resumed": True, "error": None}
    (leaf,) = document["chain"]
    assert leaf["dns_names"] == [NAME]
    assert (leaf["key_type"], leaf["key_bits"], leaf["is_authority"]) == ("ECDSA", 256, False)
    assert len(leaf["sha256"]) == len(leaf["spki_sha256"]) == 64
    assert document["verified_chain"][0] == leaf
    assert document["verdict"] == {
        "outcome": "good",
        "reason": None,
        "responsible": None,
        "message": None,
        "explanation": [],
        "alert": None,
        "certificate": None,
    }


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in polytls.implementations()
        if getattr(polytls.implementation(name).capabilities, "certificate_compression", False)
    ],
)
def test_compressed_certificates_are_told(
    serve: Serve, run: Run, ca: CertificateAuthority, name: str
) -> None:
    port = serve(doing_tls(ca.issue(NAME), certificate_compression=True))
    for options, compressed in (((), None), (("--certificate-compression",), "zlib")):
        given = (*options, "--implementation", name)
        connection = result_of(run(port, *given, "--json")[1])["connection"]
        assert connection["server_certificate_compression"] == compressed
        assert connection["client_certificate_compression"] is None
        assert connection["certificate_compression_offered"] is bool(options)
        assert ("compressed   certificates, zlib" in run(port, *given)[1]) is bool(options)


def test_the_document_has_the_same_fields_whatever_happened(
    serve: Serve, tls: Handle, run: Run
) -> None:
    good = result_of(run(serve(tls), "--json")[1])
    for options in (("--server-hostname", "other.example"), ("--alpn", "h2")):
        other = result_of(run(serve(tls), "--json", *options)[1])
        assert list(other) == list(good)
        assert list(other["verdict"]) == list(good["verdict"])
        assert other["verdict"]["outcome"] in ("refused", "failed")


def test_the_page_names_every_field_and_every_reason(serve: Serve, tls: Handle, run: Run) -> None:
    page = PAGE.read_text()
    whole = json.loads(run(serve(tls), "--json")[1])
    (document,) = whole["results"]
    (certificate,) = document["chain"]
    parts = [whole, document, certificate, *(document[name] for name in document)]
    for part in parts:
        for name in part if isinstance(part, dict) else ():
            assert f"`{name}`" in page
    reasons = re.findall(r"^\| ([^`|]+) \| ", page.partition("### Reasons")[2], re.MULTILINE)
    assert {failure.value for failure in Failure} <= set(reasons)
    codes = {str(outcome.exit_code): outcome.word for outcome in Outcome}
    for code, word in codes.items():
        assert re.search(rf"^\| {code} \| {word}\b", page, re.MULTILINE)


def test_every_address_that_was_tried_is_told(
    serve: Serve, tls: Handle, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(tls)
    nobody = socket.create_server(("127.0.0.1", 0))
    with nobody:
        closed = nobody.getsockname()[1]

    def look_up(*_: object, **__: object) -> list[Any]:
        found = [("127.0.0.1", closed), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    code, printed = run(1, "--json", host="server.example")
    assert code == 0
    first, second = result_of(printed)["addresses"]
    assert "refused" in first["error"]
    assert second["error"] is None


def test_a_port_where_nobody_listens_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    code, printed = run(port)
    assert code == 3
    assert "connection refused: " in printed
    assert "To fix: the server's operator must " in printed


@pytest.mark.parametrize(
    ("number", "party"), [(socket.EAI_NONAME, "you"), (socket.EAI_AGAIN, "your administrator")]
)
def test_a_host_that_nobody_knows_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, party: str
) -> None:
    def look_up(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(number, "what the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    code, printed = run(443, host="nosuch.invalid")
    assert code == 3
    assert "unknown host: what the resolver says" in printed
    assert f"To fix: {party} must " in printed


def test_a_server_that_says_nothing_is_given_up(serve: Serve, run: Run) -> None:
    code, printed = run(serve(wait_for_the_end), "--timeout", "0.2")
    assert code == 3
    assert "timed out: " in printed


def test_a_service_that_speaks_first_is_no_tls(serve: Serve, run: Run) -> None:
    def greet(plain: socket.socket) -> None:
        plain.sendall(b"220 mail.example \x1b[31mESMTP\r\n")
        with suppress(OSError):
            plain.recv(65536)

    code, printed = run(serve(greet))
    assert code == 3
    # Which of them depends on who is quicker, the greeting or ClientHello.
    assert "not TLS: " in printed or "before TLS started" in printed
    assert "--starttls" in printed
    assert "\x1b" not in printed


def test_only_addresses_of_the_chosen_kind_are_used(
    serve: Serve, tls: Handle, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(tls)

    def look_up(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    code, printed = run(1, "-4", "--json", host="server.example")
    assert code == 0
    assert [each["address"] for each in result_of(printed)["addresses"]] == ["127.0.0.1"]
    # The server listens on 127.0.0.1 only.
    code, printed = run(1, "--ipv6", "--json", host="server.example")
    assert code == 3
    assert [each["address"] for each in result_of(printed)["addresses"]] == ["::1"]


def test_a_host_without_an_address_of_the_chosen_kind_is_told(run: Run) -> None:
    code, printed = run(1, "-6")
    assert code == 3
    assert "the name has no IPv6 address" in printed


# --- how long certificates are valid ---


@pytest.mark.parametrize("days", [0, 1, 20])
def test_days_left_are_told_and_decide_the_exit_code(
    serve: Serve, run: Run, ca: CertificateAuthority, days: int
) -> None:
    ends = datetime.now(UTC) + timedelta(days=days, hours=12)
    port = serve(doing_tls(ca.issue(NAME, not_after=ends)))
    for least, code in ((days, 0), (days + 1, 4)):
        found, printed = run(port, "--min-days", str(least), "--json")
        result = result_of(printed)
        assert (found, result["exit_code"]) == (code, code)
        assert result["chain"][0]["days_left"] == days
        told = result["verdict"]["outcome"], result["verdict"]["reason"]
        assert told == (("good", None) if code == 0 else ("expiring", "expires soon"))
    word = "day" if days == 1 else "days"
    code, printed = run(port, "--min-days", "30")
    assert code == 4
    assert f"({days} {word} left)" in printed
    assert f"is valid for {days} {word} more, until {ends:%Y-%m-%d}" in " ".join(printed.split())
    assert "--min-days requires 30" in printed


def test_an_intermediate_counts_and_its_root_does_not(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    soon = datetime.now(UTC) + timedelta(days=3, hours=12)
    root = CertificateAuthority("A Root", not_after=soon)
    late = soon + timedelta(days=300)
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    trusting = ("--ca", str(tmp_path / "root.pem"), "--min-days", "30", "--json")
    code, printed = run(serve(doing_tls(root.issue(NAME, not_after=late))), *trusting)
    assert code == 0
    issuer = root.intermediate("An Issuer", not_after=soon)
    code, printed = run(serve(doing_tls(issuer.issue(NAME, not_after=late))), *trusting)
    assert code == 4
    assert result_of(printed)["verdict"]["certificate"] == 1
    assert "An Issuer" in result_of(printed)["verdict"]["message"]


def test_a_refused_certificate_is_refused_however_long_it_lasts(
    serve: Serve, tls: Handle, run: Run
) -> None:
    code, _ = run(serve(tls), "--min-days", "9999", "--server-hostname", "other.example")
    assert code == 1


# --- files ---


def inspect(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the results."""
    code = main(["inspect", *map(str, arguments), "--json"])
    printed = capsys.readouterr().out
    assert json.loads(printed)["exit_code"] == code
    return code, results_of(printed)


def test_a_file_of_certificates_is_shown(
    tmp_path: Path, ca: CertificateAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    leaf = ca.issue(NAME).leaf[0].buffer or b""
    (tmp_path / "chain.pem").write_bytes(pem("CERTIFICATE", leaf) + ca.certificate_pem)
    (tmp_path / "leaf").write_bytes(leaf)
    code, (chain, single) = inspect(capsys, tmp_path / "chain.pem", tmp_path / "leaf")
    assert code == 0
    assert chain["target"]["file"] == str(tmp_path / "chain.pem")
    assert chain["target"]["host"] is None
    assert chain["stage"] == "file"
    assert chain["verdict"]["outcome"] == "good"
    assert [each["dns_names"] for each in chain["chain"]] == [[NAME], []]
    assert [each["is_authority"] for each in chain["chain"]] == [False, True]
    assert single["chain"] == chain["chain"][:1]
    assert main(["inspect", str(tmp_path / "chain.pem")]) == 0
    printed = capsys.readouterr().out
    assert "2 certificates, not verified" in printed
    assert f"names    {NAME}" in printed


@pytest.mark.parametrize(
    ("begins", "ends", "code", "reason"),
    [
        (-9, 5, 0, None),
        (-9, 4, 4, "expires soon"),
        (-9, -1, 1, "expired"),
        (1, 9, 1, "not yet valid"),
    ],
)
def test_a_file_has_a_verdict_on_the_validity_of_its_certificates(
    tmp_path: Path,
    ca: CertificateAuthority,
    capsys: pytest.CaptureFixture[str],
    begins: int,
    ends: int,
    code: int,
    reason: str | None,
) -> None:
    now = datetime.now(UTC) + timedelta(hours=12)
    span = {"not_before": now + timedelta(days=begins), "not_after": now + timedelta(days=ends)}
    certificate = ca.issue(NAME, **span).leaf[0].buffer or b""
    # Whatever its place.
    (tmp_path / "two.pem").write_bytes(ca.certificate_pem + pem("CERTIFICATE", certificate))
    found, (result,) = inspect(capsys, tmp_path / "two.pem", "--min-days", "5")
    assert (found, result["verdict"]["reason"]) == (code, reason)
    assert result["verdict"]["certificate"] == (None if reason is None else 1)


def test_a_file_that_is_no_certificate_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.pem").write_bytes(pem("CERTIFICATE", b"0\x03\x02\x01\x01"))
    code, (result,) = inspect(capsys, tmp_path / "odd.pem")
    assert (code, result["verdict"]["reason"]) == (1, "bad encoding")
    assert result["chain"][0]["error"]


def test_a_file_beside_it_does_not_change_what_a_host_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nosuch.invalid").write_bytes(b"")
    asked: list[object] = []

    def look_up(host: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert main(["inspect", "nosuch.invalid"]) == 3
    assert asked == ["nosuch.invalid"]
    assert "Name or service not known" in capsys.readouterr().out


# --- several targets, and PEM ---


def test_several_targets_have_a_result_each_and_one_exit_code(
    serve: Serve,
    tls: Handle,
    ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = serve(tls)
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    good, bad = f"127.0.0.1:{port}", f"127.0.0.1:{closed}"
    trusting = ("--server-hostname", NAME, "--ca", tmp_path / "ca.pem")
    code, results = inspect(capsys, good, f"https://{good}/x", tmp_path / "ca.pem", *trusting)
    assert (code, [each["exit_code"] for each in results]) == (0, [0, 0, 0])
    assert [each["target"]["port"] for each in results] == [port, port, None]
    # None resumes the session of the other.
    assert all(each["verified_chain"] for each in results[:2])
    for options, expected in (
        (("--min-days", "9999"), [4, 3, 4]),
        (("--server-hostname", "other.example"), [1, 3, 0]),
    ):
        code, results = inspect(capsys, good, bad, tmp_path / "ca.pem", *trusting, *options)
        assert (code, [each["exit_code"] for each in results]) == (3, expected)
    options = ("--server-hostname", "other.example", "--min-days", "9999")
    code, results = inspect(capsys, good, tmp_path / "ca.pem", *trusting, *options)
    assert (code, [each["exit_code"] for each in results]) == (1, [1, 4])


def test_the_chain_is_printed_as_pem_even_if_it_was_refused(
    serve: Serve, ca: CertificateAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = ca.intermediate("An Issuer").issue(NAME)
    port = serve(doing_tls(chain))
    sent = [each.buffer or b"" for each in (chain.leaf[0], *chain.chain)]
    expected = b"".join(pem("CERTIFICATE", each) for each in sent).decode()
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    command = ["inspect", f"127.0.0.1:{port}", "--pem", "--ca", str(tmp_path / "ca.pem")]
    assert main([*command, "--server-hostname", NAME]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (expected, "")
    assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.out == expected
    assert "hostname mismatch: " in printed.err


# --- the terminal ---


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a person sees: the output of the command on a terminal."""
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "polytls", *arguments],
        stdout=theirs,
        stdin=subprocess.DEVNULL,
        env=variables | {"TERM": "xterm"} | environment,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO is a terminal's end.
            while data := os.read(ours, 65536):
                shown += data
        os.close(ours)
        process.wait(PATIENCE)
    return shown.decode()


def test_there_are_colours_on_a_terminal_and_nowhere_else(
    serve: Serve, tls: Handle, run: Run, tmp_path: Path
) -> None:
    port = serve(tls)
    options = ("--server-hostname", NAME, "--ca", str(tmp_path / "ca.pem"))
    command = ("inspect", f"127.0.0.1:{port}", *options)
    assert "\x1b[32mgood\x1b[0m" in on_terminal(*command)
    assert "\x1b" not in on_terminal(*command, NO_COLOR="1")
    assert "\x1b" not in on_terminal(*command, TERM="dumb")
    assert "\x1b" not in run(port)[1]
    bad = ("inspect", f"127.0.0.1:{port}", "--ca", str(tmp_path / "ca.pem"))
    assert "\x1b[1;31mrefused\x1b[0m" in on_terminal(*bad)


def test_progress_is_shown_on_a_terminal_and_removed(
    serve: Serve, tls: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"127.0.0.1:{serve(tls)}"
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    trusting = ["--server-hostname", NAME, "--ca", str(tmp_path / "ca.pem")]
    (tmp_path / "ca.pem").write_bytes(CertificateAuthority("Any").certificate_pem)
    main(["inspect", target, target, *trusting])
    assert f"\r1/2 {target}" in shown.getvalue()
    assert f"\r2/2 {target}" in shown.getvalue()
    assert shown.getvalue().endswith("\r\x1b[K")
    shown.truncate(0)
    main(["inspect", target, *trusting])  # One step is no long run.
    monkeypatch.setattr(shown, "isatty", lambda: False)
    main(["inspect", target, target, *trusting])
    assert shown.getvalue() == ""


def test_names_of_strangers_do_not_steer_a_terminal(serve: Serve, run: Run) -> None:
    evil = CertificateAuthority("evil\x1b[2J\x7f\n\u202eCA\x9b31m").issue(
        NAME, "a\x1b[31m.example", common_name="x\x07\x1b]0;title\x07\r\nverdict good"
    )
    context: Any = polytls.implementation("rustls").server_context(TLSServerConfiguration([evil]))

    def handle(plain: socket.socket) -> None:
        context.wrap_socket(plain).close(force=True)

    for options in ((), ("--json",)):
        code, printed = run(serve(handle), *options)
        assert code == 1
        assert all(letter.isprintable() or letter == "\n" for letter in printed)
        assert "\nverdict good" not in printed


# --- STARTTLS ---

XMPP_OPENING = (
    b"<?xml version='1.0'?><stream:stream to='server.example' version='1.0' xmlns='jabber:%s' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)
XMPP_FEATURES = (
    b"<?xml version='1.0'?><stream:stream from='server.example' id='a>b' version='1.0' "
    b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features>"
    b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
)
XMPP_REQUEST = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
XMPP_CONSENT = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
LDAP_REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
MYSQL_GREETING = b"\x0a11.4\0" + b"\x01\0\0\0" + b"12345678\0" + b"\xff\xff" + b"\0" * 20
MYSQL_REQUEST = b"\x20\0\0\x01\x00\x8a\x08\0\0\0\0\x01\x2d" + b"\0" * 23


def packet(content: bytes) -> bytes:
    """The first packet of MySQL's protocol."""
    return len(content).to_bytes(3, "little") + b"\0" + content


def ldap_response(code: int, said: bytes = b"", id: int = 1) -> bytes:
    """ExtendedResponse, with a length in the long form, as OpenLDAP has it not and AD has."""
    response = b"\x0a\x01%c\x04\x00\x04%c%b" % (code, len(said), said)
    message = b"\x02\x01%c\x78\x84\x00\x00\x00%c%b" % (id, len(response), response)
    return b"\x30\x84\x00\x00\x00%c%b" % (len(message), message)


DIALOGUES: dict[str, list[tuple[bytes | None, bytes]]] = {
    # What is expected of the client, and the answer.
    "smtp": [
        (None, b"220-mail.example\r\n220 ready\r\n"),
        (b"EHLO [127.0.0.1]\r\n", b"250-mail.example\r\n250-STARTTLS\r\n250 HELP\r\n"),
        (b"STARTTLS\r\n", b"220 go ahead\r\n"),
    ],
    "imap": [
        (None, b"* OK [CAPABILITY IMAP4rev2 STARTTLS] ready\r\n"),
        (b"a STARTTLS\r\n", b"* NO a warning\r\na OK begin\r\n"),
    ],
    "lmtp": [
        (None, b"220 ready\r\n"),
        (b"LHLO [127.0.0.1]\r\n", b"250-mail.example\r\n250 STARTTLS\r\n"),
        (b"STARTTLS\r\n", b"220 go ahead\r\n"),
    ],
    "sieve": [
        (None, b'"IMPLEMENTATION" "x"\r\n"SASL" ""\r\n"STARTTLS"\r\nOK "ready"\r\n'),
        (b"STARTTLS\r\n", b'Ok "begin"\r\n'),
    ],
    "nntp": [(None, b"201 ready\r\n"), (b"STARTTLS\r\n", b"382 begin\r\n")],
    "ldap": [(LDAP_REQUEST, ldap_response(0, b"begin"))],
    "xmpp": [(XMPP_OPENING % b"client", XMPP_FEATURES), (XMPP_REQUEST, XMPP_CONSENT)],
    "xmpp-server": [(XMPP_OPENING % b"server", XMPP_FEATURES), (XMPP_REQUEST, XMPP_CONSENT)],
    "postgres": [(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S")],
    # The server does not answer: TLS begins.
    "mysql": [(None, packet(MYSQL_GREETING)), (MYSQL_REQUEST, b"")],
    "pop3": [(None, b"+OK ready\r\n"), (b"STLS\r\n", b"+OK begin\r\n")],
    "ftp": [(None, b"220-hello\r\n  there\r\n220 ready\r\n"), (b"AUTH TLS\r\n", b"234 begin\r\n")],
}


def dialogue(service: str, then: Handle, last: bytes | None = None) -> Handle:
    """The server's part; `last` in place of its last answer."""

    def handle(plain: socket.socket) -> None:
        *steps, (command, answer) = DIALOGUES[service]
        for expected, reply in (*steps, (command, answer if last is None else last)):
            if expected is not None:
                # No more: ClientHello may follow at once.
                assert plain.recv(len(expected), socket.MSG_WAITALL) == expected
            # In two pieces: lines come as they like.
            plain.sendall(reply[:3])
            plain.sendall(reply[3:])
        then(plain)

    return handle


@pytest.mark.parametrize("name", polytls.implementations())
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_goes_on_to_tls(
    serve: Serve, tls: Handle, run: Run, service: str, name: str
) -> None:
    port = serve(dialogue(service, tls))
    code, printed = run(port, "--starttls", service, "--implementation", name, "--json")
    document = result_of(printed)
    assert code == 0, document["verdict"]
    assert document["target"]["starttls"] == service
    assert document["resumption"]["resumed"] is True


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_injected_before_tls_is_refused(serve: Serve, run: Run, service: str) -> None:
    if service == "mysql":  # There is no consent: it goes behind the greeting.

        def handle(plain: socket.socket) -> None:
            plain.sendall(packet(MYSQL_GREETING) + b"injected\r\n")
            wait_for_the_end(plain)

        port = serve(handle)
    else:
        consent = DIALOGUES[service][-1][1]
        port = serve(dialogue(service, wait_for_the_end, consent + b"250 injected\r\n"))
    code, printed = run(port, "--starttls", service)
    assert code == 3
    assert "protocol violated: " in printed
    assert "sent plaintext before TLS started" in " ".join(printed.split())


def end(plain: socket.socket) -> None:
    plain.shutdown(socket.SHUT_WR)
    wait_for_the_end(plain)


def assert_no_starttls(told: str, outcome: tuple[int, str]) -> None:
    code, printed = outcome
    assert code == 3
    assert "no STARTTLS: " in printed
    assert told in " ".join(printed.split())
    assert "To fix: the server's operator must offer STARTTLS" in printed
    assert all(letter.isprintable() or letter == "\n" for letter in printed)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("smtp", b"454 \x1b[2J\x9bnot now\r\n"),
        ("imap", b"a NO \x1b[2J\x9bnot now\r\n"),
        ("pop3", b"-ERR \x1b[2J\x9bnot now\r\n"),
        ("ftp", b"534 \x1b[2J\x9bnot now\r\n"),
        ("lmtp", b"454 \x1b[2J\x9bnot now\r\n"),
        ("sieve", b'NO "\x1b[2J\x9bnot now"\r\n'),
        ("nntp", b"580 \x1b[2J\x9bnot now\r\n"),
        ("ldap", ldap_response(52, b"\x1b[2J\x9bnot now")),
        ("postgres", b"\x1b"),
    ],
)
def test_a_service_that_does_not_go_on_is_quoted(
    serve: Serve, run: Run, service: str, said: bytes
) -> None:
    outcome = run(serve(dialogue(service, end, said)), "--starttls", service)
    told = {"ldap": "result 52: \\x1b[2J", "postgres": '\\x1b"'}.get(service)
    told = told or said.partition(b"\x1b")[0].decode() + "\\x1b[2J"
    assert_no_starttls(f'the server replied "{told}', outcome)


@pytest.mark.parametrize(
    ("service", "replies", "told"),
    [
        ("mysql", (packet(b"\xff\x10\x04Too many connections"),), '"Too many connections"'),
        ("mysql", (packet(b"\x09old"),), "protocol 10"),
        ("mysql", (packet(b"\x0a5.0\0short"),), "protocol 10"),
        ("mysql", (packet(MYSQL_GREETING.replace(b"\xff", b"\0")),), "does not offer TLS"),
        ("mysql", (b"\xff\xff\xff\0",), "more than 8192 bytes"),
        ("mysql", (packet(MYSQL_GREETING)[:20],), "closed the connection"),
        ("ldap", (b"", b"\x30\x84\x00\xff\xff\xff"), "more than 8192 bytes"),
        ("ldap", (b"", b"\x30\x80\x00\x00"), "is not LDAP"),
        ("ldap", (b"", b"HTTP/1.1 400 Bad Request\r\n"), "is not LDAP"),
        ("ldap", (b"", b"\x30\x05\x02\x01\x01\x65\x00"), "is not LDAP"),
        ("ldap", (b"", b"\x30\x05\x02\x01\x01\x78\x7f"), "is not LDAP"),
        ("xmpp", (b"", b"220 mail.example\r\n>"), "is not XMPP"),
        ("xmpp", (b"", b"<html>"), "is not XMPP"),
        ("xmpp", (b"", b"<!DOCTYPE x [<!ENTITY a 'b'>]>"), "is not XMPP"),
        ("xmpp", (b"", XMPP_FEATURES.replace(b"xmpp-tls", b"xmpp-sasl")), "does not offer"),
        ("xmpp", (b"", XMPP_FEATURES.partition(b"<stream:f")[0] + b"</stream:stream>"), "ended"),
        (
            "xmpp",
            (b"", XMPP_FEATURES, XMPP_CONSENT.replace(b"proceed", b"failure")),
            'replied "failure"',
        ),
        (
            "xmpp",
            (
                b"",
                XMPP_FEATURES.partition(b"<stream:features")[0]
                + b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                b"</stream:error>",
            ),
            'replied "error host-unknown"',
        ),
        ("xmpp", (b"", b"x" * 9000), "a line of more than 8192 bytes"),
        (
            "xmpp",
            (b"", XMPP_FEATURES.partition(b"<starttls")[0] + b"<a/>" * 1001),
            "more than 1000 tags",
        ),
    ],
)
def test_what_is_no_consent_is_told(
    serve: Serve, run: Run, service: str, replies: tuple[bytes, ...], told: str
) -> None:
    def handle(plain: socket.socket) -> None:
        for number, reply in enumerate(replies):
            plain.sendall(reply)
            if number + 1 < len(replies):
                assert plain.recv(1000)
        end(plain)

    assert_no_starttls(told, run(serve(handle), "--starttls", service))


@pytest.mark.parametrize("service", IN_LINES)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed the connection before TLS started"),
        (b"x" * 10_000, "a line of more than 8192 bytes"),
        (b"y" * 9_000 + b"\r\n", "a line of more than 8192 bytes"),
    ],
    ids=["an end", "an endless line", "a long line"],
)
def test_what_a_service_may_say_has_limits(
    serve: Serve, run: Run, service: str, said: bytes, told: str
) -> None:
    assert_no_starttls(told, run(serve(dialogue(service, end, said)), "--starttls", service))


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ("smtp", b"220-x\r\n"),
        ("lmtp", b"220-x\r\n"),
        ("imap", b"* x\r\n"),
        ("sieve", b'"x"\r\n'),
        ("ftp", b"234-x\r\n"),
    ],
)
def test_a_reply_has_a_limit_of_lines(serve: Serve, run: Run, service: str, line: bytes) -> None:
    outcome = run(serve(dialogue(service, end, line * 101)), "--starttls", service)
    assert_no_starttls("a reply of more than 100 lines", outcome)


def test_a_dialogue_has_one_deadline_however_slowly_it_goes(serve: Serve, run: Run) -> None:
    def dribble(plain: socket.socket) -> None:
        ended = threading.Event()
        while not ended.wait(0.02):
            plain.sendall(b"2")  # Until the client has gone: OSError.

    code, printed = run(serve(dribble), "--starttls", "smtp", "--timeout", "0.3")
    assert code == 3
    assert "timed out: " in printed


# --- what cannot be run ---


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "TARGET"),
        (("server.example/path",), "URL"),
        (("/no/such/folder",), "file"),
        (("nosuch.pem",), "nosuch.pem"),
        ((str(PAGE),), "PEM"),
        (("server.example", "--min-days", "-1"), "--min-days"),
        (("server.example", "--min-days", "x"), "--min-days"),
        (("server.example", "-4", "-6"), "-6"),
        (("server.example", "--pem", "--json"), "--json"),
        (("http://server.example/",), "scheme"),
        (("https:///path",), "no host"),
        (("https://server.example:99999/",), "ort"),
        (("server.example:https",), "port"),
        (("server.example:",), "port"),
        (("server.example:99999",), "port"),
        (("server.example:123456",), "port"),
        (("[::1",), "[ADDRESS]:PORT"),
        (("[::1]443",), "[ADDRESS]:PORT"),
        ((":443",), ""),
        (("a b.example",), "a b.example"),
        (("a b.example", "--server-hostname", "server.example"), "a b.example"),
        (("server.example", "--server-hostname", "x y"), "x y"),
        (("server.example", "--pin-sha256", "12"), "32"),
        (("server.example", "--pin-sha256", "0" * 64, "--ca", "ca.pem"), "--pin-sha256"),
        (("server.example", "--client-key", "key.pem"), "--client-cert"),
        (("server.example", "--client-cert", "/no/such.pem"), "/no/such.pem"),
        (("server.example", "--ca", "/no/such.pem"), "/no/such.pem"),
        (("server.example", "--crl", "/no/such.crl"), "/no/such.crl"),
        (("server.example", "--alpn", "x" * 300), "inner_protocols"),
        (("server.example", "--starttls", "gopher"), "gopher"),
        (("server.example", "--timeout", "0"), "--timeout"),
        (("server.example", "--timeout", "nan"), "--timeout"),
        (("server.example", "--implementation", "nosuch"), "nosuch"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_cannot_be_run(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *arguments])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err


@pytest.mark.parametrize(
    ("text", "service", "expected"),
    [
        ("https://server.example", None, ("server.example", 443)),
        ("https://user:word@server.example:8443/path?query", None, ("server.example", 8443)),
        ("https://[2001:db8::1]/", None, ("2001:db8::1", 443)),
        ("imaps://server.example", None, ("server.example", 993)),
        ("postgresql://me@server.example/db", None, ("server.example", 5432)),
        ("xmpp-server://server.example", None, ("server.example", 5269)),
        ("server.example", None, ("server.example", 443)),
        ("server.example", "smtp", ("server.example", 25)),
        ("server.example:8443", "imap", ("server.example", 8443)),
        ("::1", None, ("::1", 443)),
        ("[::1]", "pop3", ("::1", 110)),
        ("[::1]:8443", None, ("::1", 8443)),
        ("192.0.2.1", "ftp", ("192.0.2.1", 21)),
    ],
)
def test_host_and_port_are_read(
    text: str,
    service: str | None,
    expected: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[object, ...]] = []

    def resolve(address: tuple[object, ...]) -> list[Any]:
        asked.append(address)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("polytls.names.resolve", resolve)
    options = [] if service is None else ["--starttls", service]
    assert main(["inspect", text, *options]) == 3
    assert asked == [expected]
    assert capsys.readouterr().out
