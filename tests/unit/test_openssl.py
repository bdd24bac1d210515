"""Which libssl `openssl` uses and how it is found; and the options that only OpenSSL has."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import (
    ConfigurationError,
    TLSClientConfiguration,
    TLSServerConfiguration,
    VerificationFailure,
)
from polytls.engines import libssl, openssl
from polytls.testing import CertificateAuthority, KeyType, ech_key, tie

POLICIES = Path(__file__).resolve().parents[2] / "tools" / "policies"

MAPPED = """
def mapped():
    with open("/proc/self/maps") as maps:
        return {line.split()[-1] for line in maps if "libssl" in line}
"""

#: Wine shows the files of Linux, but no program for Windows reads them.
needs_maps = pytest.mark.skipif(
    sys.platform == "win32" or not Path("/proc/self/maps").exists(),
    reason="this system does not list what is loaded",
)


def run(program: str, **environment: str) -> None:
    environment = os.environ | environment
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)


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


#: The libraries that psycopg brings, of another version than the system's.
BROUGHT = Path(__file__).resolve().parents[2] / ".tools" / "openssl" / "3.5" / "path"

needs_brought = pytest.mark.skipif(
    not BROUGHT.exists(), reason="the libraries of psycopg-binary: `make test-openssl` fetches them"
)

#: A handshake; what libssl there is, and its version.
SHAKEN = (
    MAPPED
    + """
import ctypes, sys, polytls
from polytls.testing import CertificateAuthority, tie
def text(path):
    library = ctypes.CDLL(path)
    library.OpenSSL_version.restype = ctypes.c_char_p
    return library.OpenSSL_version(0).decode()
def shaken():
    tls, ca = polytls.implementation("openssl"), CertificateAuthority()
    server = tls.server_context(
        polytls.TLSServerConfiguration(certificate_chain=[ca.issue("localhost")])
    )
    client = tls.client_context(polytls.TLSClientConfiguration(trust_store=ca.trust_store()))
    pair = tie(client.create_buffer("localhost"), server.create_buffer())
    assert pair.send(pair.client, b"hello") == b"hello"
    return tls.version
"""
)


@pytest.mark.parametrize("path", [None, b"libssl.so.3", 3])
def test_a_library_is_chosen_by_its_path(path: Any) -> None:
    with pytest.raises(TypeError, match="path must be"):
        libssl.use(path)


@needs_maps
@needs_brought
def test_a_library_that_is_chosen_is_used_beside_that_of_ssl() -> None:
    brought = BROUGHT.read_text()
    run(
        SHAKEN + "from polytls.engines import libssl\n"
        f"libssl.use({brought!r})\n"
        f"assert shaken() == text({brought!r})\n"
        "import ssl\n"
        "assert ssl.OPENSSL_VERSION.split()[:2] != polytls.implementation('openssl')"
        ".version.split()[:2]\n"
    )


@needs_maps
@needs_brought
def test_a_copy_of_another_name_is_left_to_whoever_brought_it() -> None:
    brought = BROUGHT.read_text()
    run(
        SHAKEN + f"brought = {brought!r}\n"
        "theirs = text(brought)\n"
        "ours = shaken()\n"
        "assert ours.split()[:2] != theirs.split()[:2], (ours, theirs)\n"
        "assert len(mapped()) == 2 and brought in mapped(), mapped()\n"
        "assert text(brought) == theirs\n"
        "import ssl\n"
        "assert ours.split()[:2] == ssl.OPENSSL_VERSION.split()[:2]\n"
    )


@needs_maps
@needs_brought
def test_the_copy_that_comes_with_a_python_is_taken_before_the_systems(tmp_path: Path) -> None:
    """Its `_ssl` would otherwise get the system's, which is older: a process has one of a name."""
    brought = Path(BROUGHT.read_text())
    (libcrypto,) = brought.parent.glob("libcrypto-*.so.3")
    names = {brought.name: "libssl.so.3", libcrypto.name: "libcrypto.so.3"}
    for library in (brought, libcrypto):
        data = library.read_bytes()
        for name, short in names.items():
            new = short.encode().ljust(len(name), b"\0")
            data = data.replace(name.encode() + b"\0", new + b"\0")
        (tmp_path / names[library.name]).write_bytes(data)
    vendored = str(tmp_path / "libssl.so.3")
    (tmp_path / "_ssl.py").write_text(f"import ctypes\nLIBRARY = ctypes.CDLL({vendored!r})\n")
    # It would load the system's libcrypto, which such a Python does not have.
    (tmp_path / "_hashlib.py").write_text("raise ImportError\n")
    run(
        SHAKEN + f"vendored = {vendored!r}\n"
        f"theirs = text({str(brought)!r})\n"
        "assert '_ssl' not in sys.modules\n"
        "ours = shaken()\n"
        f"assert mapped() == {{vendored, {str(brought)!r}}}, mapped()\n"
        "assert ours.split()[:2] == theirs.split()[:2], (ours, theirs)\n",
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no OpenSSL of its own")
def test_a_python_without_ssl_has_it_too() -> None:
    run(
        "import sys; sys.modules['_ssl'] = None\n"
        "import polytls; assert polytls.implementation('openssl').version.startswith('OpenSSL ')"
    )


def assert_unusable(path: Path, said: str) -> None:
    run(
        "import pathlib, polytls; from polytls import registry\n"
        "from polytls.engines import libssl\n"
        f"libssl.use(pathlib.Path({str(path)!r}))\n"
        "assert 'openssl' not in polytls.implementations()\n"
        f"reason = str(registry.unusable()['openssl'])\n"
        f"assert {str(path)!r} in reason and {said!r} in reason, reason"
    )


def test_a_library_that_cannot_be_used_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "libssl.so").write_text("not a library")
    for path in (tmp_path / "libssl.so", tmp_path / "missing.so"):
        assert_unusable(path, "cannot be loaded")


def test_a_library_that_is_not_openssl_is_a_reason() -> None:
    assert_unusable(Path(polytls._native.__file__), "has OpenSSL_version_num")


@pytest.mark.skipif(sys.platform != "win32", reason="the libraries of Python for Windows")
def test_functions_are_those_of_the_libcrypto_that_libssl_is_linked_to(tmp_path: Path) -> None:
    """Windows looks for a function in one library only. These are copies of other names."""
    names = {f"lib{part}-3.dll": f"lib{part}-9.dll" for part in ("crypto", "ssl")}
    for name, new in names.items():
        data = (Path(sys.base_prefix) / "DLLs" / name).read_bytes()
        (tmp_path / new).write_bytes(data.replace(b"libcrypto-3.dll", b"libcrypto-9.dll"))
    run(
        "import ctypes, sys; sys.modules['_ssl'] = sys.modules['_hashlib'] = None\n"
        "import polytls; from polytls.engines import libssl\n"
        f"libssl.use({(tmp_path / 'libssl-9.dll').as_posix()!r})\n"
        "assert polytls.implementation('openssl').version.startswith('OpenSSL ')\n"
        "loaded = ctypes.WinDLL('kernel32').GetModuleHandleW\n"
        "loaded.restype = ctypes.c_void_p\n"
        "assert loaded('libcrypto-9.dll') and not loaded('libcrypto-3.dll')"
    )


def test_it_is_chosen_before_it_is_used() -> None:
    run(
        "import polytls; from polytls.engines import libssl; polytls.implementation('openssl')\n"
        "try:\n"
        "    libssl.use('/nowhere/libssl.so.3')\n"
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


def test_signers_leave_the_rest_of_the_process_as_it_is(tmp_path: Path) -> None:
    """A provider in the default library context would switch off the default one."""
    run(
        SIGNS + "pair = tie(client().create_buffer('localhost'), server().create_buffer())\n"
        "assert pair.client.cipher()\n"
        "import hashlib, ssl\n"
        "from polytls.testing.certificates import pem\n"
        "assert hashlib.new('sha512_256').digest_size == 32\n"
        "import hmac; hmac.new(b'key', b'data', 'sha3_256').digest()\n"
        f"import pathlib; file = pathlib.Path({str(tmp_path / 'chain.pem')!r})\n"
        "texts = pem('CERTIFICATE', certificate.buffer), pem('PRIVATE KEY', key.buffer)\n"
        "file.write_bytes(b''.join(texts))\n"
        "theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        "theirs.load_cert_chain(file)\n"
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


# --- options ---


def connects(tls: Any, ca: CertificateAuthority, kind: KeyType) -> Any:
    """A client of `tls` and a server of another implementation, with a key of this kind."""
    chain = ca.issue("localhost", key_type=kind)
    server = polytls.implementation("rustls").server_context(
        TLSServerConfiguration(certificate_chain=[chain])
    )
    client = tls.client_context(TLSClientConfiguration(trust_store=ca.trust_store()))
    buffer = client.create_buffer("localhost")
    tie(buffer, server.create_buffer())
    return buffer.info


@pytest.mark.parametrize(
    ("authority", "leaf", "reason"),
    [
        (KeyType.RSA_2048, KeyType.ECDSA_P256, VerificationFailure.WEAK_KEY),
        (KeyType.ECDSA_P256, KeyType.RSA_2048, VerificationFailure.WEAK_KEY),
        (KeyType.ECDSA_P256, KeyType.ECDSA_P384, None),
    ],
)
def test_a_security_level_holds_for_the_whole_path(
    authority: KeyType, leaf: KeyType, reason: VerificationFailure | None
) -> None:
    ca = CertificateAuthority(key_type=authority)
    assert connects(openssl.IMPLEMENTATION, ca, leaf).verified_chain
    strict = openssl.with_options(security_level=3)
    if reason is None:
        assert connects(strict, ca, leaf).verified_chain
        return
    with pytest.raises(polytls.CertificateVerificationError) as caught:
        connects(strict, ca, leaf)
    assert caught.value.reason is reason
    assert "security level 3" in str(caught.value)


def test_a_security_level_holds_for_own_certificates_and_for_clients() -> None:
    ca = CertificateAuthority()
    weak = ca.issue("localhost", key_type=KeyType.RSA_2048)
    strict = openssl.with_options(security_level=3)
    with pytest.raises(ConfigurationError, match="key too small"):
        strict.server_context(TLSServerConfiguration(certificate_chain=[weak]))
    server = strict.server_context(
        TLSServerConfiguration(
            certificate_chain=[ca.issue("localhost")], trust_store=ca.trust_store()
        )
    )
    client = openssl.OpensslClientContext(
        TLSClientConfiguration(trust_store=ca.trust_store(), certificate_chain=weak)
    )
    with pytest.raises(polytls.CertificateVerificationError, match="security level 3"):
        tie(client.create_buffer("localhost"), server.create_buffer())


def test_the_systems_security_level_is_not_lowered() -> None:
    run(
        "import polytls\n"
        "from polytls.engines import openssl\n"
        "from polytls.testing import CertificateAuthority, KeyType\n"
        "weak = CertificateAuthority().issue('localhost', key_type=KeyType.RSA_2048)\n"
        "configuration = polytls.TLSServerConfiguration(certificate_chain=[weak])\n"
        "for tls in openssl.IMPLEMENTATION, openssl.with_options(security_level=1):\n"
        "    try:\n"
        "        tls.server_context(configuration)\n"
        "    except polytls.ConfigurationError:\n"
        "        continue\n"
        "    raise AssertionError(tls)",
        OPENSSL_CONF=str(POLICIES / "seclevel-3.cnf"),
    )


def test_the_systems_policy_bounds_what_is_asked_for() -> None:
    run(
        "import polytls\n"
        "from polytls import CipherSuite, NamedGroup, TLSClientConfiguration\n"
        "tls = polytls.implementation('openssl')\n"
        "asked = [CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384]\n"
        "context = tls.client_context(TLSClientConfiguration(ciphers=asked))\n"
        "assert context.effective_ciphers == (CipherSuite.TLS_AES_256_GCM_SHA384,)\n"
        "try:\n"
        "    tls.client_context(TLSClientConfiguration(ciphers=asked[:1]))\n"
        "except polytls.ConfigurationError as error:\n"
        "    assert error.field == 'ciphers'\n"
        "else:\n"
        "    raise AssertionError('the policy was overruled')",
        OPENSSL_CONF=str(POLICIES / "fedora-future.cnf"),
    )


def refused(field: str, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        openssl.with_options(**options)
    assert caught.value.field == field
    return str(caught.value)


def test_options_that_openssl_cannot_meet_are_refused(tmp_path: Path) -> None:
    assert "0 to 5" in refused("security_level", security_level=6)
    assert "0 to 5" in refused("security_level", security_level=-1)
    assert "SHA-256" in refused("properties", properties="provider=nobodys")
    assert "nobodys" in refused("providers", providers=["nobodys"])
    missing = str(tmp_path / "missing.cnf")
    assert missing in refused("configuration_file", configuration_file=missing)
    with pytest.raises(TypeError, match="providers"):
        openssl.with_options(providers="default")
    with pytest.raises(TypeError, match="properties"):
        openssl.with_options(properties=b"fips=yes")  # type: ignore[arg-type]


def test_settings_of_tls_in_a_private_file_are_never_everybodys() -> None:
    """In OpenSSL 3 they would be: there such a file is refused."""
    file = POLICIES / "fedora-future.cnf"
    before = offers(openssl.IMPLEMENTATION)
    if (openssl.IMPLEMENTATION.version or "").startswith("OpenSSL 3."):
        said = refused("configuration_file", configuration_file=file)
        assert "ssl_conf" in said
        assert "OPENSSL_CONF" in said
    else:
        own = openssl.with_options(configuration_file=file)
        assert set(offers(own)) == {suite for suite in before if "AES_128" not in suite}
    assert offers(openssl.IMPLEMENTATION) == before
    assert offers(openssl.with_options(library_context=True)) == before
    assert "TLS_AES_128_GCM_SHA256" in before


def offers(tls: Any) -> list[str]:
    return [suite.name for suite in tls.client_context(TLSClientConfiguration()).effective_ciphers]


@pytest.mark.parametrize(
    "options",
    [
        {"library_context": True},
        {"providers": ["default", "base"]},
        {"providers": ["default"], "properties": "provider=default"},
        {"configuration_file": POLICIES / "debian.cnf"},
    ],
    ids=lambda options: "-".join(options),
)
def test_a_library_context_of_its_own_has_all_that_tls_needs(
    options: dict[str, Any], ca: CertificateAuthority
) -> None:
    tls = openssl.with_options(**options)
    assert tls.name == "openssl"
    assert tls.capabilities == openssl.CAPABILITIES
    server = tls.server_context(
        TLSServerConfiguration(
            certificate_chain=[ca.issue("localhost", key_type=KeyType.RSA_2048)],
            trust_store=ca.trust_store(),
            ticket_keys=polytls.TicketKeys(b"s" * 32),
        )
    )
    client = tls.client_context(
        TLSClientConfiguration(trust_store=ca.trust_store(), certificate_chain=ca.issue("someone"))
    )
    resumed = []
    for _ in range(2):
        buffer = client.create_buffer("localhost")
        peer = server.create_buffer()
        tie(buffer, peer)
        resumed.append(buffer.info.resumed)
        # Tickets come before data.
        peer.write(b"hello")
        buffer.process_incoming(peer.process_outgoing(100_000))
        assert buffer.read(100) == b"hello"
    assert resumed == [False, True]
    assert hashlib.md5(b"", usedforsecurity=False).digest()


def test_a_stranger_is_refused_with_options_too(ca: CertificateAuthority) -> None:
    tls = openssl.with_options(library_context=True)
    stranger = CertificateAuthority().issue("localhost")
    server = tls.server_context(TLSServerConfiguration(certificate_chain=[stranger]))
    client = tls.client_context(TLSClientConfiguration(trust_store=ca.trust_store()))
    with pytest.raises(polytls.CertificateVerificationError) as caught:
        tie(client.create_buffer("localhost"), server.create_buffer())
    assert caught.value.reason is VerificationFailure.UNKNOWN_ISSUER


def test_an_ech_key_that_only_openssl_refuses_is_named(ca: CertificateAuthority) -> None:
    tls = polytls.implementation("openssl")
    if not tls.capabilities.ech_keys:
        pytest.skip("this OpenSSL has no Encrypted ClientHello on servers")
    # It wants public names of four characters.
    keys = [ech_key(name)[0] for name in ("cover.example", "a.b")]
    with pytest.raises(ConfigurationError, match="key 2: OpenSSL cannot use") as refused:
        tls.server_context(TLSServerConfiguration([ca.issue("server.example")], ech_keys=keys))
    assert refused.value.field == "ech_keys"
