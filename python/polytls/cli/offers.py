"""What a server accepts: versions, cipher suites and groups, found by asking for them.

Each question is a connection with a ClientHello that offers some of them (`_native.probe_hello`);
the answer is what the server chose, or that it refused. No handshake is continued, so this also
finds what no implementation here supports: SSL 3.0, TLS 1.0 and 1.1, RC4. A server that accepts a
suite in its answer might still fail later. Nothing is verified.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from .. import _native, names
from ..constants import NamedGroup
from ..errors import RaggedEOF
from .route import Route, Stream, drop
from .targets import Target

__all__ = ["Offer", "Wanted", "enumerate_offers", "group_name", "suite_name"]

#: The versions, the highest first (RFC 8446 4.2.1).
_VERSIONS: Final = {
    "TLSv1.3": 0x0304,
    "TLSv1.2": 0x0303,
    "TLSv1.1": 0x0302,
    "TLSv1.0": 0x0301,
    "SSLv3": 0x0300,
}
_TLS13: Final = "TLSv1.3"
#: The curves that certificates have.
_OF_CERTIFICATES: Final = (NamedGroup.secp256r1, NamedGroup.secp384r1, NamedGroup.secp521r1)
#: How much is read of an answer, in bytes.
_MOST_DATA: Final = 1 << 17
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked, beside versions."""

    suites: bool = False
    groups: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server accepts in one version."""

    version: str
    #: None if it is not known.
    accepted: bool | None
    #: What went wrong; what was found before is told.
    error: OSError | None = None
    #: In the order in which the server chose them; None if they were not asked.
    suites: tuple[int, ...] | None = None
    #: Whether the server's preference decides; None if it was not asked, or if there is one suite.
    server_order: bool | None = None
    groups: tuple[int, ...] | None = None


def suite_name(number: int) -> str:
    """The name of a cipher suite, or its number."""
    tables = _suites(_TLS13) | _suites("")
    return tables.get(number, f"0x{number:04X}")


def group_name(number: int) -> str:
    """The name of a group, or its number."""
    return _groups().get(number, f"0x{number:04X}")


@functools.cache
def _suites(version: str) -> dict[int, str]:
    """All suites that a version could have, those of today first."""
    table = _native.numbers("probed_suites_1_3" if version == _TLS13 else "probed_suites_1_2")
    return {number: name for name, number in table.items()}


@functools.cache
def _groups() -> dict[int, str]:
    return {number: name for name, number in _native.numbers("probed_groups").items()}


def enumerate_offers(
    target: Target,
    route: Route,
    address: names.Address,
    wanted: Wanted,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[Offer, ...]:
    """Ask for each version, and for suites and groups in those that are accepted.

    Groups are asked in TLS 1.3 and in the highest accepted version below. `step` is called with
    what is asked next.
    """
    asking = _Asking(target, route, address, step)
    offers: list[Offer] = []
    for version in _VERSIONS:
        below = [each for each in offers if each.accepted and each.version != _TLS13]
        offers.append(_offer(asking, version, wanted, wanted.groups and not below))
    return (*offers,)


def _offer(asking: _Asking, version: str, wanted: Wanted, groups: bool) -> Offer:
    suites: list[int] | None = None
    in_order: bool | None = None
    found: list[int] | None = None
    accepted: bool | None = None
    try:
        accepted = asking.ask(version, _suites(version)) is not None
        if accepted and wanted.suites:
            suites = []
            asking.all_suites(version, suites)
            in_order = asking.keeps_order(version, suites)
        if accepted and groups:
            found = []
            asking.all_groups(version, found)
    except OSError as error:
        return Offer(
            version,
            accepted,
            error,
            None if suites is None else (*suites,),
            in_order,
            None if found is None else (*found,),
        )
    return Offer(
        version,
        accepted,
        None,
        None if suites is None else (*suites,),
        in_order,
        None if found is None else (*found,),
    )


class _Asking:
    """Questions to one server."""

    def __init__(
        self,
        target: Target,
        route: Route,
        address: names.Address,
        step: Callable[[str], None],
    ) -> None:
        self._target, self._route, self._address, self._step = target, route, address, step
        name, is_address = _native.host_name(names.verified_name(target.server_hostname))
        self._name = None if is_address else name

    def all_suites(self, version: str, found: list[int]) -> None:
        """Add what the server accepts: it chooses, and what it chose is offered no more."""
        left = [*_suites(version)]
        while left and (chosen := self.ask(version, left)) is not None:
            suite = chosen[0]
            if suite not in left:
                raise OSError(f"the server chose {suite_name(suite)}, which was not offered")
            left.remove(suite)
            found.append(suite)

    def keeps_order(self, version: str, suites: list[int]) -> bool | None:
        """Whether the server chooses the same if the client's order is reversed."""
        if len(suites) < 2:
            return None
        chosen = self.ask(version, suites[::-1])
        return None if chosen is None else chosen[0] == suites[0]

    def all_groups(self, version: str, found: list[int]) -> None:
        """Add the groups that the server accepts."""
        if version == _TLS13:
            left = [*_groups()]
            while left and (chosen := self.ask(version, _suites(version), left)) is not None:
                group = chosen[1]
                if group not in left:
                    told = "none" if group is None else group_name(group)
                    raise OSError(f"the server chose the group {told}, which was not offered")
                left.remove(group)
                found.append(group)
            return
        suites = [each for each in _suites(version) if "_ECDH" in suite_name(each)]
        for group in _groups():
            # RFC 8422 has those below 0x100; others are for TLS 1.3, or for DHE (RFC 7919).
            if group < 0x1F and self._accepts(version, suites, group):
                found.append(group)

    def _accepts(self, version: str, suites: list[int], group: int) -> bool:
        """Whether a server chooses a group, also where its certificate's curve has to be offered.

        Groups say which curves a client can verify as well (RFC 8422 5.1).
        """
        for more in ((), _OF_CERTIFICATES):
            groups = dict.fromkeys([group, *more])
            chosen = self.ask(version, suites, groups)
            if chosen is not None and chosen[1] == group:
                return True
        return False

    def ask(
        self, version: str, suites: Iterable[int], groups: Iterable[int] | None = None
    ) -> tuple[int, int | None] | None:
        """Suite and group that the server chooses; None if it refuses.

        A server that ends the connection refuses as well. Raises OSError if it is not known.
        """
        self._step(version)
        number = _VERSIONS[version]
        hello = _native.probe_hello(
            number,
            [*suites],
            [*(_groups() if groups is None else groups)],
            self._name,
            os.urandom(64),
        )
        plain = self._route.dial(self._address)
        stream, leftover, _ = self._route.prepare(plain, self._target)
        try:
            if leftover:
                raise OSError("the server sent plaintext before TLS started")
            with_group = groups is not None
            answer = _answer(stream, hello, with_group, monotonic() + self._route.timeout)
        finally:
            drop(stream)
        if answer is None or isinstance(answer, int):
            return None
        chosen, suite, group = answer
        return (suite, group) if chosen == number else None


def _answer(
    stream: Stream, hello: bytes, with_group: bool, deadline: float
) -> tuple[int, int, int | None] | int | None:
    """What comes back: see `_native.probe_answer`; None if the connection ends."""
    data = b""
    try:
        stream.sendall(hello)
        while len(data) < _MOST_DATA:
            stream.settimeout(max(deadline - monotonic(), 0.001))
            piece = stream.recv(_PIECE)
            if not piece:
                return None
            data += piece
            answer = _native.probe_answer(data, with_group)
            if answer is not None:
                return answer
    except (ConnectionError, RaggedEOF):
        return None
    except ValueError as error:
        raise OSError(str(error)) from None
    raise OSError("the server's answer is too long")
