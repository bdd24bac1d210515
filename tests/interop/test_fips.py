"""`openssl` with OpenSSL's FIPS provider, which tools/install-peers.sh unpacks.

Each in a process of its own, as OpenSSL reads its configuration once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.peers

#: Both providers, and nothing but what the FIPS provider approves of.
ACTIVE = """
openssl_conf = openssl_init
[openssl_init]
providers = provider_section
{algorithms}
[provider_section]
fips = fips_sect
base = base_sect
[base_sect]
activate = 1
[algorithms]
default_properties = fips=yes
{module}
module = {provider}
"""

#: Certificates of each kind, made before anything is counted or refused: rcgen signs with aws-lc.
MADE = """
import polytls
from polytls.testing import CertificateAuthority, KeyType, tie

ca = CertificateAuthority()
chain = ca.issue("localhost")
own = ca.issue("someone")
trust = ca.trust_store()
"""

#: Full handshakes with client authentication, resumed ones by tickets of a fleet, and data, in
#: both versions.
SHAKEN = """
def shaken(tls):
    for version in (polytls.TLSVersion.TLSv1_2, polytls.TLSVersion.TLSv1_3):
        server = tls.server_context(polytls.TLSServerConfiguration(
            certificate_chain=[chain], trust_store=trust, highest_supported_version=version,
            ticket_keys=polytls.TicketKeys(b"s" * 32)))
        client = tls.client_context(polytls.TLSClientConfiguration(
            certificate_chain=own, trust_store=trust))
        for resumed in (False, True):
            ours, theirs = client.create_buffer("localhost"), server.create_buffer()
            tie(ours, theirs)
            theirs.write(b"hello")
            ours.process_incoming(theirs.process_outgoing(100_000))
            assert ours.read(5) == b"hello"
            assert ours.info.resumed == resumed, ours.info
            assert ours.info.version == version
            assert ours.info.group != polytls.NamedGroup.x25519
            assert ours.info.cipher.name.endswith(("SHA256", "SHA384")), ours.info
"""

#: A breakpoint at every function of aws-lc: whoever calls one ends by SIGTRAP.
TRAPS = """
import ctypes
import mmap
import os
import subprocess
from polytls import _native


def trap_aws_lc():
    path = _native.__file__
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps if line.rstrip().endswith(path)]
    base = next(int(line[0].split("-")[0], 16) for line in lines if int(line[2], 16) == 0)
    symbols = subprocess.run(["nm", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [line.split() for line in symbols.splitlines()]
    functions = [
        base + int(row[0], 16)
        for row in rows
        if len(row) == 3 and row[1] in "tT" and row[2].startswith("aws_lc_")
    ]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for page in {at // mmap.PAGESIZE * mmap.PAGESIZE for at in functions}:
        done = libc.mprotect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        assert done == 0, ctypes.get_errno()
    for at in functions:
        ctypes.memset(at, 0xCC, 1)
    return len(functions)


def leave():
    # Threads that end free what aws-lc has given them when certificates were made.
    os._exit(0)


assert trap_aws_lc() > 500
"""


@pytest.fixture(scope="session")
def module() -> tuple[str, Path]:
    """The FIPS provider's own configuration, with its checksum, and where the provider is."""
    found = list((ROOT / ".tools" / "fips").glob("usr/lib/*/ossl-modules/fips.so"))
    assert found, "OpenSSL's FIPS provider is missing: run tools/install-peers.sh"
    command = ["openssl", "fipsinstall", "-quiet", "-module", str(found[0]), "-out", "/dev/stdout"]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return made, found[0]


def _written(module: tuple[str, Path], folder: Path, *, by_default: bool) -> Path:
    text, provider = module
    path = folder / "fips.cnf"
    algorithms = "alg_section = algorithms" if by_default else ""
    path.write_text(ACTIVE.format(algorithms=algorithms, module=text, provider=provider))
    return path


def run(
    program: str, configuration: Path | None = None, *, arguments: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if configuration is not None:
        environment["OPENSSL_CONF"] = str(configuration)
    command = [sys.executable, *(arguments or ("-c", program))]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def active(module: tuple[str, Path], tmp_path: Path) -> Path:
    """A configuration file under which the whole process keeps to FIPS."""
    return _written(module, tmp_path, by_default=True)


def test_implementations_tell_that_the_provider_is_active(active: Path) -> None:
    told = succeeded(run("", active, arguments=("-m", "polytls", "implementations")))
    lines = [line for line in told.splitlines() if line.startswith("openssl")]
    assert len(lines) == 1
    assert "; FIPS provider 3." in lines[0]
    assert lines[0].endswith(", active")
    assert "FIPS" not in succeeded(run("", None, arguments=("-m", "polytls", "implementations")))


def test_handshakes_tickets_and_verdicts_call_nothing_of_aws_lc(active: Path) -> None:
    tls = 'tls = polytls.implementation("openssl")\n'
    succeeded(run(MADE + SHAKEN + tls + TRAPS + "shaken(tls)\nleave()", active))


def test_a_call_of_aws_lc_would_be_noticed() -> None:
    program = MADE + TRAPS + 'ca.issue("localhost")'
    assert run(program).returncode == -5


def test_what_is_not_approved_is_refused_by_name(active: Path) -> None:
    succeeded(
        run(
            MADE
            + """
tls = polytls.implementation("openssl")
suites, groups = tls.capabilities.cipher_suites, tls.capabilities.groups
assert suites and not any("CHACHA20" in suite.name for suite in suites), suites
assert polytls.NamedGroup.x25519 not in groups and polytls.NamedGroup.secp256r1 in groups, groups
for field, value in {
    "ciphers": [polytls.CipherSuite.TLS_CHACHA20_POLY1305_SHA256],
    "groups": [polytls.NamedGroup.x25519],
}.items():
    configuration = polytls.TLSClientConfiguration(**{field: value})
    for refuse in (tls.validate_config, tls.client_context):
        try:
            refuse(configuration)
        except polytls.ConfigurationError as error:
            assert error.field == field, error
        else:
            raise AssertionError(field)
""",
            active,
        )
    )


def test_one_implementation_keeps_to_fips_and_the_process_does_not(
    module: tuple[str, Path], tmp_path: Path
) -> None:
    path = _written(module, tmp_path, by_default=False)
    succeeded(
        run(
            MADE
            + SHAKEN
            + f"""
import hashlib
from polytls.engines import openssl

tls = openssl.with_options(properties="fips=yes", configuration_file={str(path)!r})
assert tls.version.endswith(", active"), tls.version
assert polytls.NamedGroup.x25519 not in tls.capabilities.groups
shaken(tls)
# Nothing else has changed.
hashlib.md5(b"").hexdigest()
free = polytls.implementation("openssl")
assert "FIPS" not in free.version and polytls.NamedGroup.x25519 in free.capabilities.groups
"""
        )
    )
