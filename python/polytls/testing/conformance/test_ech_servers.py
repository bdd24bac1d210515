"""Encrypted ClientHello (RFC 9849) on servers: `ech_keys`.

Clients of the same implementation: where a server has it, its clients do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polytls import (
    AlertReceived,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    ECHKey,
    ECHRejected,
    ECHStatus,
    TLSError,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.reload import ReloadingServerContext
from polytls.testing import CertificateAuthority, Pair, ech_key
from polytls.testing.certificates import pem
from polytls.testing.conformance.ech_lists import COVER, KEY, LIST, config, vector
from polytls.testing.conformance.lab import Outcome
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

with_keys = needs("ech keys", "ech")


@pytest.fixture
def server(lab: Any) -> Any:
    """A function that makes a server's context, known by both names."""
    return lambda *keys, **given: lab.server(lab.chain(lab.host, COVER), ech_keys=keys, **given)


def meet(lab: Any, client: Any, server: Any, configs: bytes | None) -> tuple[Pair, Outcome]:
    buffer = client.create_buffer(lab.host, ech=configs)
    pair = Pair(buffer, server.create_buffer())
    return pair, lab.settle(pair)


def accepted(lab: Any, client: Any, server: Any, configs: bytes) -> Pair:
    """A connection whose ClientHello was decrypted, and which carries data."""
    pair, outcome = meet(lab, client, server, configs)
    assert (outcome.client, outcome.server) == (None, None)
    for side in (pair.client, pair.server):
        assert side.info.ech is ECHStatus.ACCEPTED
        assert side.info.server_name == lab.host
    assert pair.server.info.ech_offered is True
    pair.client.write(b"question")
    pair.transfer()
    assert pair.server.read(100) == b"question"
    pair.server.write(b"answer")
    pair.transfer()
    assert pair.client.read(100) == b"answer"
    return pair


@with_keys
def test_a_server_decrypts_it(lab: Any, server: Any) -> None:
    key, configs = ech_key(COVER)
    accepted(lab, lab.client(), server(key), configs)


@with_keys
@needs("selection by name")
def test_the_chain_is_chosen_by_the_name_inside(lab: Any) -> None:
    key, configs = ech_key(COVER)
    server = lab.server(lab.chain(COVER), lab.chain(), ech_keys=[key])
    accepted(lab, lab.client(), server, configs)


@with_keys
def test_other_clients_are_served_as_without(lab: Any, server: Any, version: TLSVersion) -> None:
    key, _ = ech_key(COVER)
    pair = lab.connect(lab.client(version=version), server(key))
    assert (pair.server.info.ech, pair.server.info.ech_offered) == (None, False)
    assert pair.server.info.server_name == lab.host


@with_keys
def test_grease_is_not_taken_for_a_rejection(lab: Any, server: Any) -> None:
    key, _ = ech_key(COVER)
    pair = lab.connect(lab.client(ech="grease", version=V13), server(key))
    assert pair.client.info.ech is ECHStatus.GREASE
    assert (pair.server.info.ech, pair.server.info.ech_offered) == (None, True)


@with_keys
def test_a_rejection_has_the_configurations_of_the_first_key(lab: Any, server: Any) -> None:
    (current, fresh), (older, old), (_, lost) = (ech_key(COVER) for _ in range(3))
    context, client = server(current, older), lab.client()
    pair, outcome = meet(lab, client, context, lost)
    assert type(outcome.client) is ECHRejected
    assert (outcome.client.public_name, outcome.client.retry_configs) == (COVER, fresh)
    if outcome.server is None:
        assert (pair.server.info.ech, pair.server.info.ech_offered) == (None, True)
        assert pair.server.info.server_name == COVER
        with pytest.raises(AlertReceived):
            pair.server.read(1)
    accepted(lab, client, context, outcome.client.retry_configs)
    # Clients that have the old ones are still served.
    accepted(lab, client, context, old)


@with_keys
def test_keys_with_the_same_identifier_are_told_apart(lab: Any, server: Any) -> None:
    pairs = [ech_key(COVER, identifier=5) for _ in range(2)]
    context = server(*(key for key, _ in pairs))
    for _, configs in pairs:
        accepted(lab, lab.client(), context, configs)


@with_keys
def test_a_damaged_client_hello_ends_in_an_error_or_is_not_decrypted(lab: Any, server: Any) -> None:
    key, configs = ech_key(COVER)
    context = server(key)
    buffer = lab.client().create_buffer(lab.host, ech=configs)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    flight = lab.outgoing(buffer)
    for place in range(5, len(flight), 3):
        damaged = bytearray(flight)
        damaged[place] ^= 0x81
        peer = context.create_buffer()
        peer.process_incoming(bytes(damaged))
        with pytest.raises((WantReadError, TLSError)):
            peer.do_handshake()
        assert peer.info.ech is None


@with_keys
@needs("groups")
def test_a_hello_retry_request_is_answered_with_it(lab: Any, server: Any) -> None:
    key, configs = ech_key(COVER)
    client = lab.client(groups=["x25519", "secp384r1"], sessions=None)
    pair = accepted(lab, client, server(key, groups=["secp384r1"]), configs)
    assert pair.server.info.hello_retry_request is True


@with_keys
@needs("client authentication")
def test_clients_present_their_certificates(lab: Any, server: Any) -> None:
    key, configs = ech_key(COVER)
    chain = lab.ca.issue("client.example")
    asked = {
        "trust_store": lab.ca.trust_store(),
        "client_authentication": ClientAuthentication.REQUIRED,
    }
    context = server(key, **asked)
    pair = accepted(lab, lab.client(certificate_chain=chain), context, configs)
    assert pair.server.getpeercert() is not None
    stranger = CertificateAuthority("stranger").issue("client.example")
    _, outcome = meet(lab, lab.client(certificate_chain=stranger), context, configs)
    assert type(outcome.server) is CertificateVerificationError
    assert outcome.server.reason is VerificationFailure.UNKNOWN_ISSUER


@with_keys
@needs("resumption")
def test_sessions_are_resumed_with_it(lab: Any, server: Any) -> None:
    key, configs = ech_key(COVER)
    client, context = lab.client(version=V13), server(key)
    resumed = []
    for _ in range(2):
        pair = accepted(lab, client, context, configs)
        with pytest.raises(WantReadError):  # The tickets.
            pair.client.read(1)
        resumed.append(pair.server.info.resumed)
    assert resumed == [False, True]


@with_keys
def test_a_key_is_read_again_from_its_file(lab: Any, tmp_path: Path) -> None:
    pairs = [ech_key(COVER) for _ in range(2)]
    path = tmp_path / "ech.pem"
    path.write_bytes(pairs[0][0].buffer or b"")
    configuration = lab.server(
        lab.chain(lab.host, COVER), ech_keys=[ECHKey.from_file(path)]
    ).configuration
    context = ReloadingServerContext(lab.implementation, configuration)
    accepted(lab, lab.client(), context, pairs[0][1])
    path.write_bytes(pairs[1][0].buffer or b"")
    context.reload()
    accepted(lab, lab.client(), context, pairs[1][1])


SECRET = bytes.fromhex("302e020100300506032b656e04220420") + bytes(range(32))


@with_keys
@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"", "no data"),
        (b"text", "no private key"),
        (pem("ECHCONFIG", LIST), "no private key"),
        (pem("PRIVATE KEY", SECRET), "no ECHCONFIG section"),
        (pem("PRIVATE KEY", SECRET) + pem("ECHCONFIG", LIST) * 2, "more than one ECHCONFIG"),
        (pem("PRIVATE KEY", SECRET) * 2 + pem("ECHCONFIG", LIST), "more than one private key"),
        (pem("ENCRYPTED PRIVATE KEY", SECRET) + pem("ECHCONFIG", LIST), "encrypted"),
        (pem("PRIVATE KEY", SECRET) + pem("ECHCONFIG", LIST[:-1]), "malformed"),
        (pem("PRIVATE KEY", SECRET) + pem("ECHCONFIG", vector(config(b""))), "not a host name"),
        (
            pem("PRIVATE KEY", SECRET) + pem("ECHCONFIG", vector(config(kem=0x99))),
            "configuration 1 cannot be used",
        ),
        (pem("PRIVATE KEY", SECRET) + pem("ECHCONFIG", LIST), "does not belong"),
        (pem("PRIVATE KEY", SECRET[:-9]) + pem("ECHCONFIG", LIST), "private key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(
    lab: Any, server: Any, contents: bytes, says: str
) -> None:
    good, _ = ech_key(COVER)
    with pytest.raises(ConfigurationError, match=says) as refused:
        server(good, ECHKey.from_buffer(contents))
    assert refused.value.field == "ech_keys"
    assert KEY.hex() not in str(refused.value)


@with_keys
def test_keys_require_tls13(lab: Any, server: Any) -> None:
    key, _ = ech_key(COVER)
    with pytest.raises(ConfigurationError, match=r"requires TLS 1\.3") as refused:
        server(key, version=V12)
    assert refused.value.field == "ech_keys"


@with_keys
def test_a_key_by_an_identifier_is_refused(lab: Any, server: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        server(ECHKey.from_id(b"pkcs11:object=ech"))
    assert refused.value.field == "ech_keys"


@needs("no ech keys")
def test_an_implementation_without_it_refuses_keys(lab: Any, server: Any) -> None:
    key, _ = ech_key(COVER)
    with pytest.raises(ConfigurationError, match="Encrypted ClientHello on servers") as refused:
        server(key)
    assert refused.value.field == "ech_keys"
