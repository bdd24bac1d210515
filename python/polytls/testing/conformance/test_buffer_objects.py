"""Buffers as Python objects: identity, lifetime, and two threads at once."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from typing import Any

import pytest

from polytls import SupportsInfo, SupportsPending, TLSBuffer, TLSVersion
from polytls.testing import Pair
from polytls.testing.conformance import two_threads
from polytls.testing.conformance.target import Target

DATA = b"the quick brown fox jumps over the lazy dog"


def test_a_buffer_is_what_the_interface_says(lab: Any) -> None:
    client, server = lab.client(), lab.server()
    for context, buffer in (
        (client, client.create_buffer(lab.host)),
        (server, server.create_buffer()),
    ):
        assert buffer.context is context
        assert isinstance(buffer, TLSBuffer)
        assert isinstance(buffer, SupportsInfo)
        assert isinstance(buffer, SupportsPending)
        with pytest.raises(TypeError):
            type(buffer)()
        for name in ("context", "negotiated_tls_version", "info"):
            with pytest.raises(AttributeError):
                setattr(buffer, name, None)


def test_a_repr_is_short_and_tells_no_data(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version))
    seen = [repr(pair.client)]
    pair.handshake()
    pair.server.write(DATA)
    pair.transfer()
    pair.client.read(3)
    seen.append(repr(pair.client))
    pair.client.process_incoming(b"\0" * 100)
    with pytest.raises(OSError, match="peer"):
        lab.drain(pair.client)
    seen.append(repr(pair.client))
    assert len(set(seen)) == 3, "its state is told"
    for text in seen:
        assert lab.implementation.name in text
        assert len(text) < 100
        assert "fox" not in text


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_connection_cannot_be_pickled_or_copied(connected: Pair, how: Any) -> None:
    for side in (connected.client, connected.server):
        with pytest.raises(TypeError, match=r"pickle|copied"):
            how(side)


def test_contexts_live_as_long_as_their_buffers(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    watched = [weakref.ref(client), weakref.ref(server)]
    pair = lab.pair(client, server)
    del client, server
    gc.collect()
    pair.handshake()
    assert pair.send(pair.client, DATA) == DATA
    assert [pair.client.context, pair.server.context] == [watch() for watch in watched]
    assert None not in [watch() for watch in watched]
    del pair
    gc.collect()
    assert [watch() for watch in watched] == [None, None]


@pytest.mark.parametrize("case", ["echo", "refused and written", "read and asked"])
def test_threads_may_share_a_buffer(target: Target, version: TLSVersion, case: str) -> None:
    # In a process of its own: a deadlock that holds the interpreter's lock stops every thread.
    done = subprocess.run(
        [sys.executable, "-m", two_threads.__name__, target.name, version.name, case],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
