"""What a socket offers only where its library does: `isinstance` must tell nothing else.

A socket has a method of these only if its buffer has it (`StreamSocket.__new__`), so that asking
for the protocol, as `isinstance(connection, SupportsExporter)`, gives the answer of the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..arguments import amount_of, view_of
from ..interfaces import SupportsChannelBinding, SupportsEarlyData, SupportsExporter
from ..sessions import TLSSession
from .waiting import Deadline

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..driver import Driver
    from .turns import Turns

__all__ = ["LARGEST", "offers_of"]

#: A call that receives gives at most this much in one piece, whatever is asked for.
LARGEST: Final = 256 * 1024


class _Offer:
    """A part of a socket."""

    __slots__ = ()

    if TYPE_CHECKING:
        _driver: Driver
        _timeout: float | None

        @property
        def _turns(self) -> Turns: ...


class _Exports(_Offer):
    __slots__ = ()

    def export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes:
        """Export keying material of this connection (`SupportsExporter`)."""
        buffer: Any = self._driver.buffer
        material: bytes = buffer.export_keying_material(label, context, length)
        return material


class _Binds(_Offer):
    __slots__ = ()

    def channel_binding(self, kind: str) -> bytes:
        """Return what ties an exchange to this connection (`SupportsChannelBinding`)."""
        buffer: Any = self._driver.buffer
        binding: bytes = buffer.channel_binding(kind)
        return binding


class _CarriesEarlyData(_Offer):
    __slots__ = ()

    def write_early_data(self, data: Buffer) -> int:
        """Queue data to leave with a client's first flight (`SupportsEarlyData`). Never waits."""
        view = view_of("data", data)
        with self._turns.lock:
            self._turns.transport.check_open()
            return self._driver.write_early(view)

    def read_early_data(self, amt: int) -> bytes:
        """Receive up to `amt` bytes of early data, waiting for the first (`SupportsEarlyData`)."""
        size = min(amount_of("amt", amt), LARGEST)
        turns = self._turns
        deadline = Deadline.after(self._timeout)
        with turns.to_receive(deadline), turns.to_send(deadline):
            return turns.drive(lambda: self._driver.read_early(size), deadline, sends=True)


class _NamesItsSession(_Offer):
    __slots__ = ()

    @property
    def session(self) -> TLSSession | None:
        """The session of this connection, for others to resume (`SupportsSession`)."""
        buffer: Any = self._driver.buffer
        found: TLSSession | None = buffer.session
        return found


def offers_of(buffer: type) -> tuple[type, ...]:
    """Return what a class adds to a socket over buffers of this class."""
    offers = {
        SupportsExporter: _Exports,
        SupportsChannelBinding: _Binds,
        SupportsEarlyData: _CarriesEarlyData,
    }
    found = [offer for protocol, offer in offers.items() if issubclass(buffer, protocol)]
    # A class cannot be asked for a protocol with a property (`SupportsSession`).
    return (*found, _NamesItsSession) if hasattr(buffer, "session") else (*found,)
