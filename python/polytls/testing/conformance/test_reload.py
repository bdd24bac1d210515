"""`ReloadingServerContext` over an implementation: every file of a configuration is read again."""

from __future__ import annotations

import copy
import logging
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    ConfigurationError,
    OCSPResponse,
    PrivateKey,
    RevocationList,
    SigningChain,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
)
from polytls.reload import ReloadingServerContext
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs


def certificate_pem(chain: SigningChain) -> bytes:
    return pem("CERTIFICATE", chain.leaf[0].buffer or b"")


def identity_pem(chain: SigningChain) -> bytes:
    """A certificate and its key in one file."""
    key = chain.leaf[1]
    assert key is not None
    return certificate_pem(chain) + pem("PRIVATE KEY", key.buffer or b"")


class Scene:
    """Two authorities and a client of each; a server whose configuration names one file."""

    def __init__(self, lab: Any, folder: Path) -> None:
        self.lab = lab
        self.file = folder / "file.pem"
        self.old, self.new = CertificateAuthority("old"), CertificateAuthority("new")
        self.old_client = self.old.issue("old.example")
        self.new_client = self.new.issue("new.example")

    def serve(self, *chains: SigningChain, **given: Any) -> ReloadingServerContext:
        chains = chains or (self.lab.chain(),)
        configuration = TLSServerConfiguration(chains, **given)
        return ReloadingServerContext(self.lab.implementation, configuration)

    def errors(self, server: Any, client: SigningChain | None = None, **given: Any) -> Any:
        """What both sides find of a connection."""
        context = self.lab.client(certificate_chain=client, sessions=None, **given)
        return self.lab.settle(self.lab.pair(context, server))

    def accepts(self, server: Any, client: SigningChain) -> bool:
        return self.errors(server, client).server is None


@pytest.fixture
def scene(lab: Any, tmp_path: Path) -> Scene:
    return Scene(lab, tmp_path)


def store_of(scene: Scene, field: str) -> TrustStore:
    file = Certificate.from_file(scene.file)
    if field == "path":
        return TrustStore.from_file(scene.file)
    return TrustStore.system(extra=[file]) if field == "extra" else TrustStore.pinned([file])


@needs("client authentication", "pins", "system trust")
@pytest.mark.parametrize("field", ["path", "extra", "pins"])
def test_clients_are_judged_by_what_a_trust_stores_file_holds_now(
    scene: Scene, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system.pem"
    system.write_bytes(CertificateAuthority().certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    before, after = (
        (certificate_pem(scene.old_client), certificate_pem(scene.new_client))
        if field == "pins"
        else (scene.old.certificate_pem, scene.new.certificate_pem)
    )
    scene.file.write_bytes(before)
    server = scene.serve(trust_store=store_of(scene, field))
    assert scene.accepts(server, scene.old_client)
    assert not scene.accepts(server, scene.new_client)
    assert server.reload() is False
    scene.file.write_bytes(after)
    assert server.reload() is True
    assert scene.accepts(server, scene.new_client)
    assert not scene.accepts(server, scene.old_client)
    assert server.reload() is False


def revocation(scene: Scene, *revoked: SigningChain) -> bytes:
    return pem("X509 CRL", scene.old.revocation_list(*revoked).buffer or b"")


@needs("client authentication", "CRLs", "resumption")
def test_a_client_that_a_new_list_names_is_refused_also_when_it_resumes(
    scene: Scene, version: TLSVersion
) -> None:
    scene.file.write_bytes(revocation(scene))
    store = scene.old.trust_store(crls=[RevocationList.from_file(scene.file)])
    server = scene.serve(trust_store=store)
    client = scene.lab.client(version=version, certificate_chain=scene.old_client)
    for resumed in (False, True):
        pair = scene.lab.connect(client, server)
        assert pair.server.info.resumed is resumed
        with pytest.raises(WantReadError):
            pair.client.read(1)
    scene.file.write_bytes(revocation(scene, scene.old_client))
    assert server.reload() is True
    outcome = scene.lab.settle(scene.lab.pair(client, server))
    assert outcome.server.reason is VerificationFailure.REVOKED
    assert str(scene.file) not in repr(outcome.server.chain)


def test_an_identity_in_one_file_is_read_again(scene: Scene) -> None:
    one, two = scene.lab.ca.issue(scene.lab.host), scene.lab.ca.issue(scene.lab.host)
    scene.file.write_bytes(identity_pem(one))
    server = scene.serve(SigningChain((Certificate.from_file(scene.file), None)))
    scene.file.write_bytes(identity_pem(two))
    assert server.reload() is True
    assert scene.lab.connect(server=server).client.getpeercert() == two.leaf[0].buffer


def test_intermediate_certificates_are_read_again(scene: Scene) -> None:
    between = scene.lab.ca.intermediate()
    issued = between.issue(scene.lab.host)
    scene.file.write_bytes(scene.new.certificate_pem)
    server = scene.serve(SigningChain(issued.leaf, [Certificate.from_file(scene.file)]))
    assert scene.errors(server).client.reason is VerificationFailure.UNKNOWN_ISSUER
    scene.file.write_bytes(between.certificate_pem)
    assert server.reload() is True
    assert scene.errors(server).client is None


@needs("stapling", "staple verification")
def test_a_staple_is_read_again(scene: Scene, version: TLSVersion) -> None:
    def server_of(response: OCSPResponse) -> SigningChain:
        return SigningChain(chain.leaf, chain.chain, ocsp_response=response)

    def stapled() -> bytes:
        client = scene.lab.client(version=version, require_staple=True, sessions=None)
        der: bytes = scene.lab.connect(client, server).client.info.staple.der
        return der

    chain, other = scene.lab.chain(), scene.lab.ca.issue("other.example")
    responses = [scene.lab.ca.ocsp_response(chain).buffer for _ in range(2)]
    scene.file.write_bytes(responses[0])
    server = scene.serve(server_of(OCSPResponse.from_file(scene.file)))
    assert stapled() == responses[0]
    assert server.reload() is False
    scene.file.write_bytes(responses[1])
    assert server.reload() is True
    assert stapled() == responses[1]
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    for unusable, why in (
        (responses[0][:100], "truncated"),
        (scene.lab.ca.ocsp_response(other).buffer, "about another certificate"),
        (scene.lab.ca.ocsp_response(chain, next_update=now - hour).buffer, "has expired"),
        (scene.lab.ca.ocsp_response(chain, this_update=now + hour).buffer, "is not valid yet"),
    ):
        scene.file.write_bytes(unusable)
        with pytest.raises(ConfigurationError, match=why) as refused:
            server.reload()
        assert refused.value.field == "certificate_chain"
        assert str(scene.file) in str(refused.value)
        assert stapled() == responses[1]


@needs("client authentication")
def test_a_refusal_names_the_file_of_the_trust_store(scene: Scene) -> None:
    scene.file.write_bytes(scene.old.certificate_pem)
    server = scene.serve(trust_store=TrustStore.from_file(scene.file))
    error = scene.errors(server, scene.new_client).server
    assert str(scene.file) in error.trust_source


@needs("client authentication", "CRLs")
def test_each_file_is_named_if_it_cannot_be_used_and_the_last_good_context_stays(
    scene: Scene, tmp_path: Path
) -> None:
    """One file for each parameter that can name one."""
    between = scene.old.intermediate()
    contents = {
        "leaf": certificate_pem(mine := between.issue(scene.lab.host)),
        "key": identity_pem(mine)[len(certificate_pem(mine)) :],
        "intermediate": between.certificate_pem,
        "authorities": scene.old.certificate_pem,
        "list": revocation(scene),
        "extra": scene.new.certificate_pem,
    }
    paths = {name: tmp_path / f"{name}.pem" for name in contents}
    for name, data in contents.items():
        paths[name].write_bytes(data)
    server = scene.serve(
        SigningChain(
            (Certificate.from_file(paths["leaf"]), PrivateKey.from_file(paths["key"])),
            [Certificate.from_file(paths["intermediate"])],
        ),
        trust_store=TrustStore(
            path=paths["authorities"],
            extra=[Certificate.from_file(paths["extra"])],
            crls=[RevocationList.from_file(paths["list"])],
        ),
    )
    current = server.current
    for name, path in paths.items():
        path.unlink()
        with pytest.raises(ConfigurationError, match=str(path)) as missing:
            server.reload()
        of_trust = name in ("authorities", "list", "extra")
        assert missing.value.field == ("trust_store" if of_trust else "certificate_chain")
        path.write_bytes(contents[name][: len(contents[name]) // 2])
        with pytest.raises(ConfigurationError, match=str(path)):
            server.reload()
        path.write_bytes(contents[name])
    assert server.reload() is False
    assert server.current is current


@needs("client authentication")
def test_a_new_identity_needs_no_other_file(scene: Scene) -> None:
    scene.file.write_bytes(scene.old.certificate_pem)
    server = scene.serve(trust_store=TrustStore.from_file(scene.file))
    scene.file.unlink()
    two = scene.lab.ca.issue(scene.lab.host)
    server.replace([two])
    pair = scene.lab.connect(scene.lab.client(certificate_chain=scene.old_client), server)
    assert pair.client.getpeercert() == two.leaf[0].buffer
    with pytest.raises(ConfigurationError, match=str(scene.file)):
        server.reload()


@needs("client authentication", "system trust")
def test_what_was_read_is_used_by_other_contexts_and_can_be_copied(scene: Scene) -> None:
    scene.file.write_bytes(identity_pem(one := scene.lab.ca.issue(scene.lab.host)))
    store = TrustStore.system(extra=[Certificate.from_file(scene.file)])
    server = scene.serve(SigningChain((Certificate.from_file(scene.file), None)), trust_store=store)
    known = server.configuration
    scene.file.unlink()
    for again in (known, copy.deepcopy(known), pickle.loads(pickle.dumps(known))):
        assert again == known
        assert again.certificate_chain[0].leaf[0].path == str(scene.file)
        context = scene.lab.implementation.server_context(again)
        client = scene.lab.client(certificate_chain=one)
        assert scene.lab.connect(client, context).client.getpeercert() == one.leaf[0].buffer


@needs("client authentication", "CRLs")
def test_files_of_the_trust_store_are_watched(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("watchfiles", reason="watching takes the extra polytls[reload]")
    scene.file.write_bytes(revocation(scene))
    store = scene.old.trust_store(crls=[RevocationList.from_file(scene.file)])
    server = scene.serve(trust_store=store)
    with caplog.at_level(logging.INFO, "polytls.reload"), server.watch():
        scene.file.write_bytes(revocation(scene, scene.old_client))
        until(lambda: not scene.accepts(server, scene.old_client))
        scene.file.write_bytes(b"-----BEGIN X509 CRL-----\n")
        until(lambda: str(scene.file) in caplog.text)
    assert "were reloaded" in caplog.text
    assert not scene.accepts(server, scene.old_client)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "the change was not seen"
        time.sleep(0.05)
