"""Greenlets: calls that are interleaved on one thread, each in the middle of its callback."""

from __future__ import annotations

from typing import Any

import greenlet
import pytest

from polytls import PresentedPeer, TLSVersion


@pytest.mark.parametrize("side", ["client", "server"])
def test_connections_whose_verifiers_interleave_know_their_own_peers(
    lab: Any, version: TLSVersion, side: str
) -> None:
    names = ("one.example", "two.example", "three.example")
    presented: dict[str, list[str]] = {name: [] for name in names}
    running: list[Any] = []

    def verify(peer: PresentedPeer) -> None:
        assert peer.certificate is not None
        # To the next, which comes to its own verifier; they come back in the order they began.
        here = running.index(greenlet.getcurrent())
        following = running[(here + 1) % len(running)]
        if not following.dead:
            following.switch()
        presented[names[here]].append(peer.certificate.dns_names[0])

    given = {"peer_verifier": verify}
    pairs = []
    for name in names:
        mine = lab.client(
            version=version,
            certificate_chain=lab.chain(name),
            **(given if side == "client" else {}),
        )
        server = lab.server(
            lab.chain(name),
            trust_store=lab.ca.trust_store(),
            **(given if side == "server" else {}),
        )
        pairs.append(lab.pair(mine, server, name))
    running += [greenlet.greenlet(pair.handshake) for pair in pairs]
    for each in running:
        while not each.dead:
            each.switch()
    for name, pair in zip(names, pairs, strict=True):
        assert presented[name] == [name]
        assert pair.server.info.server_name == name
        assert pair.client.info.server_name == name
        for one in (pair.client, pair.server):
            assert pair.send(one, name.encode()) == name.encode()
        assert pair.server.info.peer.dns_names == (name,)
