"""docs/from-ssl.md has a row for every public name of `ssl`, and names of polytls that exist."""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import operator
import re
import socket
import ssl
import sys
import types
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-ssl.md"

#: What `ssl` imports for itself from modules that are not about TLS.
IMPORTED = {"SOCK_STREAM", "SOL_SOCKET", "SO_TYPE", "create_connection", "namedtuple"}
IMPORTED |= {"socket", "socket_error"}

#: The classes whose members have rows; those of an SSLSocket are what `socket.socket` lacks or does
#: otherwise.
CLASSES = ("SSLContext", "SSLSocket", "SSLObject", "MemoryBIO", "SSLSession")

#: Set on instances, where `dir` of the class does not show them; and what only Windows has.
OTHERS = {
    "SSLError.library",
    "SSLError.reason",
    "SSLCertVerificationError.verify_code",
    "SSLCertVerificationError.verify_message",
    "enum_certificates",
    "enum_crls",
    "PROTOCOL_SSLv2",
    "PROTOCOL_SSLv3",
}

#: Versions in notes: "since 3.13 in `ssl`", "until 3.11 in `ssl`".
VERSION = re.compile(r"(`\w+`: )?(since|until) 3\.(\d+) in `ssl`")


def rows() -> list[tuple[list[str], str, str]]:
    """The names in the first column of each row, and the other two columns."""
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 3:
            names = [name.partition("(")[0] for name in re.findall(r"`([^`]+)`", cells[0])]
            found.append((names, cells[1], cells[2].rstrip(" |")))
        elif line.startswith("| `"):
            raise AssertionError(f"not three columns: {line}")
    return found


def public() -> set[str]:
    """The public names of `ssl` in this Python."""
    names = {
        name
        for name, value in vars(ssl).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    } - IMPORTED
    for kind in CLASSES:
        members: Any = vars(ssl.SSLSocket) if kind == "SSLSocket" else dir(getattr(ssl, kind))
        names |= {f"{kind}.{member}" for member in members if not member.startswith("_")}
    return names


NAMED = [name for names, _, _ in rows() for name in names]


@pytest.mark.parametrize("name", sorted(public()))
def test_each_name_of_ssl_has_a_row(name: str) -> None:
    assert any(fnmatch.fnmatchcase(name, named) for named in NAMED)


#: Functions whose arguments have rows.
CALLED = (
    "create_default_context",
    "get_server_certificate",
    "SSLContext.wrap_socket",
    "SSLContext.wrap_bio",
    "SSLContext.load_cert_chain",
    "SSLContext.load_verify_locations",
)


@pytest.mark.parametrize("name", CALLED)
def test_each_argument_has_a_row(name: str) -> None:
    parameters = set(inspect.signature(operator.attrgetter(name)(ssl)).parameters) - {"self"}
    assert parameters
    for parameter in parameters:
        assert f"`{name}({parameter}=…)`" in PAGE.read_text(), parameter


def test_each_row_is_of_a_name_of_ssl() -> None:
    assert len(rows()) > 100
    for names, _, note in rows():
        version = VERSION.search(note)
        for name in names:
            if version and (not version[1] or version[1] == f"`{name}`: "):
                here = sys.version_info.minor
                exists = here >= int(version[3]) if version[2] == "since" else None
                exists = here <= int(version[3]) if exists is None else exists
            else:
                exists = name not in OTHERS
            there = any(fnmatch.fnmatchcase(other, name) for other in public())
            assert there == exists or name in OTHERS, name


def resolved(name: str) -> Any:
    """What a dotted name of polytls is: of a module, a class, a function."""
    parts = name.split(".")
    value: Any = importlib.import_module(parts[0])
    for part in parts[1:]:
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(f"{value.__name__}.{part}")
    return value


def test_the_replacements_exist() -> None:
    names = set(re.findall(r"\bpolytls(?:\.\w+)+", PAGE.read_text()))
    assert len(names) > 30
    for name in names:
        assert resolved(name) is not None, name


@pytest.mark.parametrize("kind", ["info", "context", "connection", "listener", "buffer"])
def test_the_attributes_exist(kind: str) -> None:
    polytls = importlib.import_module("polytls")
    tls = polytls.implementation()
    here, there = socket.socketpair()
    with here, there:
        testing = importlib.import_module("polytls.testing")
        ca = testing.CertificateAuthority()
        client = tls.client_context(polytls.TLSClientConfiguration(trust_store=ca.trust_store()))
        server = tls.server_context(polytls.TLSServerConfiguration([ca.issue("localhost")]))
        buffer = client.create_buffer("localhost")
        connection = client.wrap_socket(here, "localhost", do_handshake_on_connect=False)
        with connection, server.connect(("localhost", 0)) as listener:
            things = {
                "info": connection.info,
                "context": client,
                "connection": connection,
                "listener": listener,
                "buffer": buffer,
            }
            names = set(re.findall(rf"`{kind}\.(\w+)", PAGE.read_text()))
            assert names
            for name in names:
                assert hasattr(things[kind], name), name
            connection.close(force=True)
