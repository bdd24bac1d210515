"""`polytls inspect --ech`, against servers without it: tests/interop has one that accepts it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

import polytls
from inspection import NAME, Serve, doing_tls, result_of
from polytls.cli import main
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem
from polytls.testing.conformance.ech_lists import COVER, LIST

Run = Callable[..., tuple[int, str]]

BASE64 = base64.b64encode(LIST).decode()
ABLE = [
    name
    for name in polytls.implementations()
    if getattr(polytls.implementation(name).capabilities, "ech", False)
]
#: What a file, or the argument itself, has.
FORMS: dict[str, bytes] = {
    "list": LIST,
    "base64": f"{BASE64[:40]}\n{BASE64[40:]}\n".encode(),
    "pem": pem("PRIVATE KEY", b"key") + pem("ECHCONFIG", LIST),
    "record": f'1 . alpn=h2 ech="{BASE64}"\n'.encode(),
}


@pytest.fixture
def port(serve: Serve, ca: CertificateAuthority) -> int:
    """A server with the public name, and without Encrypted ClientHello."""
    return serve(doing_tls(ca.issue(NAME, COVER)))


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("form", [*FORMS, "argument"])
def test_a_rejection_is_told(run: Run, port: int, tmp_path: Path, form: str, name: str) -> None:
    given = BASE64
    if form != "argument":
        (tmp_path / "given").write_bytes(FORMS[form])
        given = str(tmp_path / "given")
    code, printed = run(port, "--ech", given, "--implementation", name, "--json")
    result = result_of(printed)
    assert (code, result["verdict"]["reason"]) == (3, "ECH rejected"), result["verdict"]
    assert result["ech"] == {"status": "rejected", "public_name": COVER, "retry_configs": None}
    assert result["connection"] is None
    assert NAME not in result["verdict"]["message"]
    code, printed = run(port, "--ech", given, "--implementation", name)
    text = " ".join(printed.split())
    assert f"the server, verified as {COVER}, rejected it and sent none" in text


@pytest.mark.parametrize("name", ABLE)
def test_grease_is_told(run: Run, port: int, name: str) -> None:
    code, printed = run(port, "--ech", "grease", "--implementation", name, "--json")
    result = result_of(printed)
    assert code == 0
    assert result["ech"] == {"status": "grease", "public_name": None, "retry_configs": None}
    assert result["connection"]["version"] == "TLSv1.3"
    _, printed = run(port, "--ech", "grease", "--implementation", name)
    assert "ECH a random extension was sent" in " ".join(printed.split())
    assert result_of(run(port, "--implementation", name, "--json")[1])["ech"]["status"] is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ech", "no/such/file"), "expected the configurations"),
        (("--ech", ""), "expected the configurations"),
        (("--ech", "1 . alpn=h2"), "no ECH configuration"),
        (("--ech", "1 . ech=!"), "not Base64"),
        (("--ech", BASE64, "--enumerate", "all"), "--enumerate"),
        (("--ech", BASE64[:20] + "AA=="), "ech"),
        (("--ech", BASE64, "--highest-version", "1.2"), "version"),
        (("--ech", BASE64, "--implementation", "stdlib"), "ech"),
        (("--ech", "grease", "--implementation", "stdlib"), "ech"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_used_is_refused(
    port: int, options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", f"127.0.0.1:{port}", "--server-hostname", NAME, *options])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large").write_bytes(bytes(200_000))
    with pytest.raises(SystemExit):
        main(["inspect", NAME, "--ech", str(tmp_path / "large")])
    assert "more than 128 KiB" in capsys.readouterr().err
