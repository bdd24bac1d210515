"""Both ends of connections under anyio, over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketAttribute

from polytls.anyio import TLSListener, TLSStream
from polytls.testing.conformance.lab import Lab


@asynccontextmanager
async def listening(lab: Lab, handler: Any, *, tls: Any = None, **given: Any) -> AsyncIterator[int]:
    """A listener on loopback; gives its port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    secured = TLSListener(listener, tls or lab.server(), **given)
    async with secured, anyio.create_task_group() as tasks:
        tasks.start_soon(secured.serve, handler)
        yield secured.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def dialled(lab: Lab, port: int, *, tls: Any = None, **given: Any) -> TLSStream:
    """A client's end, which trusts the server."""
    given.setdefault("server_hostname", lab.host)
    below = await anyio.connect_tcp("127.0.0.1", port)
    return await TLSStream.wrap(below, tls or lab.client(), **given)
