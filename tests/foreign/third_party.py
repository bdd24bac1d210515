"""An implementation of somebody else's, with buffers in Python and no sockets of its own.

They are around rustls's, as `tests/faults/faulty.py` has them. With this folder and that one on the
path the kit takes it as `--polytls-implementation third_party:IMPLEMENTATION`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import faulty

from polytls.arguments import DEFAULT, seconds_of
from polytls.names import resolve, verified_name
from polytls.streams import connect, listen, wrap


class Buffer(faulty.Buffer):
    """With all that rustls's has."""

    def update_keys(self) -> None:
        self.inner.update_keys()


class Client(faulty.Client):
    def connect(
        self,
        address: Any,
        *,
        server_hostname: str | None = None,
        timeout: Any = DEFAULT,
        session: Any = None,
        accept_truncated_end: bool = False,
    ) -> Any:
        name = address[0] if server_hostname is None else server_hostname
        if name is None:
            raise ValueError("server_hostname is required: the name to verify")
        make = partial(self.create_buffer, verified_name(name), session=session)
        return connect(
            resolve(address),
            self,
            make,
            seconds_of(timeout),
            accept_truncated_end=accept_truncated_end,
        )

    def wrap_socket(
        self, sock: Any, server_hostname: str, *, session: Any = None, **options: Any
    ) -> Any:
        return wrap(sock, self.create_buffer(server_hostname, session=session), **options)


class Server(faulty.Server):
    def connect(
        self,
        address: Any,
        *,
        backlog: int = 128,
        reuse_port: bool = False,
        dual_stack: bool = False,
        do_handshake_on_accept: bool = True,
        handshake_timeout: float | None = 10.0,
        handshake_limit: int = 128,
        accept_truncated_end: bool = False,
    ) -> Any:
        return listen(
            resolve(address, passive=True),
            self,
            self.create_buffer,
            implementation="rustls",
            timeout=seconds_of(DEFAULT),
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            do_handshake_on_accept=do_handshake_on_accept,
            handshake_timeout=handshake_timeout,
            handshake_limit=handshake_limit,
            accept_truncated_end=accept_truncated_end,
        )

    def wrap_socket(self, sock: Any, **options: Any) -> Any:
        return wrap(sock, self.create_buffer(), **options)


IMPLEMENTATION: Final = faulty.Faulty(
    "has no fault", "", client=Client, server=Server, buffer=Buffer
)
