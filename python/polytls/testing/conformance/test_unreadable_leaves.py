"""Leaves that no path may end at, where no path is asked for: not verified, or known themselves.

A pinned certificate, one of `peers` and one in the store itself is accepted byte by byte. So its
form does not matter, as long as its key can be read: the key must have signed the handshake.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    PeerMisbehaved,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
    _native,
    insecure,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.drafts import Draft, Extension, bits, element, octets, sequence
from polytls.testing.conformance.elsewhere import elsewhere
from polytls.testing.conformance.lab import HOST
from polytls.testing.conformance.oddities import explicit_curve
from polytls.testing.conformance.raw_peer import settle_with_another_signature
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.unguarded_peer import UnguardedPeer, write

#: What no path may end at.
LEAVES: dict[str, Callable[[Draft], Draft]] = {
    "version 1": lambda it: it.but(version=1),
    "version 2": lambda it: it.but(version=2),
    "an unknown critical extension": lambda it: it.having(
        Extension("1.3.6.1.4.1.55738.7", octets(b""), critical=True)
    ),
    "a policy that is critical": lambda it: it.having(
        Extension("2.5.29.36", element(0x30, b"\x80\x01\x00"), critical=True)
    ),
    "the signing of certificates": lambda it: it.having(
        Extension("2.5.29.15", bits(b"\x84", 2), critical=True)
    ),
    "name constraints": lambda it: it.having(
        Extension("2.5.29.30", sequence(element(0xA0, sequence(element(0x82, b"example")))))
    ),
    "no subject": lambda it: it.but(subject=sequence()),
    "a curve by its numbers": lambda it: it.but(spki=explicit_curve(it.spki)),
}

each_leaf = pytest.mark.parametrize("leaf", list(LEAVES))


def odd(leaf: str) -> SigningChain:
    authority = CertificateAuthority()
    return LEAVES[leaf](Draft.leaf(authority, HOST)).issued(authority)


def named(leaf: str) -> bool:
    """Whether it has names: versions 1 and 2 have no extensions."""
    return not leaf.startswith("version")


def insecurely(lab: Any, implementation: Any, *, server: bool) -> Any:
    """A context that verifies nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", insecure.SecurityWarning)
        switches = insecure.InsecureConfiguration(
            disable_hostname_check=True, disable_verification=True
        )
        if server:
            return implementation.insecure_server_context(
                TLSServerConfiguration(
                    [lab.chain()], client_authentication=ClientAuthentication.REQUIRED
                ),
                switches,
            )
        return implementation.insecure_client_context(TLSClientConfiguration(), switches)


def outcome(lab: Any, context: Any, raw: Any, *, server: bool, name: str | None = HOST) -> Any:
    """The error with which `context` refuses a peer; None if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", insecure.SecurityWarning)
        judge = context.create_buffer() if server else context.create_buffer(name)
    pair = Pair(raw, judge) if server else Pair(judge, raw)
    found = lab.settle(pair)
    error = found.server if server else found.client
    if error is None:
        assert judge.getpeercert() is not None
        assert judge.info.version is not None
    return error


@needs("insecure contexts")
@each_leaf
def test_a_client_that_verifies_nothing_takes_it(
    lab: Any, insecure_implementation: Any, version: TLSVersion, leaf: str, tmp_path: Path
) -> None:
    raw: Any = UnguardedPeer(write(tmp_path / "server.pem", odd(leaf)), version=version)
    context = insecurely(lab, insecure_implementation, server=False)
    assert outcome(lab, context, raw, server=False) is None


@needs("insecure contexts", "client authentication")
@each_leaf
def test_a_server_that_verifies_nothing_takes_it(
    lab: Any, insecure_implementation: Any, version: TLSVersion, leaf: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "client.pem", odd(leaf))
    raw: Any = UnguardedPeer(path, server=False, version=version)
    context = insecurely(lab, insecure_implementation, server=True)
    assert outcome(lab, context, raw, server=True) is None


def stores(chain: SigningChain, spki: bytes, lab: Any) -> dict[str, Callable[[bool], TrustStore]]:
    """Ways to trust a leaf itself; each is told whether names are checked."""
    leaf = chain.leaf[0]
    return {
        "pinned": lambda names: TrustStore.pinned([leaf], check_hostname=names),
        "its key": lambda names: TrustStore.pinned(
            spki_sha256=[hashlib.sha256(spki).digest()], check_hostname=names
        ),
        "peers": lambda _: TrustStore.from_buffer(lab.ca.certificate_pem, peers=[leaf]),
        "in the store": lambda _: TrustStore.from_buffer(leaf.buffer or b""),
    }


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("pinned", marks=needs("pins")),
        pytest.param("its key", marks=needs("pins")),
        pytest.param("peers", marks=needs("peers")),
        "in the store",
    ],
)
@each_leaf
def test_a_client_that_knows_it_takes_it(
    lab: Any, version: TLSVersion, leaf: str, way: str, tmp_path: Path
) -> None:
    chain = odd(leaf)
    raw: Any = UnguardedPeer(write(tmp_path / "server.pem", chain), version=version)
    spki = _native.read_certificate(chain.leaf[0].buffer or b"").spki
    names = named(leaf)
    store = stores(chain, spki, lab)[way](names)
    error = outcome(lab, lab.client(trust_store=store), raw, server=False)
    if not names and way in ("peers", "in the store"):
        # Without extensions it has no names.
        assert type(error) is CertificateVerificationError
        assert error.reason.name == "HOSTNAME_MISMATCH"
        return
    assert error is None


@needs("client authentication")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param("pinned", marks=needs("pins")),
        pytest.param("peers", marks=needs("peers")),
        "in the store",
    ],
)
@each_leaf
def test_a_server_that_knows_it_takes_it(
    lab: Any, version: TLSVersion, leaf: str, way: str, tmp_path: Path
) -> None:
    chain = odd(leaf)
    path = write(tmp_path / "client.pem", chain)
    raw: Any = UnguardedPeer(path, server=False, version=version)
    store = stores(chain, b"", lab)[way](False)
    assert outcome(lab, lab.server(trust_store=store), raw, server=True) is None


@needs("pins")
@each_leaf
def test_a_server_may_present_it_as_its_own(lab: Any, version: TLSVersion, leaf: str) -> None:
    chain = odd(leaf)
    client = lab.client(
        version=version, trust_store=TrustStore.pinned([chain.leaf[0]], check_hostname=named(leaf))
    )
    pair = lab.connect(client, lab.server(chain))
    assert pair.client.getpeercert() == chain.leaf[0].buffer


@needs("pins", "signers")
@each_leaf
def test_so_may_one_whose_key_is_elsewhere(lab: Any, version: TLSVersion, leaf: str) -> None:
    chain = odd(leaf)
    assert chain.leaf[1] is not None
    signing, _ = elsewhere(lab, chain)
    store = TrustStore.pinned([chain.leaf[0]], check_hostname=named(leaf))
    pair = lab.connect(lab.client(version=version, trust_store=store), lab.server(signing))
    assert pair.client.getpeercert() == chain.leaf[0].buffer


@needs("pins")
@each_leaf
def test_its_key_must_have_signed_the_handshake(lab: Any, leaf: str) -> None:
    """Whoever has the certificate alone is not its owner."""
    chain = odd(leaf)
    store = TrustStore.pinned([chain.leaf[0]], check_hostname=named(leaf))
    only = {"version": TLSVersion.TLSv1_2}  # In TLS 1.3 nobody else can get at the signature.
    pair = lab.pair(lab.client(trust_store=store, **only), lab.server(chain, **only))
    error = settle_with_another_signature(lab, pair).client
    assert type(error) is PeerMisbehaved
    assert "the handshake signature does not match its certificate" in str(error)
