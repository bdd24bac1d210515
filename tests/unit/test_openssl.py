"""Which libssl `openssl` uses, and how it is found; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MAPPED = """
def mapped():
    with open("/proc/self/maps") as maps:
        return {line.split()[-1] for line in maps if "libssl" in line}
"""

needs_maps = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="this system does not list what is loaded"
)


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@needs_maps
def test_the_copy_that_ssl_has_loaded_is_shared() -> None:
    run(
        MAPPED
        + "import polytls; assert not mapped()\n"
        + "version = polytls.implementation('openssl').version; found = mapped()\n"
        + "import ssl, _ssl\n"
        + "if hasattr(_ssl, '__file__') and len(found) == 1:\n"
        + "    assert mapped() == found, (found, mapped())\n"
        + "    assert version.split()[:2] == ssl.OPENSSL_VERSION.split()[:2], version\n"
    )


def test_a_python_without_ssl_has_it_too() -> None:
    run(
        "import sys; sys.modules['_ssl'] = None\n"
        "import polytls; assert polytls.implementation('openssl').version.startswith('OpenSSL ')"
    )


def test_a_library_that_cannot_be_used_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "libssl.so").write_text("not a library")
    for path in (tmp_path / "libssl.so", tmp_path / "missing.so"):
        run(
            "import polytls; from polytls import _native, registry\n"
            f"_native.use_openssl({str(path)!r})\n"
            "assert 'openssl' not in polytls.implementations()\n"
            f"assert {str(path)!r} in str(registry.unusable()['openssl'])"
        )


def test_it_is_chosen_before_it_is_used() -> None:
    run(
        "import polytls; from polytls import _native; polytls.implementation('openssl')\n"
        "try:\n"
        "    _native.use_openssl('/nowhere/libssl.so.3')\n"
        "except RuntimeError as error:\n"
        "    assert 'OpenSSL' in str(error)\n"
        "else:\n"
        "    raise AssertionError('another library was taken')"
    )


def test_errors_that_it_meets_are_no_one_elses() -> None:
    """OpenSSL queues errors by thread, and `ssl` goes by that queue."""
    run(
        "import hashlib, ssl, polytls\n"
        "from polytls.testing import CertificateAuthority, tie\n"
        "tls = polytls.implementation('openssl')\n"
        "ca, other = CertificateAuthority(), CertificateAuthority()\n"
        "server = tls.server_context(polytls.TLSServerConfiguration(\n"
        "    certificate_chain=[ca.issue('localhost')]))\n"
        "client = tls.client_context(polytls.TLSClientConfiguration(\n"
        "    trust_store=other.trust_store()))\n"
        "incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "theirs = ssl.create_default_context().wrap_bio(\n"
        "    incoming, outgoing, server_hostname='localhost')\n"
        "for _ in range(3):\n"
        "    try:\n"
        "        tie(client.create_buffer('localhost'), server.create_buffer())\n"
        "    except polytls.CertificateVerificationError:\n"
        "        pass\n"
        "    else:\n"
        "        raise AssertionError('a stranger was accepted')\n"
        "    try:\n"
        "        theirs.do_handshake()\n"
        "    except ssl.SSLWantReadError:\n"
        "        pass\n"
        "assert outgoing.pending\n"
        "hashlib.sha256(b'').hexdigest()"
    )
