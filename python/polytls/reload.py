"""A server whose files can change while it runs: certificates, OCSP responses, CAs and CRLs.

Contexts are immutable. `ReloadingServerContext` wraps one, of any implementation, and replaces it.
New connections use the new context; open connections keep theirs. An unusable file (half-written,
with a key for another certificate, with an expired certificate, or with an OCSP response that is
for another certificate or has expired) never replaces a working configuration: the last good
context stays.

Files are read once for each change, and exactly the contents that were read are used: contents
decide whether anything is new, not paths.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .arguments import DEFAULT, instance_of, instances_of, not_copied, seconds_of
from .certificates import contents_of, leaf_validity, staple_validity
from .configuration import TLSServerConfiguration, with_sources
from .errors import ConfigurationError, refusal
from .handles import engine_of
from .identity import SigningChain, Source, map_sources
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

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from .interfaces import ByteStream
    from .streams import StreamSocket

__all__ = ["ReloadingServerContext", "Watch"]

_LOG: Final = logging.getLogger(__name__)


class ReloadingServerContext:
    """A server context whose files can be read again while it is used; see the module.

    `implementation`: creates the contexts.
    `configuration`: as for any server context. If the implementation supports ticket keys and none
    are given, random ones are created here, so that sessions survive a change of certificates (not
    with `ssl`, which does not support them, and not with `early_data`, whose sessions end with
    their context).

    Listeners are those of `polytls.streams`. Threads can share it.

    Raises what the implementation's server context raises.
    """

    __slots__ = ("__weakref__", "_current", "_engine", "_implementation", "_named", "_replacing")

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
        #: The configuration, with files by their paths.
        self._named = configuration
        self._current: ServerContext = self._implementation.server_context(
            self._checked(with_sources(configuration, self._read))
        )
        engine = engine_of(self._current)
        #: The engine for the connections of listeners; None if the implementation is not a native
        #: one.
        self._engine = None if engine is None else engine.replaceable()

    # --- the interface of a server context ---

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The current configuration; sources that are files have the contents that were read."""
        return self._current.configuration

    @property
    def current(self) -> ServerContext:
        """The context for new connections."""
        return self._current

    @property
    def handshake_may_block(self) -> bool:
        """Whether a step of a handshake may block, as the current context says."""
        current = self._current
        return isinstance(current, SupportsHandshakeMayBlock) and current.handshake_may_block

    def create_buffer(self) -> TLSBuffer:
        """Return one side of a connection in memory, with the current certificates."""
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
        accept_truncated_end: bool = False,
    ) -> StreamSocket:
        """Bind and listen; each connection uses the certificates that are current when it starts.

        The options are those of every server context (docs/sockets.md).

        Raises OSError like `socket.bind`, and ValueError for invalid options.
        """
        # Takes milliseconds to import; buffers do not need it.
        from .streams import listen

        return listen(
            resolve(address, passive=True),
            self,
            self.create_buffer,
            implementation=self._implementation.name or "",
            timeout=seconds_of(DEFAULT),
            engine=self._engine,
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            do_handshake_on_accept=do_handshake_on_accept,
            handshake_timeout=handshake_timeout,
            handshake_limit=handshake_limit,
            accept_truncated_end=accept_truncated_end,
        )

    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        accept_truncated_end: bool = False,
    ) -> TLSSocket:
        """Start TLS on an existing connection, with the current certificates.

        Raises what `SupportsServerWrapSocket` does, and ConfigurationError if the library does not
        support it.
        """
        current = self._current
        if not isinstance(current, SupportsServerWrapSocket):
            raise ConfigurationError("this implementation does not support wrap_socket")
        return current.wrap_socket(
            sock,
            leftover=leftover,
            do_handshake_on_connect=do_handshake_on_connect,
            accept_truncated_end=accept_truncated_end,
        )

    def __reduce__(self) -> NoReturn:
        raise not_copied(self)

    # --- replacing the context ---

    def replace(
        self,
        chains: Sequence[SigningChain] | None = None,
        *,
        ticket_keys: TicketKeys | None = None,
    ) -> None:
        """Replace the signing chains, the ticket keys, or both, for new connections.

        When it returns, new connections use them, those of listeners included. Everything else
        stays as it was configured and read. `TicketKeys.from_secret` tells in which steps a fleet
        replaces its secret.

        Raises TypeError if neither is given. Raises ConfigurationError for unusable chains (those
        that cannot be read or parsed, keys for other certificates, leaves and OCSP responses that
        have expired or are not valid yet), and for ticket keys if the implementation or the
        configuration does not support them. The current ones then stay.
        """
        if chains is None and ticket_keys is None:
            raise TypeError("replace() needs chains, ticket_keys, or both")
        named: dict[str, Any] = {}
        if chains is not None:
            named["certificate_chain"] = instances_of("chains", chains, SigningChain)
        if ticket_keys is not None:
            named["ticket_keys"] = instance_of("ticket_keys", ticket_keys, TicketKeys)
        with self._replacing:
            read = dict(named)
            if chains is not None:
                # Only the files of the chains are read, so a fault in another file does not stop
                # new certificates.
                field = "certificate_chain"
                read[field] = map_sources(named[field], partial(self._read, field))
            self._use(self._current.configuration.replace(**read))
            self._named = self._named.replace(**named)

    def reload(self) -> bool:
        """Read all files in the configuration again; return whether anything has changed.

        These are the files of the chains, with their OCSP responses, and of the trust store: CAs,
        CRLs, pins. The system's
        trust store is read again if any of these files has changed.

        Raises ConfigurationError for unusable files, like `replace`; the current context then
        stays.
        """
        with self._replacing:
            return self._use(with_sources(self._named, self._read))

    def watch(self, paths: Iterable[str | os.PathLike[str]] | None = None) -> Watch:
        """Reload whenever the files change, until the returned `Watch` is stopped.

        `paths`: watch these files instead, if the others change whenever these do. Their
        directories are watched, so files can be overwritten, renamed into place, or reached through
        symbolic links that change, as in Kubernetes. Unusable files are logged (logger
        "polytls.reload"), and the last good context stays.

        Requires the package watchfiles: `pip install polytls[reload]`.

        Raises ImportError without it, and ValueError if there is no file to watch.
        """
        return Watch(self, self._paths() if paths is None else map(Path, paths))

    def _paths(self) -> list[Path]:
        paths: list[Path] = []

        def note(_: str, source: Source) -> Source:
            if source.path is not None:
                paths.append(Path(source.path))
            return source

        with_sources(self._named, note)
        return paths

    def _read(self, field: str, source: Source) -> Source:
        """The source, with the current contents if it is a file."""
        if source.path is None:
            return source
        contents = contents_of(source.path, field, self._implementation.name or "")
        return source.with_contents(contents)

    def _checked(self, configuration: TLSServerConfiguration) -> TLSServerConfiguration:
        """The same; ConfigurationError for a leaf or an OCSP response that is not valid now."""
        for chain in configuration.certificate_chain or ():
            _check_validity(chain, self._implementation.name or "")
        return configuration

    def _use(self, configuration: TLSServerConfiguration) -> bool:
        """Use what was read for new connections, if it has changed; return whether it has."""
        if self._checked(configuration) == self._current.configuration:
            return False
        current = self._implementation.server_context(configuration)
        # Each in one step: a connection uses either the old or the new one.
        self._current = current
        engine = engine_of(current)
        if self._engine is not None and engine is not None:
            self._engine.replace(engine)
        return True


class Watch:
    """Watches files for a `ReloadingServerContext`, in its own thread, until it is stopped."""

    def __init__(self, context: ReloadingServerContext, paths: Iterable[Path]) -> None:
        try:
            import watchfiles
        except ImportError as error:
            raise ImportError(
                "watch() needs the package watchfiles: pip install polytls[reload]"
            ) from error
        folders = {folder for path in paths for folder in (path.parent, path.resolve().parent)}
        if not folders:
            raise ValueError(
                "paths: there is no file to watch; the configuration does not use files"
            )
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
            # Reload even if no change was reported: this finds a file that was replaced while its
            # directory was not watched.
            try:
                if self._context.reload():
                    _LOG.info("the server's files were reloaded")
                failed = ""
            except ConfigurationError as error:
                if str(error) != failed:
                    _LOG.error("keeping the previously loaded files: %s", error)
                failed = str(error)

    def stop(self) -> None:
        """Stop watching; the context stays as it is. A second call does nothing."""
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


#: Changes are collected until there are none for `_STEP`, or for `_SETTLED`, in milliseconds: a
#: certificate and its key are rarely written together.
_STEP: Final = 50
_SETTLED: Final = 500

#: How often files are read even if no change was reported, in milliseconds.
_LOOKS_UP: Final = 1000


def _check_validity(chain: SigningChain, implementation: str) -> None:
    """Refuse a leaf or an OCSP response that is not valid now."""

    def wrong(message: str) -> ConfigurationError:
        return refusal(implementation, "certificate_chain", message)

    certificate, response = chain.leaf[0], chain.ocsp_response
    if certificate.buffer is None:
        return
    where = f"the certificate {certificate.path or 'from a buffer'}"
    try:
        not_before, not_after = leaf_validity(certificate.buffer)
    except ValueError as error:
        raise wrong(f"{where}: {error}") from None
    now = time.time()
    if not not_before <= now <= not_after:
        raise wrong(f"{where} {'is not valid yet' if now < not_before else 'has expired'}")
    if response is None or response.buffer is None:
        return
    where = f"the OCSP response {response.path or 'from a buffer'}"
    try:
        first, last = staple_validity(response.buffer, certificate.buffer)
    except ValueError as error:
        raise wrong(f"{where} is {error}") from None
    if not first <= now <= last:
        raise wrong(f"{where} {'is not valid yet' if now < first else 'has expired'}")
