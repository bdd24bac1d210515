"""A server whose identity changes while it runs: new certificates without a restart.

Contexts are immutable. `ReloadingServerContext` stands before one, of any implementation, and puts
another in its place; connections that begin from then on have the new identity, those that are open
keep theirs. What cannot be used (half-written files, a key of another certificate, a certificate
that has expired) never takes the place of what can: the last good identity stays.

Files are read once for each change, and what was read is what is served.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .arguments import DEFAULT, seconds_of
from .capabilities import refusal
from .certificates import leaf_validity
from .configuration import TLSServerConfiguration
from .errors import ConfigurationError
from .identity import Certificate, PrivateKey, SigningChain
from .interfaces import (
    ServerContext,
    SupportsHandshakeMayBlock,
    SupportsServerWrapSocket,
    TLSBuffer,
    TLSImplementation,
    TLSSocket,
)
from .names import resolve
from .tickets import TicketKeys
from .values import instance_of, items_of

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from .interfaces import ByteStream
    from .streams import StreamListener

__all__ = ["ReloadingServerContext", "Watch"]

_LOG: Final = logging.getLogger(__name__)

_Item = TypeVar("_Item", Certificate, PrivateKey)


class ReloadingServerContext:
    """A server context whose signing chains can be replaced; see the module.

    `implementation`: what makes the contexts. `configuration`: as for any server context; where
    ticket keys can be given and none are, random ones are made here, so that sessions outlive a
    change of identity (not on `ssl`, which cannot be given any, and not with `early_data`, which
    needs sessions that end with their context).

    Listeners are those of `polytls.streams`. May be shared by threads.

    Raises what the implementation's server context does.
    """

    __slots__ = ("__weakref__", "_current", "_implementation", "_replacing", "_sources")

    def __init__(
        self,
        implementation: TLSImplementation[Any, ServerContext],
        configuration: TLSServerConfiguration,
    ) -> None:
        self._implementation = instance_of("implementation", implementation, TLSImplementation)
        instance_of("configuration", configuration, TLSServerConfiguration)
        can = implementation.capabilities
        wanted = configuration.sessions and not configuration.early_data
        if can and can.ticket_keys and wanted and not configuration.ticket_keys:
            keys = TicketKeys.from_secret(secrets.token_bytes(32))
            configuration = configuration.replace(ticket_keys=keys)
        self._replacing = threading.Lock()
        self._sources = configuration.certificate_chain or ()
        self._current: ServerContext = self._implementation.server_context(
            self._read(configuration)
        )

    # --- what a server context does ---

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The current configuration; chains from files stand in it as they were read."""
        return self._current.configuration

    @property
    def current(self) -> ServerContext:
        """The context that new connections begin with."""
        return self._current

    @property
    def handshake_may_block(self) -> bool:
        """Whether a step of a handshake may take long, as the current context says."""
        current = self._current
        return isinstance(current, SupportsHandshakeMayBlock) and current.handshake_may_block

    def create_buffer(self) -> TLSBuffer:
        """Return one side of a connection in memory, with the current identity."""
        return self._current.create_buffer()

    def connect(
        self,
        address: tuple[str | None, int],
        *,
        backlog: int = 128,
        reuse_port: bool = False,
        dual_stack: bool = False,
        do_handshake_on_accept: bool = True,
        handshake_timeout: float | None = 10.0,
        handshake_limit: int = 128,
    ) -> StreamListener:
        """Bind and listen; each connection has the identity that is current when it begins.

        The options are those of every server context (docs/sockets.md).

        Raises OSError as `socket.bind` does, ValueError for options that mean nothing.
        """
        # Costs milliseconds; buffers do without it.
        from .streams import listen

        return listen(
            resolve(address, passive=True),
            self,
            self.create_buffer,
            implementation=self._implementation.name or "",
            timeout=seconds_of(DEFAULT),
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            do_handshake_on_accept=do_handshake_on_accept,
            handshake_timeout=handshake_timeout,
            handshake_limit=handshake_limit,
        )

    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
    ) -> TLSSocket:
        """Begin TLS on a connection that exists, with the current identity.

        Raises what `SupportsServerWrapSocket` does, ConfigurationError if the library cannot.
        """
        current = self._current
        if not isinstance(current, SupportsServerWrapSocket):
            raise ConfigurationError("wrap_socket: the library below cannot")
        return current.wrap_socket(
            sock, leftover=leftover, do_handshake_on_connect=do_handshake_on_connect
        )

    # --- another identity ---

    def replace(self, chains: Sequence[SigningChain]) -> None:
        """Put other signing chains in the place of the current ones, for new connections.

        When it returns, connections that begin have them. Everything else stays as it was
        configured, ticket keys included.

        Raises ConfigurationError for what cannot be served: what cannot be read or parsed, keys of
        other certificates, leaves that have expired or are not valid yet. The current chains then
        stay.
        """
        given = tuple(
            instance_of(f"chains[{index}]", chain, SigningChain)
            for index, chain in enumerate(items_of("chains", chains, "SigningChain"))
        )
        with self._replacing:
            self._replace(given)

    def reload(self) -> bool:
        """Read the files of the chains again; return whether there was anything new.

        Raises what `replace` does.
        """
        with self._replacing:
            return self._replace(self._sources)

    def watch(self, paths: Iterable[str | os.PathLike[str]] | None = None) -> Watch:
        """Reload whenever the files of the chains change, until the `Watch` is stopped.

        `paths`: the files to watch instead, if others change whenever these do. Their folders are
        watched, so that files may be written over, renamed into place, or be reached through
        symbolic links that change, as Kubernetes does it. What cannot be served is logged (logger
        "polytls.reload"), and the last good identity stays.

        Needs the package watchfiles: `pip install polytls[reload]`.

        Raises ImportError without it, ValueError if there is no file to watch.
        """
        return Watch(self, self._paths() if paths is None else map(Path, paths))

    def _paths(self) -> list[Path]:
        items = [item for chain in self._sources for item in (*chain.leaf, *chain.chain)]
        return [Path(item.path) for item in items if item is not None and item.path is not None]

    def _replace(self, chains: tuple[SigningChain, ...]) -> bool:
        before = self._current.configuration
        after = self._read(before.replace(certificate_chain=chains))
        if after != before:
            # One assignment: a connection begins with the one or the other.
            self._current = self._implementation.server_context(after)
        self._sources = chains
        return after != before

    def _read(self, configuration: TLSServerConfiguration) -> TLSServerConfiguration:
        name = self._implementation.name or ""
        chains = [_as_read(chain, name) for chain in configuration.certificate_chain or ()]
        return configuration.replace(certificate_chain=chains)


class Watch:
    """Watches files for a `ReloadingServerContext`, in a thread of its own, until it is stopped."""

    def __init__(self, context: ReloadingServerContext, paths: Iterable[Path]) -> None:
        try:
            import watchfiles
        except ImportError as error:
            raise ImportError(
                "watching needs the package watchfiles: pip install polytls[reload]"
            ) from error
        folders = {folder for path in paths for folder in (path.parent, path.resolve().parent)}
        if not folders:
            raise ValueError("paths: there is no file to watch; the chains come from none")
        self._context = context
        self._stopping = threading.Event()
        self._changes = watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=_SETTLED,
            step=_STEP,
            rust_timeout=_LOOKS_UP,
            yield_on_timeout=True,
            stop_event=self._stopping,
            recursive=False,
            raise_interrupt=False,
        )
        self._thread = threading.Thread(target=self._run, name="polytls reload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        failed = ""
        for _ in self._changes:
            # Whatever has changed, or nothing: a file that was replaced while its folder was not
            # watched is found all the same.
            try:
                if self._context.reload():
                    _LOG.info("the server's identity was reloaded")
                failed = ""
            except ConfigurationError as error:
                if str(error) != failed:
                    _LOG.error("the server's identity stays as it was: %s", error)
                failed = str(error)

    def stop(self) -> None:
        """Stop watching; the identity stays as it is. A second time does nothing."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


#: Changes are gathered until there are none for `_STEP`, or for `_SETTLED`, in milliseconds: a
#: certificate and its key are seldom written at once.
_STEP: Final = 50
_SETTLED: Final = 500

#: How often files are read although nothing was seen to change, in milliseconds.
_LOOKS_UP: Final = 1000


def _as_read(chain: SigningChain, implementation: str) -> SigningChain:
    """The chain with the contents of files in the place of their paths.

    Raises ConfigurationError, also for a leaf that is not valid now.
    """
    certificate, key = chain.leaf
    leaf = _read(certificate, implementation)
    if leaf.buffer is not None:
        try:
            not_before, not_after = leaf_validity(leaf.buffer)
        except ValueError as error:
            raise _refused(implementation, str(error)) from None
        now = time.time()
        if not not_before <= now <= not_after:
            when = "is not valid yet" if now < not_before else "has expired"
            where = certificate.path or "from a buffer"
            raise _refused(implementation, f"the certificate {where} {when}")
    return SigningChain(
        (leaf, None if key is None else _read(key, implementation)),
        [_read(item, implementation) for item in chain.chain],
        ocsp_response=chain.ocsp_response,
    )


def _read(item: _Item, implementation: str) -> _Item:
    if item.path is None:
        return item
    try:
        return type(item).from_buffer(Path(item.path).read_bytes())
    except OSError as error:
        raise _refused(
            implementation, f"cannot read {item.path}: {error.strerror or error}"
        ) from error


def _refused(implementation: str, message: str) -> ConfigurationError:
    return refusal(implementation, "certificate_chain", message)
