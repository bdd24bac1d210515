"""Starts TLS on sockets that a standard module has connected or accepted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from ..interfaces import ClientContext, ServerContext
from ..sessions import TLSSession

__all__ = ["Upgrade", "accepted", "begin", "caused", "unread"]


def begin(
    sock: Any,
    host: str,
    context: ClientContext,
    *,
    leftover: bytes = b"",
    session: TLSSession | None = None,
    accept_truncated_end: bool = False,
) -> Any:
    """Do a client's handshake on `sock`, within its timeout; return the TLS socket.

    `host`: the name to verify; an IPv6 address can be in brackets. Otherwise like
    `SupportsClientWrapSocket.wrap_socket`. After any error `sock` is closed.
    """
    name = host.removeprefix("[").removesuffix("]")
    try:
        if _wraps(context):
            wrapping: Any = context
            # Contexts of other implementations may not have this argument.
            named: dict[str, Any] = {} if session is None else {"session": session}
            return wrapping.wrap_socket(
                sock, name, leftover=leftover, accept_truncated_end=accept_truncated_end, **named
            )
        from ..streams import wrap

        return wrap(
            sock,
            context.create_buffer(name),
            leftover=leftover,
            accept_truncated_end=accept_truncated_end,
        )
    except BaseException:
        # After invalid arguments, it was not taken over.
        with suppress(OSError):
            sock.close()
        raise


def accepted(sock: Any, context: ServerContext) -> Any:
    """Return the server side on `sock`, whose handshake still has to be done.

    After an error `sock` is closed.
    """
    try:
        if _wraps(context):
            wrapping: Any = context
            return wrapping.wrap_socket(sock, do_handshake_on_connect=False)
        from ..streams import wrap

        return wrap(sock, context.create_buffer(), do_handshake_on_connect=False)
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise


def _wraps(context: object) -> bool:
    """Whether a context also makes sockets of sockets: `isinstance` with the protocols that say so
    takes 14 us on Python 3.11."""
    return hasattr(context, "wrap_socket")


class Upgrade:
    """Replaces the `ssl` context that a standard module's STARTTLS passes its socket to.

    `file`: what responses are read from. Data that it has read ahead arrived before TLS, and is
    refused (PeerMisbehaved), and so is what `received` returns.
    `host`: the name to verify instead of the module's.
    `lost`: called when the handshake fails; the socket and `file` are then closed.
    """

    def __init__(
        self,
        context: ClientContext,
        file: Callable[[], IO[Any]],
        lost: Callable[[], None],
        host: str | None = None,
        *,
        received: Callable[[], bytes] = bytes,
    ) -> None:
        self._context = context
        self._file = file
        self._lost = lost
        self._host = host
        self._received = received

    def wrap_socket(self, sock: Any, server_hostname: str) -> Any:
        """Do the handshake; called when the positive response has been read from `file`."""
        file = self._file()
        host = server_hostname if self._host is None else self._host
        try:
            try:
                leftover = self._received() or unread(sock, file)
            except BaseException:
                sock.close()
                raise
            finally:
                file.close()
            return begin(sock, host, self._context, leftover=leftover)
        except BaseException:
            self._lost()
            raise


def unread(sock: Any, file: IO[Any]) -> bytes:
    """Return some of what `file` has received from `sock` and not returned; `b""` if there is none.

    It does not wait, but may receive what has arrived in the meantime.
    """
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        # A file without data treats that as the end. Text has already been decoded.
        if isinstance(file, io.TextIOBase):
            return file.readline(1).encode("utf-8", "surrogatepass")
        found: bytes = file.peek(1)  # type: ignore[attr-defined]  # a buffered reader
        return found[:8]
    finally:
        sock.settimeout(timeout)


@contextmanager
def caused() -> Iterator[None]:
    """Make the socket's error the cause of a standard module's exceptions.

    They are raised while that error, or one that it caused, is handled: it is in their context.
    """
    try:
        yield
    except Exception as error:
        behind = error.__context__
        while not (behind is None or isinstance(behind, OSError)):
            behind = behind.__cause__ or behind.__context__
        if error.__cause__ is None and behind is not None:
            raise error from behind
        raise
