"""Keys that are elsewhere, and a client's choice among chains."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    ConfigurationError,
    PrivateKey,
    SignatureScheme,
    Signer,
    SigningChain,
    TLSError,
    TLSVersion,
)
from polytls.testing import CertificateAuthority, KeyType
from polytls.testing.conformance.elsewhere import Signs, elsewhere
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

each_key_type = pytest.mark.parametrize("key_type", list(KeyType), ids=lambda kind: kind.value)


def failing(_data: bytes, _algorithm: SignatureScheme) -> bytes:
    raise LookupError("the token is not there")


# --- signers ---


@needs("signers")
@each_key_type
def test_a_server_signs_with_a_key_that_is_elsewhere(
    lab: Any, version: TLSVersion, key_type: KeyType
) -> None:
    chain, signer = elsewhere(lab, lab.chain(key_type=key_type))
    server = lab.server(chain)
    pair = lab.connect(lab.client(version=version), server)
    assert pair.send(pair.server, b"data") == b"data"
    assert len(signer.asked) == 1
    assert signer.asked[0] in signer.algorithms
    assert type(signer.asked[0]) is SignatureScheme
    assert server.handshake_may_block is True
    assert lab.server().handshake_may_block is False


@needs("signers", "client authentication")
@each_key_type
def test_a_client_signs_with_a_key_that_is_elsewhere(
    lab: Any, version: TLSVersion, key_type: KeyType
) -> None:
    chain, signer = elsewhere(lab, lab.chain("client.example", key_type=key_type))
    client = lab.client(version=version, certificate_chain=chain)
    server = lab.server(trust_store=lab.ca.trust_store())
    pair = lab.connect(client, server)
    assert pair.send(pair.client, b"data") == b"data"
    assert pair.server.getpeercert() == chain.leaf[0].buffer
    assert len(signer.asked) == 1
    assert client.handshake_may_block is True
    assert lab.client().handshake_may_block is False


@needs("signers", "client authentication")
@each_key_type
def test_signers_are_taken_as_they_are(lab: Any, version: TLSVersion, key_type: KeyType) -> None:
    """With no watch over them: keys in tokens, which polytls knows, then sign by themselves."""
    chains = []
    for name in (lab.host, "client.example"):
        certificate, key = lab.chain(name, key_type=key_type).leaf
        chains.append(SigningChain((certificate, PrivateKey.from_signer(lab.signer(key)))))
    server = lab.server(chains[0], trust_store=lab.ca.trust_store())
    pair = lab.connect(lab.client(version=version, certificate_chain=chains[1]), server)
    assert pair.client.getpeercert() == chains[0].leaf[0].buffer
    assert pair.server.getpeercert() == chains[1].leaf[0].buffer


class Limited(Signs):
    """A token that can do one algorithm, as many can."""

    def __init__(self, signer: Signer, algorithm: SignatureScheme) -> None:
        super().__init__(signer)
        self._only = (algorithm,)

    @property
    def algorithms(self) -> tuple[SignatureScheme, ...]:
        return self._only


@needs("signers", "client authentication")
@pytest.mark.parametrize(
    "algorithm",
    [
        SignatureScheme.rsa_pkcs1_sha384,
        SignatureScheme.rsa_pss_rsae_sha256,
        SignatureScheme.rsa_pss_rsae_sha512,
    ],
    ids=lambda algorithm: algorithm.name,
)
def test_a_signer_is_asked_for_what_it_can_do_alone(lab: Any, algorithm: SignatureScheme) -> None:
    """Whatever else its kind of key could do, and the peer likes better."""

    def limited(name: str) -> tuple[SigningChain, Limited]:
        certificate, key = lab.chain(name, key_type=KeyType.RSA_2048).leaf
        signer = Limited(lab.signer(key), algorithm)
        return SigningChain((certificate, PrivateKey.from_signer(signer))), signer

    version = TLSVersion.TLSv1_2
    servers, server_signer = limited(lab.host)
    clients, client_signer = limited("client.example")
    beside = lab.chain("beside.example", key_type=KeyType.RSA_2048)
    server = lab.server(servers, beside, version=version, trust_store=lab.ca.trust_store())
    client = lab.client(version=version, certificate_chain=clients)
    pair = lab.connect(client, server)
    assert pair.server.getpeercert() == clients.leaf[0].buffer
    assert (server_signer.asked, client_signer.asked) == ([algorithm], [algorithm])


@needs("signers")
def test_a_servers_signer_that_raises_ends_the_handshake_with_an_alert(
    lab: Any, version: TLSVersion
) -> None:
    chain, _ = elsewhere(lab, lab.chain(), failing)
    outcome = lab.settle(lab.pair(lab.client(version=version), lab.server(chain)))
    assert type(outcome.server) is TLSError
    assert "signer" in str(outcome.server)
    assert type(outcome.server.__cause__) is LookupError
    assert "token" not in str(outcome.server), "what it says is for whoever looks at the cause"
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.internal_error


@needs("signers", "client authentication")
def test_a_clients_signer_that_raises_ends_the_handshake_with_an_alert(
    lab: Any, version: TLSVersion
) -> None:
    chain, _ = elsewhere(lab, lab.chain("client.example"), failing)
    client = lab.client(version=version, certificate_chain=chain)
    outcome = lab.settle(lab.pair(client, lab.server(trust_store=lab.ca.trust_store())))
    assert type(outcome.client) is TLSError
    assert type(outcome.client.__cause__) is LookupError
    assert type(outcome.server) is AlertReceived
    assert outcome.server.alert is AlertDescription.internal_error


@needs("signers")
@pytest.mark.parametrize(
    "signature", [b"", bytes(64), b"\x30\x06\x02\x01\x01\x02\x01\x01"], ids=["none", "zero", "bad"]
)
def test_a_bad_signature_does_not_leave_the_house(
    lab: Any, version: TLSVersion, signature: bytes
) -> None:
    chain, _ = elsewhere(lab, lab.chain(), lambda data, algorithm: signature)
    outcome = lab.settle(lab.pair(lab.client(version=version), lab.server(chain)))
    assert type(outcome.server) is TLSError
    assert "public key" in str(outcome.server)
    assert outcome.client.alert is AlertDescription.internal_error


@needs("signers")
def test_a_signer_that_returns_no_bytes_is_told(lab: Any) -> None:
    chain, _ = elsewhere(lab, lab.chain(), lambda data, algorithm: "text")
    outcome = lab.settle(lab.pair(server=lab.server(chain)))
    assert type(outcome.server) is TLSError
    assert isinstance(outcome.server.__cause__, TypeError)


@needs("signers")
def test_a_signer_for_another_certificate_is_refused(lab: Any) -> None:
    certificate, _ = lab.chain().leaf
    _, other = lab.chain("other.example").leaf
    chain = SigningChain((certificate, PrivateKey.from_signer(lab.signer(other))))
    with pytest.raises(ConfigurationError) as refused:
        lab.server(chain)
    assert refused.value.field == "certificate_chain"


@needs("signers")
def test_a_signer_that_uses_its_connection_gets_an_error_and_waits_for_nothing(lab: Any) -> None:
    raised: list[Exception] = []

    def use(data: bytes, algorithm: SignatureScheme) -> bytes:
        try:
            pair.server.read(1)
        except TLSError as error:
            raised.append(error)
        return lab.signer(lab.chain().leaf[1]).sign(data, algorithm)

    chain, _ = elsewhere(lab, lab.chain(), use)
    pair = lab.pair(server=lab.server(chain))
    pair.handshake()
    assert "callback" in str(raised[0])


@needs("signers")
def test_a_slow_signer_holds_up_its_own_connection_alone(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    may_go_on, waits = threading.Event(), threading.Event()

    def wait(data: bytes, algorithm: SignatureScheme) -> bytes:
        waits.set()
        assert may_go_on.wait(PATIENCE)
        return lab.signer(lab.chain().leaf[1]).sign(data, algorithm)

    chain, _ = elsewhere(lab, lab.chain(), wait)
    open_one = lab.connect()
    slow = lab.pair(server=lab.server(chain))
    waiting = threads.submit(slow.handshake)
    assert waits.wait(PATIENCE)
    try:
        assert open_one.send(open_one.client, b"goes on") == b"goes on"
        lab.connect()
        assert not waiting.done()
    finally:
        may_go_on.set()
    waiting.result(PATIENCE)


@needs("signers", "client authentication")
def test_a_signer_that_outlasts_the_timeout_ends_in_a_timeout(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    def dawdle(data: bytes, algorithm: SignatureScheme) -> bytes:
        time.sleep(0.5)
        return lab.signer(lab.chain("client.example").leaf[1]).sign(data, algorithm)

    chain, _ = elsewhere(lab, lab.chain("client.example"), dawdle)
    client = lab.client(version=version, certificate_chain=chain)
    server = lab.server(trust_store=lab.ca.trust_store())
    with server.connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(2)

        def accept() -> None:
            try:
                listener.accept()[0].close(force=True)
            except OSError:
                return

        accepting = threads.submit(accept)
        with pytest.raises(TimeoutError):
            client.connect(listener.getsockname(), server_hostname=lab.host, timeout=0.3)
        accepting.result(PATIENCE)


@needs("no signers")
def test_a_library_that_needs_the_key_itself_says_so(lab: Any) -> None:
    chain, _ = elsewhere(lab, lab.chain())
    with pytest.raises(ConfigurationError, match="signer") as refused:
        lab.server(chain)
    assert refused.value.field == "certificate_chain"
    assert lab.server().handshake_may_block is False


# --- a client's choice ---


@needs("choice among chains", "client authentication")
def test_a_client_shows_the_chain_that_the_server_trusts(lab: Any, version: TLSVersion) -> None:
    authorities = [CertificateAuthority(f"authority {number}") for number in range(3)]
    chains = [authority.issue("client.example") for authority in authorities]
    client = lab.client(version=version, certificate_chain=chains[0], alternative_chains=chains[1:])
    for authority, chain in zip(authorities, chains, strict=True):
        pair = lab.connect(client, lab.server(trust_store=authority.trust_store(), sessions=None))
        assert pair.server.getpeercert() == chain.leaf[0].buffer


@needs("choice among chains", "client authentication")
def test_a_client_shows_the_first_of_the_chains_that_suit(lab: Any, version: TLSVersion) -> None:
    trusted, other = CertificateAuthority("trusted"), CertificateAuthority("other")
    chains = [
        other.issue("client.example"),
        trusted.intermediate().issue("first.example"),
        trusted.issue("second.example"),
    ]
    client = lab.client(version=version, certificate_chain=chains[0], alternative_chains=chains[1:])
    pair = lab.connect(client, lab.server(trust_store=trusted.trust_store()))
    assert pair.server.getpeercert() == chains[1].leaf[0].buffer


@needs("choice among chains", "client authentication")
def test_alternatives_to_nothing_are_refused(lab: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        lab.client(alternative_chains=[lab.chain("client.example")])
    assert refused.value.field == "alternative_chains"


@needs("no choice among chains", "client authentication")
def test_a_library_that_cannot_choose_among_chains_says_so(lab: Any) -> None:
    chain = lab.chain("client.example")
    with pytest.raises(ConfigurationError) as refused:
        lab.client(certificate_chain=chain, alternative_chains=[chain])
    assert refused.value.field == "alternative_chains"
