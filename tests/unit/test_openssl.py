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


SIGNS = """
import polytls
from polytls.testing import CertificateAuthority, KeySigner, tie
tls = polytls.implementation('openssl')
ca = CertificateAuthority()
certificate, key = ca.issue('localhost').leaf
chain = polytls.SigningChain((certificate, polytls.PrivateKey.from_signer(KeySigner(key))))
def server():
    return tls.server_context(polytls.TLSServerConfiguration(certificate_chain=[chain]))
def client():
    return tls.client_context(polytls.TLSClientConfiguration(trust_store=ca.trust_store()))
"""


def test_signers_leave_the_rest_of_the_process_as_it_is() -> None:
    """A provider in the default library context would switch off the default one."""
    run(
        SIGNS + "pair = tie(client().create_buffer('localhost'), server().create_buffer())\n"
        "assert pair.client.cipher()\n"
        "import hashlib, ssl\n"
        "from polytls.testing.certificates import pem\n"
        "assert hashlib.new('sha512_256').digest_size == 32\n"
        "import hmac; hmac.new(b'key', b'data', 'sha3_256').digest()\n"
        "import tempfile, os\n"
        "with tempfile.NamedTemporaryFile() as file:\n"
        "    file.write(pem('CERTIFICATE', certificate.buffer) + pem('PRIVATE KEY', key.buffer))\n"
        "    file.flush()\n"
        "    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        "    theirs.load_cert_chain(file.name)\n"
        "ours = ssl.create_default_context(cadata=ca.certificate_pem.decode())\n"
        "a, b = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "one = ours.wrap_bio(a, b, server_hostname='localhost')\n"
        "other = theirs.wrap_bio(b, a, server_side=True)\n"
        "done = set()\n"
        "while len(done) < 2:\n"
        "    for side in (one, other):\n"
        "        try:\n"
        "            side.do_handshake()\n"
        "            done.add(side)\n"
        "        except ssl.SSLWantReadError:\n"
        "            pass\n"
        "assert one.version() == 'TLSv1.3'\n"
    )


def test_a_key_is_let_go_of_with_its_contexts() -> None:
    run(
        "import gc, weakref\n" + SIGNS + "class Signer(KeySigner):\n"
        "    pass\n"
        "def use():\n"
        "    global chain\n"
        "    signer = Signer(key)\n"
        "    chain = polytls.SigningChain((certificate, polytls.PrivateKey.from_signer(signer)))\n"
        "    tie(client().create_buffer('localhost'), server().create_buffer())\n"
        "    chain = None\n"
        "    return weakref.ref(signer)\n"
        "seen = [use() for _ in range(3)]\n"
        "gc.collect()\n"
        "assert [one() for one in seen] == [None] * 3\n"
    )


@needs_maps
def test_signers_are_refused_where_algorithms_must_be_approved() -> None:
    run(
        SIGNS + "import ctypes\n"
        "with open('/proc/self/maps') as maps:\n"
        "    paths = {line.split()[-1] for line in maps if 'libcrypto' in line}\n"
        "for path in paths:\n"
        "    assert ctypes.CDLL(path).EVP_default_properties_enable_fips(None, 1) == 1\n"
        "try:\n"
        "    server()\n"
        "except polytls.ConfigurationError as error:\n"
        "    assert error.field == 'certificate_chain'\n"
        "    assert 'fips=yes' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('a signer was taken')\n"
    )
