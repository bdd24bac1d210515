"""Implementations whose sockets have one fault each in what goes beyond PEP 748.

As `faulty.py`, which has the honest wrapper:
`--polytls-implementation faulty_sockets:SHUTS_TCP_DOWN`.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, Final

from faulty import SOON, Client, Faulty, Server, Socket

from polytls import NotTLSError, PeerMisbehaved, RaggedEOF, WantReadError

# --- wrap_socket ---


class _DropsWhatWaits(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.recv(65536, socket.MSG_DONTWAIT)
            sock.settimeout(SOON)
        return super().wrap_socket(sock, *given, **named)


class _DropsLeftover(Client):
    def wrap_socket(self, sock: Any, *given: Any, leftover: Any = b"", **named: Any) -> Any:
        sock.settimeout(SOON)
        return super().wrap_socket(sock, *given, **named)


class _LosesLeftover(Server):
    def wrap_socket(self, sock: Any, *given: Any, leftover: Any = b"", **named: Any) -> Any:
        sock.settimeout(SOON)
        return super().wrap_socket(sock, *given, **named)


class _DoesNotNameLeftover(Server):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        try:
            return super().wrap_socket(sock, *given, **named)
        except NotTLSError as error:
            raise PeerMisbehaved(str(error)) from None


class _ForgetsTheTimeout(Client):
    def wrap_socket(self, *given: Any, **named: Any) -> Any:
        made = super().wrap_socket(*given, **named)
        made.settimeout(None)
        return made


class _TakesACopy(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        return super().wrap_socket(sock.dup(), *given, **named)


class _DoesNotDefer(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        named.pop("do_handshake_on_connect", None)
        sock.settimeout(SOON)
        return super().wrap_socket(sock, *given, **named)


class _ClosesAnyway(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        try:
            return super().wrap_socket(sock, *given, **named)
        except (TypeError, ValueError):
            if isinstance(sock, socket.socket):
                sock.close()
            raise


class _SocketsAlone(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        if not isinstance(sock, socket.socket):
            sock.close()
            raise TypeError("sock must be a socket")
        return super().wrap_socket(sock, *given, **named)


class _Portless:
    """A stream over a socket: it has no port."""

    def __init__(self, below: socket.socket) -> None:
        self.recv, self.send, self.close = below.recv, below.send, below.close


class _ForgetsThePort(Client):
    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        return super().wrap_socket(_Portless(sock), *given, **named)


FORGETS_THE_PORT: Final = Faulty(
    "keeps the sessions of sockets that it wraps by host only",
    "test_resumption::test_sessions_are_kept_for_each_port",
    client=_ForgetsThePort,
)
DROPS_WHAT_WAITS: Final = Faulty(
    "throws away what was injected before the client's handshake, and goes on",
    "test_socket_wrap::test_a_client_looks_for_what_was_injected_before_it_speaks",
    client=_DropsWhatWaits,
)
DROPS_LEFTOVER: Final = Faulty(
    "ignores what a client has received before its handshake",
    "test_socket_wrap::test_a_client_that_has_received_something_refuses_and_says_nothing",
    client=_DropsLeftover,
)
LOSES_LEFTOVER: Final = Faulty(
    "ignores the beginning of a ClientHello that a server has received already",
    "test_socket_wrap::test_a_server_goes_on_from_the_beginning_of_a_client_hello",
    server=_LosesLeftover,
)
DOES_NOT_NAME_LEFTOVER: Final = Faulty(
    "takes a command in plaintext for broken TLS",
    "test_socket_wrap::test_a_server_refuses_what_cannot_begin_a_client_hello",
    server=_DoesNotNameLeftover,
)
FORGETS_THE_TIMEOUT: Final = Faulty(
    "waits for ever on a socket that was wrapped with a timeout",
    "test_socket_wrap::test_the_timeout_is_taken_over",
    client=_ForgetsTheTimeout,
)
TAKES_A_COPY: Final = Faulty(
    "leaves the socket that was wrapped open beside the connection",
    "test_socket_wrap::test_a_connected_socket_is_taken_over",
    client=_TakesACopy,
)
DOES_NOT_DEFER: Final = Faulty(
    "does the handshake at once although it is to be deferred",
    "test_socket_wrap::test_a_deferred_handshake_is_done_by_the_first_call",
    client=_DoesNotDefer,
)
CLOSES_AT_WRONG_ARGUMENTS: Final = Faulty(
    "closes the socket where an argument is wrong",
    "test_socket_wrap::test_after_wrong_arguments_the_socket_is_as_it_was",
    client=_ClosesAnyway,
)
WRAPS_SOCKETS_ALONE: Final = Faulty(
    "refuses to wrap anything but a socket",
    "test_socket_wrap::"
    "test_anything_that_sends_and_receives_can_be_wrapped_and_is_closed_with_the_connection",
    client=_SocketsAlone,
)

# --- unwrap ---


class _LosesPlaintext(Socket):
    def unwrap(self) -> Any:
        plain = self.inner.unwrap()
        plain.settimeout(SOON)
        with suppress(TimeoutError):
            plain.recv(1)
        return plain


class _DiscardsData(Socket):
    def unwrap(self) -> Any:
        while self.inner.pending():
            self.inner.recv(65536)
        self.inner.settimeout(SOON)
        return self.inner.unwrap()


class _UnwrapsAlone(Socket):
    def unwrap(self) -> Any:
        with suppress(OSError):
            self.inner.shutdown(socket.SHUT_WR)
        timeout = self.inner.gettimeout()
        made = socket.socket(fileno=self.inner.detach())
        made.settimeout(timeout)
        return made


LOSES_PLAINTEXT: Final = Faulty(
    "loses the plaintext that came together with close_notify",
    "test_socket_unwrap::test_plaintext_right_behind_close_notify_is_not_lost",
    socket=_LosesPlaintext,
)
DISCARDS_DATA: Final = Faulty(
    "discards data that nobody has received when it unwraps",
    "test_socket_unwrap::test_data_that_was_not_received_is_an_error_and_is_not_discarded",
    socket=_DiscardsData,
)
UNWRAPS_ALONE: Final = Faulty(
    "gives the plain socket back before the peer has answered",
    "test_socket_unwrap::test_a_non_blocking_unwrap_raises_until_the_answer_is_there",
    socket=_UnwrapsAlone,
)

# --- shutdown ---


class _ShutsTCP(Socket):
    def shutdown(self, how: int) -> None:
        self.inner.shutdown(how)
        with socket.socket(fileno=os.dup(self.inner.fileno())) as plain:
            plain.shutdown(how)


class _EndsBoth(Socket):
    ended = False

    def shutdown(self, how: int) -> None:
        self.inner.shutdown(how)
        self.ended = True

    def recv(self, bufsize: int) -> bytes:
        return b"" if self.ended else self.inner.recv(bufsize)


class _ReceivesOn(Socket):
    def shutdown(self, how: int) -> None:
        if how != socket.SHUT_RD:
            self.inner.shutdown(how)


class _SaysNoGoodbye(Socket):
    def shutdown(self, how: int) -> None:
        with socket.socket(fileno=os.dup(self.inner.fileno())) as plain:
            plain.shutdown(how)


SHUTS_TCP_DOWN: Final = Faulty(
    "ends the transport where only our data is to end",
    "test_socket_shutdown::test_shut_wr_sends_close_notify_and_no_fin",
    socket=_ShutsTCP,
)
ENDS_BOTH_DIRECTIONS: Final = Faulty(
    "receives nothing any more once we have said goodbye",
    "test_socket_shutdown::test_after_shut_wr_the_peers_data_still_comes",
    socket=_EndsBoth,
)
RECEIVES_ON: Final = Faulty(
    "goes on receiving after SHUT_RD",
    "test_socket_shutdown::test_after_shut_rd_there_is_nothing_to_receive_and_sending_goes_on",
    socket=_ReceivesOn,
)
SHUTS_DOWN_WITHOUT_GOODBYE: Final = Faulty(
    "ends the transport without close_notify",
    "test_socket_shutdown::test_shut_rdwr_says_goodbye_and_ends_the_transport",
    socket=_SaysNoGoodbye,
)

# --- endings ---


class _ClosesByForce(Socket):
    def close(self, force: bool = False) -> None:
        self.inner.close(force=True)


class _LeavesByForce(Socket):
    def __exit__(self, *_: object) -> None:
        self.inner.close(force=True)


class _WaitsForGoodbye(Socket):
    def close(self, force: bool = False) -> None:
        try:
            if not force:
                self.inner.settimeout(SOON)
                self.inner.shutdown(socket.SHUT_WR)
                while self.inner.recv(65536):
                    pass
        finally:
            self.inner.close(force=True)


class _TellsRaggedEnds(Socket):
    def close(self, force: bool = False) -> None:
        try:
            if not force:
                self.inner.setblocking(False)
                self.inner.recv(1)
        except WantReadError:
            pass
        finally:
            self.inner.close(force=True)


class _LosesInSilence(Socket):
    def close(self, force: bool = False) -> None:
        with suppress(TimeoutError):
            self.inner.close(force)


CLOSES_BY_FORCE: Final = Faulty(
    "does not wait at close until all is delivered",
    "test_socket_delivery::test_all_that_was_sent_arrives_whichever_way_it_ends",
    socket=_ClosesByForce,
)
LEAVES_BY_FORCE: Final = Faulty(
    "does not wait at the end of a with statement until all is delivered",
    "test_socket_delivery::test_an_upload_is_whole",
    socket=_LeavesByForce,
)
WAITS_FOR_GOODBYE: Final = Faulty(
    "waits for the goodbye of a peer that has everything",
    "test_socket_ends::test_close_says_goodbye_and_does_not_wait_for_the_peers",
    socket=_WaitsForGoodbye,
)
TELLS_RAGGED_ENDS_AT_CLOSE: Final = Faulty(
    "raises at close because the peer just hung up, though nothing was lost",
    "test_socket_delivery::test_after_a_complete_exchange_it_does_not_matter_how_the_peer_goes",
    socket=_TellsRaggedEnds,
)
LOSES_IN_SILENCE: Final = Faulty(
    "does not tell that time was over before all was delivered",
    "test_socket_delivery::test_a_peer_that_takes_too_long_is_told_by_a_timeout",
    socket=_LosesInSilence,
)

# --- truncated ends ---


class _TakesEveryEnd(Socket):
    def recv(self, bufsize: int) -> bytes:
        with suppress(RaggedEOF):
            return bytes(self.inner.recv(bufsize))
        return b""


class _KeepsTheOptionToItself(Client):
    def wrap_socket(self, *given: Any, accept_truncated_end: bool = False, **named: Any) -> Any:
        return super().wrap_socket(*given, **named)


ACCEPTS_A_CUT_RECORD: Final = Faulty(
    "takes the end within a record for the end of the data, where an end is accepted",
    "test_socket_truncated_ends::test_an_end_within_a_record_stays_an_error",
    socket=_TakesEveryEnd,
)
ACCEPTS_ENDS_UNASKED: Final = Faulty(
    "takes a truncated end for the end of the data, though nobody has said so",
    "test_socket_truncated_ends::test_it_is_for_those_who_asked_for_it",
    socket=_TakesEveryEnd,
)
IGNORES_THE_OPTION: Final = Faulty(
    "ignores accept_truncated_end where it begins on a plain connection",
    "test_socket_truncated_ends::test_so_it_is_of_a_connection_that_was_plain_before",
    client=_KeepsTheOptionToItself,
)

# --- files ---


class _ReadsLatin(Socket):
    def makefile(self, mode: str = "r", *given: Any, **named: Any) -> Any:
        return self.inner.makefile(mode, *given, **(named | {"encoding": "latin-1"}))


class _FileEndsSocket(Socket):
    def makefile(self, *given: Any, **named: Any) -> Any:
        file = self.inner.makefile(*given, **named)
        self.inner.close()  # Now the file's end is the connection's.
        return file


class _SendsFromTheStart(Socket):
    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        return self.inner.sendfile(file, 0, count)


class _LeavesTheFile(Socket):
    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        try:
            return self.inner.sendfile(file, offset, count)
        except TimeoutError:
            file.seek(offset)
            raise


IGNORES_ENCODINGS: Final = Faulty(
    "reads and writes all text as Latin-1",
    "test_socket_files::test_a_text_file_is_decoded_and_read_by_lines",
    socket=_ReadsLatin,
)
CLOSES_WITH_ITS_FILE: Final = Faulty(
    "closes the connection with its first file",
    "test_socket_files::test_closing_a_file_does_not_close_the_socket",
    socket=_FileEndsSocket,
)
SENDS_FROM_THE_START: Final = Faulty(
    "sends a file from its beginning, whatever the offset",
    "test_socket_files::test_a_file_is_sent_from_its_offset",
    socket=_SendsFromTheStart,
)
LEAVES_THE_FILE_ANYWHERE: Final = Faulty(
    "does not leave a file behind what was sent of it",
    "test_socket_files::test_after_an_error_the_file_stands_behind_what_was_sent",
    socket=_LeavesTheFile,
)

# --- what sockets have in common with plain ones ---


class _DetachesLoudly(Socket):
    def detach(self) -> int:
        self.inner.shutdown(socket.SHUT_WR)
        return self.inner.detach()


class _SetsNothing(Socket):
    def setsockopt(self, *given: Any) -> None:
        pass


class _ClosesQuietly(Socket):
    def __del__(self) -> None:
        with suppress(OSError):
            self.inner.close(force=True)


class _KeepsItsKeys(Socket):
    def update_keys(self) -> None:
        pass


class _KeepsTheRest(Socket):
    rest = memoryview(b"")

    def send(self, bytes: Any) -> int:
        while self.rest:
            self.rest = self.rest[self.inner.send(self.rest) :]
        given = memoryview(bytes)
        self.rest = given[self.inner.send(given) :]
        return len(given)

    def outgoing_bytes_buffered(self) -> int:
        return len(self.rest) + int(self.inner.outgoing_bytes_buffered())


class _SurvivesForks(Socket):
    def recv(self, bufsize: int) -> bytes:
        try:
            return self.inner.recv(bufsize)
        except OSError as error:
            if "fork" in str(error):
                return b""
            raise


def _without(option: str) -> type[Server]:
    class Deaf(Server):
        def connect(
            self,
            address: Any,
            *,
            reuse_port: bool = False,
            dual_stack: bool = False,
            do_handshake_on_accept: bool = True,
            **named: Any,
        ) -> Any:
            given = {
                "reuse_port": reuse_port,
                "dual_stack": dual_stack,
                "do_handshake_on_accept": do_handshake_on_accept,
            }
            del given[option]
            made = super().connect(address, **given, **named)
            if option == "do_handshake_on_accept":
                made.inner.settimeout(SOON)
                made.settimeout = lambda value: None
            return made

    return Deaf


DETACHES_LOUDLY: Final = Faulty(
    "says goodbye before it gives its descriptor away",
    "test_socket_surface::test_a_descriptor_that_is_given_away_stays_open_and_nothing_is_said",
    socket=_DetachesLoudly,
)
SETS_NO_OPTIONS: Final = Faulty(
    "sets no option",
    "test_socket_surface::test_options_are_those_of_the_socket_below",
    socket=_SetsNothing,
)
WARNS_OF_NOTHING: Final = Faulty(
    "closes what was forgotten without a warning",
    "test_socket_surface::test_a_listener_that_was_not_closed_gives_a_warning",
    socket=_ClosesQuietly,
)
KEEPS_ITS_KEYS: Final = Faulty(
    "does not change its keys when it is told to",
    "test_socket_surface::test_the_peer_is_asked_to_change_its_keys_too",
    socket=_KeepsItsKeys,
)
KEEPS_THE_REST: Final = Faulty(
    "takes all data of a send, and keeps what the system does not take for the next call",
    "test_socket_nonblocking::test_what_send_has_taken_whole_needs_no_other_call",
    socket=_KeepsTheRest,
)
SURVIVES_FORKS: Final = Faulty(
    "tells a fork as the end of the peer's data",
    "test_socket_fork::test_a_child_uses_contexts_and_listeners_but_no_connection",
    socket=_SurvivesForks,
)
SHARES_NO_PORTS: Final = Faulty(
    "ignores reuse_port",
    "test_socket_surface::test_a_port_can_be_shared_by_listeners_that_all_ask_for_it",
    server=_without("reuse_port"),
)
ONE_FAMILY_ALONE: Final = Faulty(
    "ignores dual_stack",
    "test_socket_surface::test_a_dual_stack_listener_takes_clients_of_both_families",
    server=_without("dual_stack"),
)
ALWAYS_SHAKES_HANDS: Final = Faulty(
    "does handshakes in accept although others are to do them",
    "test_socket_surface::test_a_blocking_accept_can_leave_the_handshake_to_others",
    server=_without("do_handshake_on_accept"),
)


#: Every fault by the name that the kit takes after `faulty_sockets:`.
FAULTS: Final[dict[str, Faulty]] = {
    name: value for name, value in list(globals().items()) if isinstance(value, Faulty)
}
