"""All implementations take the same PEM files, and refuse the same ones in the same words."""

from __future__ import annotations

import random
from typing import Any

import pytest

import polytls
from polytls import (
    Certificate,
    ConfigurationError,
    PrivateKey,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TrustStore,
)
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

CA = CertificateAuthority()
CHAIN = CA.issue("server.example")
KEY = CHAIN.leaf[1]
assert KEY is not None
ALIAS = b"\x30\x03\x0c\x01a"
SECTIONS = (
    CA.certificate_pem,
    pem("X509 CERTIFICATE", CA.certificate_der),
    pem("TRUSTED CERTIFICATE", CA.certificate_der + ALIAS),
    pem("PRIVATE KEY", KEY.buffer or b""),
    b"# a comment\n",
)


def outcome(name: str, kind: str, data: bytes) -> str:
    """What an implementation says of a file: nothing, or what is wrong."""
    tls: Any = polytls.implementation(name)
    try:
        if kind == "store":
            tls.client_context(TLSClientConfiguration(trust_store=TrustStore.from_buffer(data)))
        else:
            chain = SigningChain((CHAIN.leaf[0], PrivateKey.from_buffer(data)))
            tls.server_context(TLSServerConfiguration([chain]))
    except ConfigurationError as error:
        return str(error).removeprefix(f"{name}: ")
    return "taken"


def mutated(rng: random.Random) -> bytes:
    """Sections in a row, with changes to what frames them; what is inside stays whole."""
    data = b"".join(rng.choice(SECTIONS) for _ in range(rng.randint(1, 3)))
    lines = data.splitlines(keepends=True)
    frames = [at for at, line in enumerate(lines) if b"-----" in line or line.startswith(b"#")]
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(frames)
        line = lines[at]
        where = rng.randrange(len(line) + 1)
        lines[at] = rng.choice(
            [
                line[:where] + bytes([rng.choice(b"-- \n\r\tAB#=\x00")]) + line[where:],
                line[:where] + line[where + 1 :],
                line[:where] + line[where + 6 :],
                line.rstrip(),
                line * 2,
                b"",
            ]
        )
    return b"".join(lines)


@pytest.mark.parametrize("kind", ["store", "key"])
def test_mutated_files_are_taken_by_all_implementations_or_by_none(
    kind: str, rng: random.Random
) -> None:
    names = polytls.implementations()
    taken = 0
    for _ in range(300):
        data = mutated(rng)
        said = {name: outcome(name, kind, data) for name in names}
        assert len(set(said.values())) == 1, (data, said)
        taken += "taken" in said.values()
    assert 0 < taken < 300


@pytest.mark.parametrize("name", polytls.implementations())
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("label", ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_certificates_under_other_labels_are_taken_wherever_they_stand(
    name: str, label: str, behind: bool
) -> None:
    first = CertificateAuthority().certificate_pem if behind else b""
    section = pem(label, CA.certificate_der + (ALIAS if label.startswith("TRUSTED") else b""))
    tls: Any = polytls.implementation(name)
    store = TrustStore.from_buffer(first + section)
    client = tls.client_context(TLSClientConfiguration(trust_store=store))
    server = tls.server_context(TLSServerConfiguration([CHAIN]))
    pair = polytls.testing.Pair(client.create_buffer("server.example"), server.create_buffer())
    pair.handshake()


@pytest.mark.parametrize("name", polytls.implementations())
def test_trust_settings_that_restrict_are_refused_by_name(name: str) -> None:
    restricted = CA.certificate_der + b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"
    section = pem("TRUSTED CERTIFICATE", restricted)
    tls: Any = polytls.implementation(name)
    for data in (section, CA.certificate_pem + section):
        store = TrustStore.from_buffer(data)
        with pytest.raises(ConfigurationError, match=r"TRUSTED CERTIFICATE .* trust settings"):
            tls.client_context(TLSClientConfiguration(trust_store=store))
    leaf = Certificate.from_buffer(
        pem("TRUSTED CERTIFICATE", (CHAIN.leaf[0].buffer or b"") + ALIAS)
    )
    tls.server_context(TLSServerConfiguration([SigningChain((leaf, KEY))]))
