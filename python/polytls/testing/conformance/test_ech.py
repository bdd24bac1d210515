"""Encrypted ClientHello (RFC 9849) on clients.

The servers here know nothing of it, so they reject it, as one does that has lost its keys. Where a
server has keys, it is another library's: acceptance is tested elsewhere.
"""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    ECHRejected,
    ECHStatus,
    PeerIncompatible,
    PresentedPeer,
    TLSClientConfiguration,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.ech_lists import (
    AES_128_GCM,
    COVER,
    ECH,
    HKDF_SHA256,
    KEY,
    LIST,
    config,
    vector,
)
from polytls.testing.conformance.hello import Hello, offered_tickets
from polytls.testing.conformance.lab import PATIENCE, Outcome
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
SERVER_NAME = 0

with_ech = needs("ech")


def meet(lab: Any, client: Any = None, server: Any = None, **given: Any) -> tuple[Pair, Outcome]:
    """A handshake, as far as it comes; with Encrypted ClientHello if nothing else is said."""
    given.setdefault("ech", LIST)
    client, server = client or lab.client(), server or lab.server(lab.chain(COVER))
    buffer = client.create_buffer(lab.host, **given)
    pair = Pair(buffer, server.create_buffer())
    return pair, lab.settle(pair)


def assert_told(side: Any, in_handshake: BaseException | None) -> None:
    """The server learns of the rejection: before or after its handshake is complete."""
    told = in_handshake
    if told is None:
        with pytest.raises(AlertReceived) as caught:
            side.read(1)
        told = caught.value
    assert isinstance(told, AlertReceived)
    assert told.alert is AlertDescription.ech_required


def hello(lab: Any, client: Any, **given: Any) -> bytes:
    """The first flight of a client."""
    buffer = client.create_buffer(lab.host, **given)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    return bytes(lab.outgoing(buffer))


# --- what is sent ---


@with_ech
def test_an_observer_sees_only_the_public_name(lab: Any) -> None:
    flight = hello(lab, lab.client(), ech=LIST)
    extensions = dict(Hello.of(flight).extensions)
    assert COVER.encode() in extensions[SERVER_NAME]
    # As the outer one, with the suite and the number of the configuration (RFC 9849 5).
    assert extensions[ECH].startswith(struct.pack("!BHHB", 0, HKDF_SHA256, AES_128_GCM, 7))
    assert lab.host.encode() not in flight
    assert lab.host.encode() in hello(lab, lab.client())


@with_ech
def test_only_tls13_is_offered_with_it(lab: Any) -> None:
    _, outcome = meet(lab, server=lab.server(lab.chain(COVER), version=V12))
    assert isinstance(outcome.client, AlertReceived | PeerIncompatible)
    assert isinstance(outcome.server, PeerIncompatible)


@with_ech
@needs("resumption")
def test_tickets_are_not_shown_in_the_outer_hello(lab: Any) -> None:
    client = lab.client()
    pair = lab.connect(client, lab.server(version=V13))
    with pytest.raises(WantReadError):  # The tickets.
        pair.client.read(1)
    outer = hello(lab, client, ech=LIST)
    (plain,) = offered_tickets(hello(lab, client))
    assert all(len(identity) == len(plain) for identity in offered_tickets(outer))
    assert plain not in outer


@with_ech
@needs("early data", "resumption")
def test_no_early_data_goes_with_it(lab: Any) -> None:
    client = lab.client(early_data=True)
    server = lab.server(early_data=True, version=V13)
    pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    assert client.create_buffer(lab.host).write_early_data(b"early") == 5
    pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    assert client.create_buffer(lab.host, ech=LIST).write_early_data(b"early") == 0


# --- rejections ---


@with_ech
def test_a_rejection_is_an_error_on_both_sides(lab: Any) -> None:
    pair, outcome = meet(lab)
    error = outcome.client
    assert type(error) is ECHRejected
    assert (error.public_name, error.retry_configs) == (COVER, None)
    assert COVER in str(error)
    assert lab.host not in str(error)
    assert pair.client.info.ech is ECHStatus.REJECTED
    if outcome.server is None:
        assert pair.server.info.server_name == COVER
    assert_told(pair.server, outcome.server)


@with_ech
def test_nothing_follows_a_rejection(lab: Any) -> None:
    pair, _ = meet(lab)
    for call in (lambda: pair.client.write(b"data"), lambda: pair.client.read(1)):
        with pytest.raises(ECHRejected):
            call()
    assert not pair.client.outgoing_bytes_buffered()


@with_ech
@needs("groups")
def test_a_rejection_after_a_hello_retry_request(lab: Any) -> None:
    client = lab.client(groups=["x25519", "secp384r1"], sessions=None)
    server = lab.server(lab.chain(COVER), groups=["secp384r1"])
    pair, outcome = meet(lab, client, server)
    assert type(outcome.client) is ECHRejected
    assert pair.server.info.hello_retry_request in (True, None)


@with_ech
@needs("client authentication")
@pytest.mark.parametrize("asks", [ClientAuthentication.OPTIONAL, ClientAuthentication.REQUIRED])
def test_a_server_that_rejects_sees_no_client_certificate(
    lab: Any, asks: ClientAuthentication
) -> None:
    client = lab.client(certificate_chain=lab.ca.issue("client.example"))
    server = lab.server(
        lab.chain(COVER), trust_store=lab.ca.trust_store(), client_authentication=asks
    )
    pair, outcome = meet(lab, client, server)
    assert type(outcome.client) is ECHRejected
    assert pair.server.info.peer is None
    assert pair.server.getpeercert() is None
    if isinstance(outcome.server, CertificateVerificationError):
        assert asks is ClientAuthentication.REQUIRED
        assert outcome.server.reason is VerificationFailure.NO_CERTIFICATE
    else:
        assert_told(pair.server, outcome.server)


@with_ech
@needs("resumption")
def test_a_rejection_does_not_resume(lab: Any) -> None:
    client, server = lab.client(), lab.server(lab.chain(COVER, lab.host), version=V13)
    pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    pair, outcome = meet(lab, client, server)
    assert type(outcome.client) is ECHRejected
    assert pair.server.info.resumed in (False, None)


def _expired(lab: Any) -> tuple[Any, Any]:
    past = datetime.now(UTC) - timedelta(days=1)
    begin = past - timedelta(days=30)
    return lab.ca, lab.ca.issue(COVER, not_before=begin, not_after=past)


def _of_a_stranger(lab: Any) -> tuple[Any, Any]:
    return lab.ca, CertificateAuthority("stranger").issue(COVER)


def _of_the_host(lab: Any) -> tuple[Any, Any]:
    return lab.ca, lab.chain()


@with_ech
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (_expired, VerificationFailure.EXPIRED),
        (_of_a_stranger, VerificationFailure.UNKNOWN_ISSUER),
        (_of_the_host, VerificationFailure.HOSTNAME_MISMATCH),
    ],
    ids=["expired", "unknown issuer", "host name"],
)
def test_a_server_that_rejects_is_verified_for_the_public_name(
    lab: Any, made: Any, reason: VerificationFailure
) -> None:
    authority, chain = made(lab)
    client = lab.client(trust_store=authority.trust_store())
    _, outcome = meet(lab, client, lab.server(chain))
    error = outcome.client
    assert type(error) is CertificateVerificationError
    assert error.reason is reason
    if reason is VerificationFailure.HOSTNAME_MISMATCH:
        assert error.hostname == COVER
    assert "rejected Encrypted ClientHello" in str(error)
    assert str(error) in error.explain()
    # Its configurations are not to be trusted either.
    assert not hasattr(error, "retry_configs")


@with_ech
@needs("peer verifier")
def test_the_custom_verifier_gets_the_public_name(lab: Any) -> None:
    seen: list[PresentedPeer] = []

    def refuse(peer: PresentedPeer) -> None:
        seen.append(peer)
        raise ValueError("no")

    _, outcome = meet(lab, lab.client(peer_verifier=seen.append))
    assert type(outcome.client) is ECHRejected
    _, outcome = meet(lab, lab.client(peer_verifier=refuse))
    assert type(outcome.client) is CertificateVerificationError
    assert outcome.client.reason is VerificationFailure.REFUSED_BY_VERIFIER
    assert [peer.hostname for peer in seen] == [COVER, COVER]


@with_ech
@needs("pins")
def test_pins_hold_for_a_server_that_rejects(lab: Any) -> None:
    pinned = type(lab.ca.trust_store()).pinned([lab.chain().leaf[0]])
    _, outcome = meet(lab, lab.client(trust_store=pinned))
    assert type(outcome.client) is CertificateVerificationError
    assert outcome.client.reason is VerificationFailure.PIN_MISMATCH


# --- GREASE ---


@with_ech
def test_grease_changes_nothing_else(lab: Any) -> None:
    client = lab.client(ech="grease", version=V13)
    seen = set()
    for _ in range(2):
        pair = lab.connect(client, lab.server())
        assert pair.client.info.ech is ECHStatus.GREASE
        flight = hello(lab, client)
        extensions = dict(Hello.of(flight).extensions)
        assert lab.host.encode() in extensions[SERVER_NAME]
        seen.add(extensions[ECH])
    assert len(seen) == 2
    assert lab.connect().client.info.ech is None
    assert ECH not in dict(Hello.of(hello(lab, lab.client())).extensions)


@with_ech
@needs("groups")
def test_grease_outlives_a_hello_retry_request(lab: Any) -> None:
    client = lab.client(ech="grease", version=V13, groups=["x25519", "secp384r1"], sessions=None)
    pair = lab.connect(client, lab.server(groups=["secp384r1"]))
    assert pair.client.info.ech is ECHStatus.GREASE


@with_ech
def test_a_list_replaces_grease(lab: Any) -> None:
    _, outcome = meet(lab, lab.client(ech="grease", version=V13))
    assert type(outcome.client) is ECHRejected


# --- what cannot be used ---


@with_ech
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"", "malformed"),
        (b"\0\0", "malformed.*empty"),
        (LIST[:-1], "malformed"),
        (LIST + b"\0", "malformed"),
        (config(), "malformed"),
        (vector(config()[:-1]), "configuration 1 is incomplete"),
        (vector(config(version=0xFE0A)), "version 0xfe0a"),
        (vector(config(kem=0x99)), "KEM 0x0099"),
        (vector(config(aead=0x99)), "0x0099"),
        (vector(config(aead=0xFFFF)), "0xffff"),
        (vector(config(key=b"")), "public key has 0 bytes"),
        (vector(config(key=KEY[:-1])), "public key cannot be used"),
        # Of a small order: it would encrypt to everybody.
        (vector(config(key=bytes(32))), "public key cannot be used"),
        (vector(config(b"")), "not a host name"),
        (vector(config(b"192.0.2.1")), "not a host name"),
        (vector(config(b"a b.example")), "not a host name"),
        (vector(config(extensions=b"\x80\x01\0\0")), "mandatory extension 0x8001"),
        (vector(config(b"") + config(version=1)), "configuration 2: version 0x0001"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_before_connecting(
    lab: Any, wrong: bytes, says: str
) -> None:
    client = lab.client()
    for call in (
        lambda: client.create_buffer(lab.host, ech=wrong),
        # Nothing listens there.
        lambda: client.connect(("127.0.0.1", 1), server_hostname=lab.host, ech=wrong),
    ):
        with pytest.raises(ConfigurationError, match=says) as refused:
            call()
        assert refused.value.field == "ech"


@with_ech
def test_what_cannot_be_used_is_passed_over(lab: Any) -> None:
    parts = (config(version=0xFE0A), config(b"other.example", kem=0x99), config())
    _, outcome = meet(lab, ech=vector(b"".join(parts)))
    assert type(outcome.client) is ECHRejected
    assert outcome.client.public_name == COVER


@with_ech
@pytest.mark.parametrize("wrong", ["AEX+DQ==", 1, [LIST]])
def test_another_type_is_a_type_error(lab: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^ech must be bytes"):
        lab.client().create_buffer(lab.host, ech=wrong)


@with_ech
def test_a_context_without_tls13_refuses_it(lab: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"requires TLS 1\.3") as refused:
        lab.client(version=V12).create_buffer(lab.host, ech=LIST)
    assert refused.value.field == "ech"
    for given in ({}, {"version": V12}):
        with pytest.raises(ConfigurationError, match=r"requires TLS 1\.3") as refused:
            lab.client(ech="grease", **given)
        assert refused.value.field == "ech"


@with_ech
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_addresses_have_no_list(lab: Any, address: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a host name") as refused:
        lab.client().create_buffer(address, ech=LIST)
    assert refused.value.field == "ech"


# --- sockets ---


@with_ech
@needs("wrap_socket", "do_handshake_on_accept")
def test_sockets_raise_a_rejection(lab: Any) -> None:
    client, server = lab.client(), lab.server(lab.chain(COVER))

    def connect(port: int) -> Any:
        address = ("127.0.0.1", port)
        return client.connect(address, server_hostname=lab.host, timeout=PATIENCE, ech=LIST)

    def wrap(port: int) -> Any:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        return client.wrap_socket(plain, lab.host, ech=LIST)

    given = {"do_handshake_on_accept": False}
    with ThreadPoolExecutor() as threads, server.connect(("127.0.0.1", 0), **given) as listener:
        listener.settimeout(PATIENCE)
        for begin in (connect, wrap):
            beginning = threads.submit(begin, listener.getsockname()[1])
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(PATIENCE)
                with pytest.raises(AlertReceived) as told:
                    accepted.recv(1)
                assert told.value.alert is AlertDescription.ech_required
                with pytest.raises(ECHRejected):
                    beginning.result(PATIENCE)
                accepted.close(force=True)


# --- without it ---


@needs("no ech")
def test_an_implementation_without_it_refuses_it(lab: Any) -> None:
    client = lab.client()
    for call in (
        lambda: client.create_buffer(lab.host, ech=LIST),
        lambda: client.connect(("127.0.0.1", 1), server_hostname=lab.host, ech=LIST),
    ):
        # TypeError: the argument is polytls's, and unknown there.
        with pytest.raises((ConfigurationError, TypeError), match="ech"):
            call()
    configuration = TLSClientConfiguration(
        trust_store=lab.ca.trust_store(), ech="grease", lowest_supported_version=V13
    )
    for refuses in (lab.implementation.validate_config, lab.implementation.client_context):
        with pytest.raises(ConfigurationError) as refused:
            refuses(configuration)
        assert refused.value.field == "ech"
