"""The table of chains: what is presented, what is trusted, and what must come of it.

Each row makes its certificates when it is asked for them. Rows say what RFC 5280 and RFC 9525 say;
where they leave a choice, what is safer. What a library does otherwise stands in its table of
deviations, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from polytls import Certificate, SigningChain, TrustStore, VerificationFailure
from polytls.testing import CertificateAuthority, KeyType, self_signed
from polytls.testing.conformance.drafts import Draft, Extension, element, sequence

__all__ = ["ROWS", "Row", "Scene"]

HOST: Final = "server.example"

_NOW: Final = datetime.now(UTC)
_PAST: Final = {"not_before": _NOW - timedelta(days=9), "not_after": _NOW - timedelta(days=2)}
_FUTURE: Final = {"not_before": _NOW + timedelta(days=2), "not_after": _NOW + timedelta(days=9)}

_F = VerificationFailure


@dataclass(frozen=True, slots=True)
class Scene:
    """What one row presents, and to whom."""

    chain: SigningChain
    trusted: TrustStore
    name: str = HOST


@dataclass(frozen=True, slots=True)
class Row:
    """One chain."""

    title: str
    make: Callable[[], Scene]
    #: Any of these reasons is right; empty: it is accepted.
    reasons: tuple[VerificationFailure, ...] = ()


def _trusting(*authorities: CertificateAuthority) -> TrustStore:
    return TrustStore.from_buffer(b"".join(each.certificate_pem for each in authorities))


def _rearranged(
    chain: SigningChain, order: Callable[[list[Certificate]], list[Certificate]]
) -> SigningChain:
    return SigningChain(chain.leaf, order([*chain.chain]))


# --- names ---

#: Names in the certificate, the name asked for, and whether it is one of them.
_NAMES: Final[list[tuple[tuple[str, ...], str, bool]]] = [
    (("a.example",), "a.example", True),
    (("a.example",), "b.example", False),
    (("a.example", "b.example"), "b.example", True),
    (("A.Example",), "a.example", True),
    (("a.example",), "A.EXAMPLE", True),
    (("a.example",), "a.example.", True),
    (("a.example",), "www.a.example", False),
    (("www.a.example",), "a.example", False),
    (("a.example",), "xa.example", False),
    (("under_score.example",), "under_score.example", True),
    (("xn--bcher-kva.example",), "b\u00fccher.example", True),
    (("localhost",), "localhost", True),
    ((), "a.example", False),
    (("*.b.example",), "a.b.example", True),
    (("*.b.example",), "A.B.Example", True),
    (("*.b.example",), "xn--bcher-kva.b.example", True),
    (("*.b.example",), "b.example", False),
    (("*.b.example",), "x.a.b.example", False),
    (("*.*.b.example",), "x.a.b.example", False),
    (("a.*.example",), "a.b.example", False),
    (("a*.b.example",), "aa.b.example", False),
    (("*a.b.example",), "aa.b.example", False),
    (("a*a.b.example",), "aba.b.example", False),
    (("**.b.example",), "a.b.example", False),
    (("*",), "localhost", False),
    (("*.example",), "a.example", False),
    # Nobody here knows which suffixes are public.
    (("*.co.example",), "a.co.example", True),
    (("*.b.example",), "192.0.2.1", False),
    (("192.0.2.1",), "192.0.2.1", True),
    (("192.0.2.1",), "192.0.2.2", False),
    (("192.0.2.1",), "a.example", False),
    (("2001:db8::1",), "2001:db8::1", True),
    (("2001:db8::1",), "2001:db8:0:0::1", True),
    (("2001:db8::1",), "2001:db8::2", False),
    (("a.example", "192.0.2.1"), "192.0.2.1", True),
    (("a.example\0.evil.example",), "a.example", False),
    (("a.example\0",), "a.example", False),
]


def _names() -> Iterator[Row]:
    def make(names: tuple[str, ...], asked: str) -> Scene:
        ca = CertificateAuthority()
        # The common name never counts.
        chain = ca.issue(*names, common_name=asked.rstrip("."))
        return Scene(chain, ca.trust_store(), asked)

    for names, asked, fits in _NAMES:
        wrong: tuple[VerificationFailure, ...] = (_F.HOSTNAME_MISMATCH,)
        if any("\0" in name or "**" in name or name.startswith("*a") for name in names):
            wrong = (_F.HOSTNAME_MISMATCH, _F.BAD_ENCODING)
        yield Row(
            f"{' '.join(names) or 'no name'} for {asked}",
            lambda names=names, asked=asked: make(names, asked),  # type: ignore[misc]
            () if fits else wrong,
        )


# --- building the path ---


def _below(depth: int, root: CertificateAuthority, **last: Any) -> CertificateAuthority:
    authority = root
    for _ in range(depth):
        authority = authority.intermediate(**last)
    return authority


def _deep(depth: int) -> Scene:
    root = CertificateAuthority()
    return Scene(_below(depth, root).issue(HOST), root.trust_store())


def _arranged(order: Callable[[list[Certificate]], list[Certificate]]) -> Scene:
    root = CertificateAuthority()
    chain = _below(2, root).issue(HOST)
    return Scene(_rearranged(chain, order), root.trust_store())


def _with_root() -> Scene:
    root = CertificateAuthority()
    chain = root.intermediate().issue(HOST)
    return Scene(_rearranged(chain, lambda above: [*above, root.certificate]), root.trust_store())


def _strays() -> list[Certificate]:
    return [CertificateAuthority().certificate for _ in range(50)]


def _cross_signed(trust_second: bool) -> Scene:
    first, second = CertificateAuthority(), CertificateAuthority()
    between = first.intermediate()
    chain = between.issue(HOST)
    presented = _rearranged(chain, lambda above: [*above, second.cross_sign(between)])
    return Scene(presented, _trusting(second if trust_second else first))


def _cycle(anchored: bool) -> Scene:
    one, two = CertificateAuthority("one"), CertificateAuthority("two")
    chain = SigningChain(one.issue(HOST).leaf, [two.cross_sign(one), one.cross_sign(two)])
    return Scene(chain, _trusting(one if anchored else CertificateAuthority("nobody")))


def _anchored_below() -> Scene:
    between = CertificateAuthority().intermediate()
    return Scene(between.issue(HOST), _trusting(between))


def _namesake() -> Scene:
    real, false = CertificateAuthority("namesake"), CertificateAuthority("namesake")
    return Scene(false.issue(HOST), real.trust_store())


def _two_namesakes() -> Scene:
    real, other = CertificateAuthority("namesake"), CertificateAuthority("namesake")
    return Scene(real.issue(HOST), _trusting(other, real))


def _renewed(root: CertificateAuthority, *above: Certificate, trusted: TrustStore) -> Scene:
    """An authority that has a new key, and has signed the certificate of it with its old one."""
    anew = CertificateAuthority(root.common_name)
    return Scene(SigningChain(anew.issue(HOST).leaf, [root.cross_sign(anew), *above]), trusted)


def _self_issued(**given: Any) -> Scene:
    root = CertificateAuthority("renewed", **given)
    return _renewed(root, trusted=root.trust_store())


def _self_issued_below(path_length: int) -> Scene:
    root = CertificateAuthority()
    between = root.intermediate("renewed", path_length=path_length)
    return _renewed(between, between.certificate, trusted=root.trust_store())


def _misused_beside_a_namesake() -> Scene:
    """A library may tell of the namesake's key, which has not signed anything."""
    real, false = CertificateAuthority("namesake"), CertificateAuthority("namesake")
    return Scene(real.intermediate(client=True).issue(HOST), _trusting(false, real))


#: Tags of names (RFC 5280 4.2.1.6).
_MAIL, _DNS, _URI = 0x81, 0x82, 0x86


def _constrained(kind: int, within: str, *names: tuple[int, str]) -> Scene:
    """A leaf with these names below an authority that is constrained to some of that kind."""
    root = CertificateAuthority()
    between = root.intermediate()
    permitted = element(0xA0, sequence(element(kind, within.encode())))
    limits = Extension("2.5.29.30", sequence(permitted), critical=True)
    above = Draft.of(between.certificate_der).having(limits).signed(root)
    listed = sequence(*(element(tag, name.encode()) for tag, name in names))
    leaf = Draft.leaf(between, HOST).having(Extension("2.5.29.17", listed)).issued(between)
    return Scene(SigningChain(leaf.leaf, [Certificate.from_buffer(above)]), root.trust_store())


def _constraints() -> Iterator[Row]:
    for kind, title, within, name in (
        (_MAIL, "a mail address", "example", "anybody@example"),
        (_URI, "a URI", ".example", "https://any.example/body"),
    ):
        yield Row(
            f"{title} within its constraint",
            lambda kind=kind, within=within, name=name: _constrained(  # type: ignore[misc]
                kind, within, (_DNS, HOST), (kind, name)
            ),
        )
        yield Row(
            f"a constraint on {title}, and none there",
            lambda kind=kind, within=within: _constrained(kind, within, (_DNS, HOST)),  # type: ignore[misc]
        )
        yield Row(
            f"{title} outside its constraint",
            lambda kind=kind, within=within, name=name: _constrained(  # type: ignore[misc]
                kind, within, (_DNS, HOST), (kind, name.replace("example", "test"))
            ),
            (_F.NAME_CONSTRAINT_VIOLATION,),
        )


def _mesh() -> Scene:
    """Eight authorities, each of which all others have certified: the ways to try are thousands."""
    all_ = [CertificateAuthority(f"mesh {number}") for number in range(8)]
    crossed = [one.cross_sign(other) for one in all_ for other in all_ if one is not other]
    return Scene(SigningChain(all_[0].issue(HOST).leaf, crossed), _trusting(CertificateAuthority()))


def _levels() -> Scene:
    """Four authorities of one name on each of six levels: 4,096 ways up to the anchor."""
    levels = [[CertificateAuthority(f"level {at}") for _ in range(4)] for at in range(6)]
    root = CertificateAuthority()
    above = [*(level[0] for level in levels[1:]), root]
    crossed = [
        issuer.cross_sign(each)
        for level, issuer in zip(levels, above, strict=True)
        for each in reversed(level[1:])
    ]
    return Scene(SigningChain(levels[0][0].issue(HOST).leaf, crossed), root.trust_store())


def _namesakes(count: int) -> Scene:
    """The issuer behind others that have its name."""
    root = CertificateAuthority()
    real = root.intermediate("namesake")
    others = [root.intermediate("namesake").certificate for _ in range(count)]
    return Scene(_rearranged(real.issue(HOST), lambda above: [*others, *above]), root.trust_store())


def _nowhere(count: int) -> Scene:
    """Authorities that may each have issued any of them, and no anchor: nothing is to be tried."""
    start = CertificateAuthority("namesake")
    others = [start.intermediate("namesake") for _ in range(count)]
    chain = SigningChain(others[-1].issue(HOST).leaf, [each.certificate for each in others])
    return Scene(chain, _trusting(CertificateAuthority()))


def _roots_of_one_name(count: int) -> Scene:
    roots = [CertificateAuthority("namesake") for _ in range(count)]
    return Scene(CertificateAuthority("namesake").issue(HOST), _trusting(*roots))


def _many_names(names: int, constraints: int) -> Scene:
    root = CertificateAuthority()
    permitted = ("example", *(f"p{number}.test" for number in range(constraints)))
    between = root.intermediate(permitted=permitted)
    rest = (f"n{number}.example" for number in range(names))
    return Scene(between.issue(HOST, *rest), root.trust_store())


def _budgets() -> Iterator[Row]:
    """What costs much is given up, by count: no row may take longer than others."""
    yield Row("a mesh of authorities", _mesh, (_F.PATH_TOO_LONG, _F.UNKNOWN_ISSUER))
    yield Row(
        "thousands of ways to an anchor",
        _levels,
        (_F.PATH_TOO_LONG, _F.UNKNOWN_ISSUER, _F.BAD_SIGNATURE),
    )
    yield Row("10 namesakes that lead nowhere", lambda: _nowhere(10), (_F.UNKNOWN_ISSUER,))
    yield Row("10 namesakes before the issuer", lambda: _namesakes(10))
    yield Row(
        "150 roots of one name",
        lambda: _roots_of_one_name(150),
        (_F.PATH_TOO_LONG, _F.UNKNOWN_ISSUER, _F.BAD_SIGNATURE),
    )
    yield Row("100 names and 100 constraints", lambda: _many_names(100, 100))
    yield Row(
        "2,000 names and 200 constraints", lambda: _many_names(2000, 200), (_F.PATH_TOO_LONG,)
    )


def _tampered() -> Scene:
    root = CertificateAuthority()
    chain = root.issue(HOST)
    der = bytearray(chain.leaf[0].buffer or b"")
    der[-1] ^= 1
    return Scene(SigningChain((Certificate.from_buffer(der), chain.leaf[1])), root.trust_store())


def _issued(root: dict[str, Any], between: dict[str, Any] | None, leaf: dict[str, Any]) -> Scene:
    """A chain of a root, perhaps an authority between, and a leaf, each as described."""
    authority = top = CertificateAuthority(**root)
    if between is not None:
        authority = top.intermediate(**between)
    names = leaf.pop("names", (HOST,))
    asked = leaf.pop("asked", HOST)
    return Scene(authority.issue(*names, **leaf), top.trust_store(), asked)


def _paths() -> Iterator[Row]:
    for depth in (0, 1, 2, 3, 6):
        yield Row(f"{depth} intermediates", lambda depth=depth: _deep(depth))  # type: ignore[misc]
    yield Row("50 intermediates", lambda: _deep(50), (_F.PATH_TOO_LONG,))
    yield Row("in reverse", lambda: _arranged(lambda above: above[::-1]))
    yield Row("each twice", lambda: _arranged(lambda above: [*above, *above]))
    yield Row("among 50 others", lambda: _arranged(lambda above: [*_strays(), *above]))
    yield Row("with the root", _with_root)
    yield Row("without the first", lambda: _arranged(lambda above: above[1:]), (_F.UNKNOWN_ISSUER,))
    yield Row("without the last", lambda: _arranged(lambda above: above[:1]), (_F.UNKNOWN_ISSUER,))
    yield Row("without any", lambda: _arranged(lambda _: []), (_F.UNKNOWN_ISSUER,))
    yield Row("cross-signed, by the way it was issued", lambda: _cross_signed(False))
    yield Row("cross-signed, by the other way", lambda: _cross_signed(True))
    yield Row("a cycle with an anchor", lambda: _cycle(True))
    yield Row("a cycle without one", lambda: _cycle(False), (_F.UNKNOWN_ISSUER,))
    yield Row("an anchor that others issued", _anchored_below)
    yield Row("a root's namesake", _namesake, (_F.UNKNOWN_ISSUER, _F.BAD_SIGNATURE))
    yield Row("a root and its namesake", _two_namesakes)
    yield Row("an authority that signed its new key", _self_issued)
    yield Row("a self-issued one below path length 0", lambda: _self_issued(path_length=0))
    yield Row("a self-issued one below an issuer of path length 0", lambda: _self_issued_below(0))
    yield Row(
        "an issuer for clients below a root that has a namesake",
        _misused_beside_a_namesake,
        (_F.INVALID_PURPOSE,),
    )
    yield Row("a signature that is wrong", _tampered, (_F.BAD_SIGNATURE,))
    yield Row(
        "a stranger",
        lambda: Scene(CertificateAuthority().issue(HOST), _trusting(CertificateAuthority())),
        (_F.UNKNOWN_ISSUER,),
    )
    yield Row(
        "self-signed",
        lambda: Scene(self_signed(HOST), _trusting(CertificateAuthority())),
        (_F.UNKNOWN_ISSUER,),
    )


# --- what certificates are for ---

_Kind = dict[str, Any]

#: A root, an authority below it if there is one, a leaf, and the reason to refuse them.
_KINDS: Final[list[tuple[str, _Kind, _Kind | None, _Kind, tuple[VerificationFailure, ...]]]] = [
    ("for servers", {}, None, {"client": False}, ()),
    ("for both", {}, None, {}, ()),
    ("for anything", {}, None, {"server": False, "client": False}, ()),
    ("for clients", {}, None, {"server": False}, (_F.INVALID_PURPOSE,)),
    ("an issuer for servers", {}, {"server": True}, {}, ()),
    ("an issuer for clients", {}, {"client": True}, {}, (_F.INVALID_PURPOSE,)),
    ("a key for no particular use", {}, None, {"key_usage": ()}, ()),
    (
        "a key to sign certificates with",
        {},
        None,
        {"key_usage": ("certificate signing",)},
        (_F.INVALID_PURPOSE,),
    ),
    ("an issuer's key for any use", {}, {"key_usage": ()}, {}, ()),
    (
        "an issuer's key that must not sign certificates",
        {},
        {"key_usage": ("digital signature",)},
        {},
        (_F.INVALID_PURPOSE,),
    ),
    ("a leaf that claims to be a CA", {}, None, {"authority": True}, (_F.INVALID_PURPOSE,)),
    ("an issuer that is no authority", {}, {"authority": False}, {}, (_F.INVALID_PURPOSE,)),
    # Path lengths.
    ("path length 0 above a leaf", {}, {"path_length": 0}, {}, ()),
    ("a root's path length 1", {"path_length": 1}, {}, {}, ()),
    ("a root's path length 0", {"path_length": 0}, {}, {}, (_F.PATH_TOO_LONG,)),
    # Validity.
    ("an expired leaf", {}, None, _PAST, (_F.EXPIRED,)),
    ("a leaf of the future", {}, None, _FUTURE, (_F.NOT_YET_VALID,)),
    ("an expired issuer", {}, _PAST, {}, (_F.EXPIRED,)),
    ("an issuer of the future", {}, _FUTURE, {}, (_F.NOT_YET_VALID,)),
    ("an expired root", _PAST, None, {}, (_F.EXPIRED,)),
    ("a root of the future", _FUTURE, None, {}, (_F.NOT_YET_VALID,)),
    (
        "a long life, over 2050",
        {},
        None,
        {"not_before": _NOW.replace(year=1999), "not_after": _NOW.replace(year=2060)},
        (),
    ),
    # Name constraints.
    ("a root within its names", {"permitted": ("example",)}, None, {}, ()),
    ("a root outside", {"permitted": ("test",)}, None, {}, (_F.NAME_CONSTRAINT_VIOLATION,)),
    ("an issuer within its names", {}, {"permitted": ("example", "test")}, {}, ()),
    ("an issuer outside", {}, {"permitted": ("test",)}, {}, (_F.NAME_CONSTRAINT_VIOLATION,)),
    (
        "one name of two outside",
        {},
        {"permitted": ("example",)},
        {"names": (HOST, "a.test")},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    (
        "a name that is excluded",
        {},
        {"excluded": ("server.example",)},
        {},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    ("a name that is not excluded", {}, {"excluded": ("other.example",)}, {}, ()),
    (
        "excluded in spite of being permitted",
        {},
        {"permitted": ("example",), "excluded": ("server.example",)},
        {},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    (
        "within the root's names, outside the issuer's",
        {"permitted": ("example",)},
        {"permitted": ("other.example",)},
        {},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    (
        "an address within its network",
        {},
        {"permitted": ("192.0.2.0/24",)},
        {"names": ("192.0.2.1",), "asked": "192.0.2.1"},
        (),
    ),
    (
        "an address outside its network",
        {},
        {"permitted": ("192.0.2.0/24",)},
        {"names": ("198.51.100.1",), "asked": "198.51.100.1"},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    (
        "an address in an excluded network",
        {},
        {"excluded": ("192.0.2.0/24",)},
        {"names": ("192.0.2.1",), "asked": "192.0.2.1"},
        (_F.NAME_CONSTRAINT_VIOLATION,),
    ),
    (
        "an address where names alone are constrained",
        {},
        {"permitted": ("test",)},
        {"names": ("192.0.2.1",), "asked": "192.0.2.1"},
        (),
    ),
    (
        "a directory name within its constraint",
        {},
        {"permitted": ("CN=leaf",)},
        {"common_name": "leaf"},
        (),
    ),
    # Extensions.
    ("an unknown extension", {}, None, {"unknown_extension": (False, 10)}, ()),
]


def _kinds() -> Iterator[Row]:
    for title, root, between, leaf, reasons in _KINDS:
        yield Row(
            title,
            lambda root=root, between=between, leaf=leaf: _issued(root, between, {**leaf}),  # type: ignore[misc]
            reasons,
        )
    for key_type in KeyType:
        yield Row(
            f"a leaf with a key of {key_type.value}",
            lambda each=key_type: _issued({}, None, {"key_type": each}),  # type: ignore[misc]
        )
        yield Row(
            f"authorities with keys of {key_type.value}",
            lambda each=key_type: _issued({"key_type": each}, {"key_type": each}, {}),  # type: ignore[misc]
        )


def _too_long() -> Scene:
    root = CertificateAuthority()
    chain = root.intermediate(path_length=0).intermediate().issue(HOST)
    return Scene(chain, root.trust_store())


ROWS: Final = (
    *_names(),
    *_paths(),
    *_kinds(),
    *_constraints(),
    *_budgets(),
    Row("path length 0 above an authority", _too_long, (_F.PATH_TOO_LONG,)),
)
