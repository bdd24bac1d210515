"""Implementations that have one fault each in early data.

As `faulty.py`, which has the honest wrapper:
`--polytls-implementation faulty_early_data:ACCEPTS_REPLAYS`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Final

from faulty import Buffer, Faulty, Server, Socket

from polytls import ConnectionInfo, TLSError, WantReadError


class _AcceptsReplays(Buffer):
    #: What came early, by the flight that it came with.
    taken: ClassVar[dict[bytes, bytes]] = {}

    def process_incoming(self, data_from_network: Any) -> None:
        self.inner.process_incoming(data_from_network)
        self.__dict__.setdefault("flight", bytes(data_from_network))

    def read_early_data(self, amt: int) -> bytes:
        try:
            data: bytes = self.inner.read_early_data(amt)
        except WantReadError:
            if replayed := self.taken.pop(self.__dict__.get("flight", b""), b""):
                return replayed
            raise
        if data:
            self.taken[self.flight] = data
        return data


class _Mixes(Buffer):
    def read(self, amt: int, buffer: Any = None) -> Any:
        if buffer is None:
            with suppress(TLSError):
                if early := self.inner.read_early_data(amt):
                    return early
        return self.inner.read(amt, buffer)


class _Loses(Buffer):
    def read(self, *given: Any) -> Any:
        with suppress(TLSError):
            while self.inner.read_early_data(4096):
                pass
        return self.inner.read(*given)


class _WaitsForTheHandshake(Buffer):
    def read_early_data(self, amt: int) -> bytes:
        self.inner.do_handshake()
        data: bytes = self.inner.read_early_data(amt)
        return data


class _ForgetsItWithTheHandshake(Buffer):
    def read_early_data(self, amt: int) -> bytes:
        if self.inner.negotiated_tls_version is not None:
            return b""
        data: bytes = self.inner.read_early_data(amt)
        return data


class _SaysAccepted(Buffer):
    @property
    def info(self) -> ConnectionInfo:
        told: ConnectionInfo = self.inner.info
        return told if told.early_data is None else replace(told, early_data=True)


class _SaysRefused(Buffer):
    @property
    def info(self) -> ConnectionInfo:
        told: ConnectionInfo = self.inner.info
        return told if told.early_data is None else replace(told, early_data=False)


class _Insists(Buffer):
    """Sends it again by itself, as other data."""

    def write_early_data(self, data: Any) -> int:
        taken: int = self.inner.write_early_data(data)
        self.refused = bytes(data)[:taken]
        return taken

    def do_handshake(self) -> None:
        self.inner.do_handshake()
        if self.inner.info.early_data is False and self.__dict__.get("refused"):
            self.inner.write(self.refused)
            self.refused = b""


class _SaysAllWasTaken(Buffer):
    def write_early_data(self, data: Any) -> int:
        return self.inner.write_early_data(data) and len(data)


class _TakesItLate(Buffer):
    def write_early_data(self, data: Any) -> int:
        try:
            taken: int = self.inner.write_early_data(data)
        except TLSError as error:
            if type(error) is not TLSError:
                raise
            return 0
        return taken


class _TakesItFromAnybody(Server):
    def make_inner(self, configuration: Any) -> Any:
        try:
            return super().make_inner(configuration)
        except TLSError as error:
            if getattr(error, "field", None) != "early_data":
                raise
            return super().make_inner(configuration.replace(early_data=False))


class _ReadsPastIt(Socket):
    def recv(self, bufsize: int) -> bytes:
        with suppress(TLSError):
            while self.inner.read_early_data(4096):
                pass
        data: bytes = self.inner.recv(bufsize)
        return data


ACCEPTS_REPLAYS: Final = Faulty(
    "takes the early data of a recorded flight again",
    "test_early_data::test_a_recorded_flight_is_not_taken_twice",
    buffer=_AcceptsReplays,
)
MIXES_EARLY_DATA: Final = Faulty(
    "gives early data among other data",
    "test_early_data::test_other_data_is_not_read_past_it",
    buffer=_Mixes,
)
LOSES_EARLY_DATA: Final = Faulty(
    "drops early data when other data is read",
    "test_early_data::test_other_data_is_not_read_past_it",
    buffer=_Loses,
)
SOCKETS_LOSE_EARLY_DATA: Final = Faulty(
    "drops early data when a socket is received from",
    "test_early_data::test_a_socket_does_not_read_past_it_and_closes_with_it",
    socket=_ReadsPastIt,
)
GIVES_EARLY_DATA_LATE: Final = Faulty(
    "gives early data once the handshake is done",
    "test_early_data::test_it_is_there_before_the_handshake_is_done",
    buffer=_WaitsForTheHandshake,
)
FORGETS_EARLY_DATA: Final = Faulty(
    "forgets early data once the handshake is done",
    "test_early_data::test_it_comes_in_order_however_it_is_written_and_cut",
    buffer=_ForgetsItWithTheHandshake,
)
SAYS_ACCEPTED: Final = Faulty(
    "says that early data was accepted that was refused",
    "test_early_data::test_what_a_server_refuses_is_told_and_lost_and_nothing_else",
    buffer=_SaysAccepted,
)
SAYS_REFUSED: Final = Faulty(
    "says that early data was refused that was accepted",
    "test_early_data::test_every_ticket_is_good_for_it_and_each_connection_gives_new_ones",
    buffer=_SaysRefused,
)
SENDS_IT_AGAIN: Final = Faulty(
    "sends early data again that was refused, unasked",
    "test_early_data::test_what_a_server_refuses_is_told_and_lost_and_nothing_else",
    buffer=_Insists,
)
SAYS_MORE_WAS_TAKEN: Final = Faulty(
    "says that more early data was taken than the server allows",
    "test_early_data::test_no_more_is_taken_than_the_server_allows",
    buffer=_SaysAllWasTaken,
)
TAKES_IT_LATE: Final = Faulty(
    "does not say that it is too late for early data",
    "test_early_data::test_calls_at_the_wrong_time_say_so_and_do_no_harm",
    buffer=_TakesItLate,
)
IGNORES_EARLY_DATA: Final = Faulty(
    "goes without early data where it is refused",
    "test_early_data::test_what_must_not_be_together_is_refused",
    server=_TakesItFromAnybody,
)


#: Every fault by the name that the kit takes after `faulty_early_data:`.
FAULTS: Final[dict[str, Faulty]] = {
    name: value for name, value in list(globals().items()) if isinstance(value, Faulty)
}
