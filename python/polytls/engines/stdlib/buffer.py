"""One side of one connection on `ssl`, in memory: an `SSLObject` and the rules that hold for all.

The rules are those of the core's `Connection` (crates/core/src/connection.rs). What `ssl` and
OpenSSL need for it:

- OpenSSL is fed one whole record at a time, when it has none left. So bytes behind close_notify
  are never shown to it, and its own buffer for ciphertext is empty whenever it is called.
- Errors are latched here. After a fatal alert OpenSSL takes the connection for closed, and reads
  give b"" (SSL_get_shutdown(3)).
- `unwrap` is called once. It sends close_notify and then reads, where data is an error
  (APPLICATION_DATA_AFTER_CLOSE_NOTIFY, SSL_shutdown(3)): so what is left of the last record is
  taken out before. With nothing to be read it raises SSLWantReadError; reading goes on as before.
- `ssl` has no callback for a peer's certificate. So while there is a verdict to come, nothing that
  OpenSSL writes leaves without a look at it (`_decide`): what answers a certificate is held back
  until this handshake's has been judged. Which one that is, the handshake's state tells, and never
  the chain that the library shows: with a session set, OpenSSL 3.5 shows the session's before the
  server has said anything.
- The end of the transport is never shown to OpenSSL: what it means is decided here.
- What `ssl` tells of the handshake is read once, when that is done.
"""

from __future__ import annotations

import copy
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from ... import _native
from ...arguments import amount_of, view_of
from ...constants import CipherSuite, NextProtocol, TLSVersion
from ...errors import (
    NotTLSError,
    PeerMisbehaved,
    RaggedEOF,
    TLSError,
    VerificationFailure,
    WantReadError,
    WantWriteError,
)
from ...fork import generation, inherited
from ...info import ConnectionInfo
from ...interfaces import ClientContext, ServerContext
from ...locks import OwnedLock, may_wait_for, owned_lock
from ...sessions import TLSSession
from .credentials import NAME, refuse
from .engine import Session, Side
from .errors import blame
from .facts import facts_of, peer_chain, presented_chain, verified_chain
from .records import (
    MALFORMED,
    MAX_FRAGMENT,
    describe_foreign,
    front,
    is_only_hello,
    last_alert,
    plain_alert,
)
from .sessions import Keeper

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["StdlibBuffer"]

#: Ciphertext is refused while this many bytes wait to be opened.
_INCOMING_LIMIT: Final = 128 * 1024
#: Plaintext is refused while this many bytes of ciphertext wait to be sent.
_OUTGOING_LIMIT: Final = 256 * 1024

#: OpenSSL answers each KeyUpdate, and in TLS 1.2 each wish to renegotiate. While this much waits to
#: be sent, the peer gets no answers, and is done with: it asks for them and takes none.
_ANSWERS_LIMIT: Final = 2 * _OUTGOING_LIMIT

#: Where this much of the incoming bytes is used up, they are moved together.
_USED_UP: Final = 64 * 1024

#: How often a connection looks for a new session. Each look loses the memory of a session, 6 kB or
#: so, before CPython 3.12.8 and 3.13.1 (gh-116810); and a peer can make us look.
_LOOKS: Final = 4

#: A session is kept only if its ticket came in no more bytes than this. With a larger one OpenSSL
#: 3.5, whose ClientHello has a share for ML-KEM too, fails to make the next ClientHello.
_LARGEST_TICKET: Final = 48 * 1024


class StdlibBuffer:
    """One side of a TLS connection, in memory. Made by `create_buffer` of a context."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_closed",
        "_context",
        "_done",
        "_ended",
        "_failure",
        "_generation",
        "_head",
        "_heard",
        "_hidden",
        "_inbound",
        "_info",
        "_looks",
        "_mutex",
        "_outbound",
        "_outgone",
        "_peer_closed",
        "_quiet",
        "_record",
        "_remembered",
        "_rest",
        "_seen_record",
        "_settled",
        "_side",
        "_started",
        "_tls",
        "_torn",
    )

    def __init__(self, context: ClientContext | ServerContext, side: Side) -> None:
        self._context = context
        self._side = side
        self._tls: Session = side.tls
        self._generation = generation()
        self._mutex = owned_lock()
        self._info = ConnectionInfo(implementation=NAME)
        #: Ciphertext from `_head` on waits to be opened.
        self._inbound = bytearray()
        self._head = 0
        #: Ciphertext taken out of OpenSSL, and how much went out before it.
        self._outbound = bytearray()
        self._outgone = 0
        #: Plaintext that was opened and not asked for yet, and whether OpenSSL has more of it.
        self._rest = bytearray()
        self._hidden = False
        #: The record that OpenSSL was fed last.
        self._record: bytearray | None = None
        self._seen_record = False
        #: Whether the peer has sent data: then it has accepted us.
        self._heard = False
        #: How often a new session may still be looked for, and the id of the one remembered last.
        self._looks = _LOOKS
        #: How many bytes of records have come since the last data or session.
        self._quiet = 0
        self._remembered = b""
        #: A client makes its first flight unasked; a server waits for ClientHello.
        self._started = side.server
        self._done = self._ended = self._peer_closed = self._closed = False
        #: The chain that was judged and accepted.
        self._accepted: tuple[bytes, ...] | None = None
        #: Whether what OpenSSL writes may leave as it is: no verdict is to come any more.
        self._settled = side.judge is None
        self._failure: TLSError | None = None
        #: A record is being opened. Left so by an exception that came from outside.
        self._torn = False

    # --- plaintext ---

    def read(self, amt: int, buffer: Buffer | None = None) -> bytes | int:
        """Read up to `amt` bytes of plaintext: as bytes, or into `buffer`, giving the count."""
        amount = amount_of("amt", amt)
        if buffer is None:
            with self._lock:
                return self._read(amount)
        with view_of("buffer", buffer, writable=True) as view, self._lock:
            data = self._read(min(amount, len(view)))
            if data:
                view[: len(data)] = data
            return len(data)

    def write(self, buf: Buffer) -> int:
        """Seal `buf`, or as much of it as the output limit allows, and give the count."""
        with view_of("buf", buf) as view, self._lock:
            self._handshake()
            if self._closed:
                raise _shut_down()
            # In TLS 1.3 a server refuses our certificate after the handshake has ended here: what
            # came since then may be its alert.
            while not self._heard:
                data = self._open(MAX_FRAGMENT)
                if not data:
                    break
                self._rest += data
            if self._closed:
                raise _shut_down()
            room = _OUTGOING_LIMIT - self._waiting()
            if room <= 0:
                raise _want_write()
            taken = min(len(view), max(room, MAX_FRAGMENT))
            if not taken:
                return 0
            try:
                return self._tls.write(view[:taken])
            except ssl.SSLError as error:
                self._fail(blame(error))

    def pending(self) -> int:
        """Return how many bytes of plaintext can be read without anything from the peer."""
        with self._lock:
            return len(self._rest) + (self._tls.pending() if self._hidden else 0)

    # --- the handshake, and the end ---

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        with self._lock:
            self._handshake()

    def shutdown(self) -> None:
        """Send close_notify, once, and look for the peer's."""
        with self._lock:
            self._send_close_notify()
            while not self._peer_closed and len(self._rest) < _INCOMING_LIMIT:
                data = self._open(MAX_FRAGMENT)
                if data is None:
                    if self._rest and self._ended:
                        break
                    raise self._starved()
                self._rest += data
            if self._rest:
                raise TLSError(
                    "there is data that has not been read: read it, then call shutdown again"
                )

    # --- ciphertext ---

    def process_incoming(self, data_from_network: Buffer) -> None:
        """Take in ciphertext; `b""` is the end of the transport."""
        with view_of("data_from_network", data_from_network) as view, self._lock:
            if not len(view):
                self._ended = True
            elif self._ended:
                raise ValueError(
                    "data_from_network: data after the end of the transport was declared"
                )
            elif len(self._inbound) - self._head >= _INCOMING_LIMIT:
                raise _want_read()
            else:
                self._inbound += view

    def incoming_bytes_buffered(self) -> int:
        """Return how many bytes of ciphertext wait to be opened."""
        with self._lock:
            return len(self._inbound) - self._head

    @property
    def unprocessed(self) -> bytes:
        """Ciphertext that waits to be opened, and all that follows close_notify.

        For the driver (`driver.KeepsIncoming`).
        """
        with self._lock:
            return bytes(self._inbound[self._head :])

    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        """Return up to so many bytes of ciphertext to be sent."""
        amount = amount_of("amount_bytes_for_network", amount_bytes_for_network)
        with self._lock:
            self._gather()
            data = bytes(self._outbound[:amount])
            self._forget(self._outgone + len(data))
            return data

    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes of ciphertext wait to be sent."""
        with self._lock:
            return self._waiting()

    @property
    def outgoing_end(self) -> int:
        """How many bytes of ciphertext there were from the beginning (`driver.CountsOutgoing`)."""
        with self._lock:
            return self._outgone + self._waiting()

    def outgoing_from(self, position: int, /) -> bytes:
        """Return all ciphertext from `position` on, and forget what comes before it."""
        with self._lock:
            self._gather()
            self._forget(position)
            return bytes(self._outbound)

    # --- what was agreed on ---

    @property
    def context(self) -> ClientContext | ServerContext:
        """The context this buffer was made by."""
        return self._context

    @property
    def info(self) -> ConnectionInfo:
        """All that is known of the connection."""
        return self._info

    @property
    def session(self) -> TLSSession | None:
        """The session of this connection, for others to resume."""
        with self._lock:
            keeper = self._side.keeper
            if keeper is None or not self._done or self._failure is not None:
                return None
            if not keeper.has_any:
                self._look(keeper)
            lineage = keeper.lineage(self._info.peer_chain or (), self._side.verdict)
            return TLSSession(self._context, lineage)

    @property
    def negotiated_tls_version(self) -> TLSVersion | None:
        """The version agreed on."""
        return self._info.version

    def cipher(self) -> CipherSuite | int | None:
        """Return the cipher suite agreed on."""
        return self._info.cipher

    def negotiated_protocol(self) -> NextProtocol | bytes | None:
        """Return the application protocol agreed on."""
        return self._info.alpn

    def getpeercert(self) -> bytes | None:
        """Return the peer's certificate as DER, None before the handshake or without one."""
        chain = self._info.peer_chain
        return chain[0] if chain else None

    def channel_binding(self, kind: str) -> bytes:
        """Return "tls-server-end-point"; see `SupportsChannelBinding`."""
        if kind == "tls-exporter":
            raise refuse("channel_binding", "the ssl module exports no keying material")
        if kind == "tls-unique":
            raise TLSError(
                "tls-unique does not exist in TLS 1.3 (RFC 9266 section 3) and is not unique in "
                "TLS 1.2 without extended master secret; use tls-server-end-point"
            )
        if kind != "tls-server-end-point":
            raise ValueError(
                f'kind: no channel binding {kind!r}; there is "tls-server-end-point" here'
            )
        with self._lock:
            self._check()
            if not self._done:
                raise TLSError("the handshake is not complete: there is nothing to bind to yet")
            leaf = self._side.own_leaf() if self._side.server else self.getpeercert()
        if leaf is None:
            raise refuse(
                "channel_binding",
                "with several chains for one name, the ssl module does not tell which was chosen",
            )
        return _native.server_end_point(leaf, NAME)

    @property
    def _lock(self) -> OwnedLock:
        if self._generation != generation():
            raise inherited("connection", "make a new one in this process")
        return may_wait_for(self._mutex)

    # --- inside; the lock is held ---

    def _read(self, amount: int) -> bytes:
        if not amount:
            return b""
        pieces: list[bytes] = []
        filled = 0
        if self._rest:
            pieces.append(bytes(self._rest[:amount]))
            filled = len(pieces[0])
            del self._rest[:filled]
        elif not self._hidden:
            self._handshake()
        while filled < amount and not (pieces and self._failure):
            try:
                piece = self._open(amount - filled)
            except TLSError:
                if pieces:
                    break  # It is latched: the next call gives it.
                raise
            if piece is None:
                if not pieces:
                    raise self._starved()
                break
            if not piece:
                break
            pieces.append(piece)
            filled += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _open(self, amount: int) -> bytes | None:
        """At most so much plaintext of one record; None if there is none, b"" at the end."""
        if self._peer_closed:
            return b""
        self._check()
        while self._hidden or self._feed():
            self._torn = True
            try:
                data = self._tls.read(min(amount, MAX_FRAGMENT))
            except ssl.SSLWantReadError:
                self._hidden = self._torn = False
                self._quiet += len(self._record or b"")
                self._remember()
                continue
            except ssl.SSLZeroReturnError:  # Once we have closed, too; b"" otherwise.
                data = b""
            except ssl.SSLError as error:
                self._blame(error)
            self._torn = False
            if not data:
                self._see_close()
                return b""
            self._hidden = self._tls.pending() > 0
            self._heard = True
            self._quiet = 0
            return data
        return None

    def _handshake(self) -> None:
        self._check()
        while not self._done:
            self._gather()
            if self._waiting() >= _OUTGOING_LIMIT:
                raise _want_write()
            if self._started and not self._feed():
                raise self._starved()
            self._started = self._torn = True
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._decide(done=False)
                self._torn = False
                continue
            except ssl.SSLZeroReturnError:
                # close_notify instead of an answer. OpenSSL goes no further.
                self._fail(_ragged(during_handshake=True))
            except ssl.SSLError as error:
                self._blame(error)
            self._decide(done=True)
            self._torn = False
            self._done = True
            self._info = facts_of(self._side)
            self._side.counters.count("resumed" if self._info.resumed else "full")
            if self._side.keeper is not None and not self._info.resumed:
                self._side.keeper.begin_anew()
            if self._info.version is not TLSVersion.TLSv1_3:
                self._looks = 1
                self._remember()

    def _decide(self, *, done: bool) -> None:
        """Let out what OpenSSL has written, once the certificate that it answers is accepted.

        A client of TLS 1.2 answers a full handshake's certificate before the handshake is done:
        by all that is no ClientHello. Otherwise a certificate is answered by the flight that ends
        the handshake here, or later. By then it is settled whether the session was resumed; then
        the chain is the one that the session was made with.

        An exception that comes from outside is no verdict: it leaves the connection torn.
        """
        if self._settled:
            return
        side = self._side
        written = side.outgoing.read()
        due = None
        resumed = done and bool(self._tls.session_reused)
        if done:
            due = peer_chain(side, resumed)
        elif not side.server and not is_only_hello(written):
            due = presented_chain(self._tls)
        if due is not None and due != self._accepted:
            self._judge(due, resumed)
            self._accepted = due
        self._settled = done
        self._outbound += written

    def _judge(self, presented: tuple[bytes, ...], resumed: bool) -> None:
        """Have the peer judged by what it presented; a client may have presented nothing."""
        side = self._side
        if not presented and side.server:
            return
        assert side.judge is not None  # noqa: S101 - not settled yet, so there is a judge
        try:
            if resumed:
                before = None if side.offered is None else side.offered.verdict
                side.verdict = side.judge.judge_again(presented, before, side.host)
            else:
                path = verified_chain(side.tls)
                side.verdict = side.judge.judge(presented, path, side.host)
        except TLSError as error:
            self._fail(error)
        except Exception:
            raise
        except BaseException as interruption:
            # No verdict (KeyboardInterrupt, say): the peer is refused, and the caller interrupted.
            said = f"peer_verifier refused the certificate: {type(interruption).__name__}"
            reason = VerificationFailure.REFUSED_BY_VERIFIER
            self._failure = side.judge.explain(reason, said, presented, side.host)
            self._failure.__cause__ = interruption
            self._torn = False
            raise

    def _feed(self) -> bool:
        """Show OpenSSL one more record; False if no whole one is there."""
        length = front(self._inbound, self._head)
        if length == MALFORMED:
            self._refuse_record()
        if not length:
            return False
        if self._waiting() > _ANSWERS_LIMIT:
            self._fail(
                PeerMisbehaved(
                    "the peer broke the protocol: it asks for answers, and does not take them"
                )
            )
        self._torn = True
        self._record = record = self._inbound[self._head : self._head + length]
        self._seen_record = True
        self._head += length
        if self._head == len(self._inbound):
            self._inbound.clear()
            self._head = 0
        elif self._head >= _USED_UP:
            del self._inbound[: self._head]
            self._head = 0
        self._side.incoming.write(record)
        return True

    def _refuse_record(self) -> NoReturn:
        data = self._inbound[self._head :]
        if not self._seen_record and (what := describe_foreign(data)):
            self._fail(NotTLSError(what))
        # It puts the alert into the outgoing bytes.
        self._side.incoming.write(data)
        self._started = True
        with suppress(ssl.SSLError):
            if self._done:
                self._tls.read(1)
            else:
                self._tls.do_handshake()
        self._fail(PeerMisbehaved("the peer broke the protocol: a record header that is none"))

    def _waiting(self) -> int:
        return len(self._outbound) + (self._side.outgoing.pending if self._settled else 0)

    def _gather(self) -> None:
        if not self._settled:
            return  # It may answer a certificate that was never judged.
        # `ssl` seals into the MemoryBIO without the interpreter's lock, so ours is needed. A loop
        # takes what a call returns without looking for signals in between, so that nothing is
        # lost, whatever a handler raises.
        for data in map(self._side.outgoing.read, (-1,)):
            self._outbound += data

    def _forget(self, position: int) -> None:
        """Drop ciphertext that comes before; no call, so nothing happens in between."""
        del self._outbound[: position - self._outgone]
        self._outgone = position

    def _see_close(self) -> None:
        self._peer_closed = True
        # TLS 1.2: answer, and write no more (RFC 5246 7.2.1).
        if not self._closed and self._info.version is TLSVersion.TLSv1_2:
            self._send_close_notify()

    def _send_close_notify(self) -> None:
        self._check()
        if not self._done:
            raise TLSError("the handshake is not complete: there is no TLS session to shut down")
        if self._closed:
            return
        while self._hidden:
            self._rest += self._tls.read(MAX_FRAGMENT)
            self._hidden = self._tls.pending() > 0
        self._closed = True
        try:
            self._tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            self._fail(blame(error))

    def _starved(self) -> TLSError:
        """The error where more must come from the peer."""
        if not self._ended:
            return _want_read()
        if self._done:
            return _ragged(during_handshake=False)
        self._failure = _ragged(during_handshake=True)
        return copy.copy(self._failure)

    def _check(self) -> None:
        if self._failure is not None:
            raise _once_more(self._failure)
        if self._torn:
            self._gather()
            self._fail(TLSError("internal error: a signal's handler has raised amid a call"))

    def _fail(self, failure: TLSError) -> NoReturn:
        if not self._settled:
            # There will be no verdict. The peer may know why, and nothing else.
            self._outbound += last_alert(self._side.outgoing.read())
            self._settled = True
        # What is kept leads to no frame: those of the calls that found it lead back here.
        failure.__traceback__ = failure.__context__ = None
        self._failure = failure
        self._torn = False
        raise _once_more(failure)

    def _blame(self, error: ssl.SSLError) -> NoReturn:
        record = self._record
        self._fail(
            blame(
                error,
                alert=None if record is None else plain_alert(record),
                hostname=self._side.host,
                chain=presented_chain(self._tls),
                judge=self._side.judge,
            )
        )

    def _remember(self) -> None:
        """Keep the session for later, if there is a new one (in TLS 1.3 that comes after)."""
        if self._side.keeper is None or not self._done or not self._looks:
            return
        self._looks -= 1
        self._look(self._side.keeper)

    def _look(self, keeper: Keeper) -> None:
        try:
            session = self._tls.session
        except ValueError:
            return  # With a ticket that is too large for OpenSSL to copy (i2d_SSL_SESSION(3)).
        if session is None or session.id == self._remembered or not session.id:
            return
        once = self._info.version is TLSVersion.TLSv1_3
        if once and not session.has_ticket:
            return
        self._remembered = session.id
        large, self._quiet = self._quiet > _LARGEST_TICKET, 0
        if large:
            return
        if keeper.keep(session, self._info.peer_chain or (), self._side.verdict, once=once):
            self._side.counters.count("stored")

    # --- the object ---

    def __repr__(self) -> str:
        if self._failure is not None:
            state = "failed"
        elif not self._done:
            state = "handshaking"
        elif self._closed == self._peer_closed:
            state = "closed" if self._closed else "connected"
        else:
            state = "half-closed"
        return f"<TLSBuffer of {NAME}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TLS connection cannot be pickled or copied")


def _once_more(failure: TLSError) -> TLSError:
    """A fresh instance, with the same facts and the same cause."""
    fresh = copy.copy(failure)
    fresh.__cause__ = failure.__cause__  # With it the context is not shown.
    return fresh


def _shut_down() -> TLSError:
    return TLSError("this side of the connection has been shut down")


def _want_read() -> WantReadError:
    return WantReadError("more data from the peer is needed first")


def _want_write() -> WantWriteError:
    return WantWriteError("data for the peer has to be sent first")


def _ragged(*, during_handshake: bool) -> RaggedEOF:
    where = "inside the handshake" if during_handshake else "without close_notify"
    return RaggedEOF(f"the peer ended the connection {where}", during_handshake=during_handshake)
