"""What a crypto policy of the system does to contexts of the implementation `openssl`, as a table.

    tools/policies.py           prints the table
    tools/policies.py write     puts it into docs/openssl.md, where a test holds it

Each policy is a configuration file of OpenSSL's (tools/policies/), used by a process of its own, as
OPENSSL_CONF is read once. What stands in the table is what contexts of that process say and do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "policies"
PAGE = ROOT / "docs" / "openssl.md"
BEGIN, END = "<!-- policies: begin -->", "<!-- policies: end -->"
#: In the order of the table.
NAMES = (
    "debian",
    "seclevel-2",
    "seclevel-3",
    "fedora-legacy",
    "fedora-default",
    "fedora-future",
    "fedora-fips",
)

#: Run under each policy. Peers are rustls's, which OpenSSL's configuration does not reach.
PROBE = """
import json
import polytls
from polytls.testing import CertificateAuthority, KeyType, tie

here, peer = polytls.implementation("openssl"), polytls.implementation("rustls")
client = here.client_context(polytls.TLSClientConfiguration())

def named(numbers):
    return [getattr(number, "name", hex(number)) for number in numbers]

def outcome(ca, kind):
    chain = ca.issue("localhost", key_type=kind)
    server = peer.server_context(polytls.TLSServerConfiguration(certificate_chain=[chain]))
    client = here.client_context(polytls.TLSClientConfiguration(trust_store=ca.trust_store()))
    try:
        tie(client.create_buffer("localhost"), server.create_buffer())
    except polytls.CertificateVerificationError as error:
        return error.reason.value
    except polytls.TLSError as error:
        return type(error).__name__
    return "accepted"

def own(ca, kind):
    chain = ca.issue("localhost", key_type=kind)
    try:
        here.server_context(polytls.TLSServerConfiguration(certificate_chain=[chain]))
    except polytls.ConfigurationError:
        return "refused"
    return "accepted"

ca, rsa = CertificateAuthority(), CertificateAuthority(key_type=KeyType.RSA_2048)
leaves = {
    "P-256": (ca, KeyType.ECDSA_P256),
    "Ed25519": (ca, KeyType.ED25519),
    "RSA 2048": (ca, KeyType.RSA_2048),
}
print(json.dumps({
    "version": here.version,
    "suites": named(client.effective_ciphers),
    "groups": named(client.effective_groups),
    "peers": {name: outcome(*how) for name, how in leaves.items()}
    | {"an RSA 2048 authority": outcome(rsa, KeyType.ECDSA_P256)},
    "own": {name: own(*how) for name, how in leaves.items()},
}))
"""


def found(name: str) -> dict[str, Any]:
    """What contexts under a policy say and do."""
    environment = dict(os.environ, OPENSSL_CONF=str(FOLDER / f"{name}.cnf"))
    told = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, stdout=subprocess.PIPE, check=True
    )
    facts: dict[str, Any] = json.loads(told.stdout)
    return facts


def table() -> str:
    """The table, and which OpenSSL it is of."""
    rows = {name: found(name) for name in NAMES}
    version = rows["debian"]["version"]
    lines = [
        f"With {version}:",
        "",
        "| policy | TLS 1.3 suites | TLS 1.2 suites | groups | own keys refused | peers refused |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, facts in rows.items():
        suites = facts["suites"]
        newer = [suite for suite in suites if suite.startswith(("TLS_AES", "TLS_CHACHA20"))]
        older = [suite for suite in suites if suite not in newer]
        own = [what for what, outcome in facts["own"].items() if outcome != "accepted"]
        peers = [
            f"{what} ({outcome})"
            for what, outcome in facts["peers"].items()
            if outcome != "accepted"
        ]
        cells = (name, *(_list(cell) for cell in (newer, older, facts["groups"], own, peers)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _list(names: list[str]) -> str:
    """Without what all names of suites have in common."""
    short = (name.removeprefix("TLS_").replace("_WITH_", " ").replace("_", " ") for name in names)
    return ", ".join(short) or "none"


def on_page() -> str:
    """The table as it stands on the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def main(arguments: list[str]) -> int:
    """Print or write the table."""
    made = table()
    if arguments == ["write"]:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
