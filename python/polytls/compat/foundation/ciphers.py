"""Cipher strings, as openssl-ciphers(1) has them, over the suites of TLS with AES or ChaCha20.

Of TLS 1.2's and older ones the table has more than polytls speaks: a string that names one of them
is a right one, and what is left of it is the face's to say. What the table lacks (CCM, Camellia,
ARIA, 3DES, PSK, SRP, DSS, suites without encryption or authentication) is as in an OpenSSL that was
built without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from .errors import SSLError

__all__ = ["chosen", "described"]


class _Suite(NamedTuple):
    number: int
    name: str
    #: The oldest version that has it.
    protocol: str
    exchange: str
    signature: str
    cipher: str
    bits: int
    #: None: the cipher authenticates.
    digest: str | None


def _suites() -> tuple[_Suite, ...]:
    """In OpenSSL's order, before a string is applied."""
    exchanges = {"ECDHE-ECDSA": ("ecdhe", "ecdsa"), "ECDHE-RSA": ("ecdhe", "rsa")}
    exchanges |= {"DHE-RSA": ("dhe", "rsa"), "": ("rsa", "rsa")}
    found = []

    def add(numbers: Iterable[int], kinds: Iterable[str], *rest: Any) -> None:
        name, cipher, bits, digest, old = rest
        for number, kind in zip(numbers, kinds, strict=True):
            exchange, signature = exchanges[kind]
            protocol = "TLSv1.2" if not old else "TLSv1.0" if exchange == "ecdhe" else "SSLv3"
            whole = f"{kind}-{name}" if kind else name
            found.append(_Suite(number, whole, protocol, exchange, signature, cipher, bits, digest))

    ephemeral = ("ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA")
    gcm256 = ("AES256-GCM-SHA384", "aes-256-gcm", 256, None, False)
    chacha = ("CHACHA20-POLY1305", "chacha20-poly1305", 256, None, False)
    gcm128 = ("AES128-GCM-SHA256", "aes-128-gcm", 128, None, False)
    add((0xC02C, 0xC030, 0x9F), ephemeral, *gcm256)
    add((0xCCA9, 0xCCA8, 0xCCAA), ephemeral, *chacha)
    add((0xC02B, 0xC02F, 0x9E), ephemeral, *gcm128)
    add((0xC024, 0xC028), ephemeral[:2], "AES256-SHA384", "aes-256-cbc", 256, "sha384", False)
    add((0x6B,), ephemeral[2:], "AES256-SHA256", "aes-256-cbc", 256, "sha256", False)
    add((0xC023, 0xC027, 0x67), ephemeral, "AES128-SHA256", "aes-128-cbc", 128, "sha256", False)
    add((0xC00A, 0xC014, 0x39), ephemeral, "AES256-SHA", "aes-256-cbc", 256, "sha1", True)
    add((0xC009, 0xC013, 0x33), ephemeral, "AES128-SHA", "aes-128-cbc", 128, "sha1", True)
    add((0x9D,), ("",), *gcm256)
    add((0x9C,), ("",), *gcm128)
    add((0x3D,), ("",), "AES256-SHA256", "aes-256-cbc", 256, "sha256", False)
    add((0x3C,), ("",), "AES128-SHA256", "aes-128-cbc", 128, "sha256", False)
    add((0x35,), ("",), "AES256-SHA", "aes-256-cbc", 256, "sha1", True)
    add((0x2F,), ("",), "AES128-SHA", "aes-128-cbc", 128, "sha1", True)
    return tuple(found)


_SUITES: Final = _suites()

#: A string for TLS 1.2 leaves them as they are.
_TLS13: Final = (
    _Suite(0x1302, "TLS_AES_256_GCM_SHA384", "TLSv1.3", "any", "any", "aes-256-gcm", 256, None),
    _Suite(
        0x1303,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLSv1.3",
        "any",
        "any",
        "chacha20-poly1305",
        256,
        None,
    ),
    _Suite(0x1301, "TLS_AES_128_GCM_SHA256", "TLSv1.3", "any", "any", "aes-128-gcm", 128, None),
)


def _by(**wanted: object) -> Callable[[_Suite], bool]:
    return lambda suite: all(getattr(suite, name) == value for name, value in wanted.items())


def _none(_: _Suite) -> bool:
    return False


#: What a word of a string stands for. Words that are not here are passed over, as OpenSSL does it.
_WORDS: Final[dict[str, Callable[[_Suite], bool]]] = {
    "ALL": lambda _: True,
    "COMPLEMENTOFALL": _none,
    "COMPLEMENTOFDEFAULT": _none,
    "HIGH": lambda _: True,
    "FIPS": lambda suite: suite.cipher.startswith("aes"),
    **dict.fromkeys(("MEDIUM", "LOW", "EXP", "EXPORT", "NULL", "eNULL", "aNULL", "ADH"), _none),
    **dict.fromkeys(("AECDH", "PSK", "kPSK", "aPSK", "SRP", "kSRP", "aSRP", "DSS"), _none),
    **dict.fromkeys(("aDSS", "CAMELLIA", "CAMELLIA128", "CAMELLIA256", "ARIA", "SEED"), _none),
    **dict.fromkeys(("3DES", "DES", "RC4", "RC2", "IDEA", "MD5", "AESCCM", "AESCCM8"), _none),
    **dict.fromkeys(("kRSAPSK", "kECDHEPSK", "kDHEPSK", "kGOST", "aGOST", "GOST94"), _none),
    **dict.fromkeys(("kECDHE", "kEECDH", "ECDHE", "EECDH", "ECDH"), _by(exchange="ecdhe")),
    **dict.fromkeys(("kDHE", "kEDH", "DHE", "EDH", "DH"), _by(exchange="dhe")),
    "kRSA": _by(exchange="rsa"),
    # Either of the two (SSL_kRSA and SSL_aRSA).
    "RSA": _by(exchange="rsa"),
    "aRSA": _by(signature="rsa"),
    **dict.fromkeys(("aECDSA", "ECDSA"), _by(signature="ecdsa")),
    "AES": lambda suite: suite.cipher.startswith("aes"),
    "AES128": lambda suite: suite.cipher.startswith("aes-128"),
    "AES256": lambda suite: suite.cipher.startswith("aes-256"),
    "AESGCM": lambda suite: suite.cipher.endswith("gcm"),
    "CHACHA20": _by(cipher="chacha20-poly1305"),
    **dict.fromkeys(("SHA", "SHA1"), _by(digest="sha1")),
    "SHA256": _by(digest="sha256"),
    "SHA384": _by(digest="sha384"),
    "TLSv1.2": _by(protocol="TLSv1.2"),
    **dict.fromkeys(("TLSv1", "TLSv1.0"), _by(protocol="TLSv1.0")),
    "SSLv3": _by(protocol="SSLv3"),
}
_NAMES: Final = {suite.name: suite for suite in _SUITES}

_WHAT_DEFAULT_IS: Final = "ALL:!COMPLEMENTOFDEFAULT:!eNULL"
_LEVEL: Final = re.compile(r"SECLEVEL=([0-5])")


def _matching(words: str) -> Callable[[_Suite], bool] | None:
    """What all of several words, tied by `+`, stand for; None if one is unknown."""
    tests = []
    for word in words.split("+"):
        if word in _NAMES:
            tests.append(_by(name=word))
        elif word in _WORDS:
            tests.append(_WORDS[word])
        else:
            return None
    return lambda suite: all(test(suite) for test in tests)


class _List:
    """The list that the words of a string are applied to (ssl_cipher_apply_rule in OpenSSL)."""

    def __init__(self) -> None:
        #: Those that are off as well: what is put on goes to the end, in the order they are in.
        self.order: list[_Suite] = list(_SUITES)
        self.on: set[_Suite] = set()

    def apply(self, sign: str, test: Callable[[_Suite], bool]) -> None:
        found = [suite for suite in self.order if test(suite)]
        if sign == "!":
            self.order = [suite for suite in self.order if suite not in found]
            self.on -= set(found)
        elif sign == "-":
            found = [suite for suite in found if suite in self.on]
            self.order = found + [suite for suite in self.order if suite not in found]
            self.on -= set(found)
        elif sign == "+":
            self._to_the_end([suite for suite in found if suite in self.on])
        else:
            found = [suite for suite in found if suite not in self.on]
            self._to_the_end(found)
            self.on |= set(found)

    def _to_the_end(self, found: list[_Suite]) -> None:
        self.order = [suite for suite in self.order if suite not in found] + found

    def by_strength(self) -> None:
        self.order.sort(key=lambda suite: -suite.bits if suite in self.on else 0)


def chosen(string: str, level: int) -> tuple[list[int], int]:
    """Return the numbers of the suites that a string leaves, and the security level.

    Raises SSLError if none is left but those of TLS 1.3.
    """
    if string.startswith("DEFAULT"):
        string = f"{_WHAT_DEFAULT_IS}:{string.removeprefix('DEFAULT')}"
    words = [word for word in re.split("[:, ;]", string) if word]
    found = _List()
    for word in words:
        if word.startswith("@"):
            seen = _LEVEL.fullmatch(word[1:])
            if word == "@STRENGTH":
                found.by_strength()
            elif seen:
                level = int(seen[1])
            else:
                raise SSLError("No cipher can be selected.")
            continue
        sign = word[0] if word[0] in "!-+" else ""
        test = _matching(word[len(sign) :])
        if test is not None:
            found.apply(sign, test)
    left = [suite.number for suite in found.order if suite in found.on]
    if not left:
        raise SSLError("No cipher can be selected.")
    return [suite.number for suite in _TLS13] + left, level


_KNOWN: Final = {suite.number: suite for suite in (*_TLS13, *_SUITES)}
_EXCHANGES: Final = {"ecdhe": "ECDH", "dhe": "DH", "rsa": "RSA", "any": "any"}
_CIPHERS: Final = {"gcm": "AESGCM", "cbc": "AES", "poly1305": "CHACHA20/POLY1305"}


def described(number: int) -> dict[str, Any]:
    """Return what `SSLContext.get_ciphers` says of a suite."""
    suite = _KNOWN[number]
    cipher = f"{_CIPHERS[suite.cipher.rpartition('-')[2]]}({suite.bits})"
    signature = suite.signature if suite.signature == "any" else suite.signature.upper()
    mac = suite.digest.upper() if suite.digest else "AEAD"
    protocol = "TLSv1" if suite.protocol == "TLSv1.0" else suite.protocol
    return {
        "id": 0x03000000 | number,
        "name": suite.name,
        "protocol": suite.protocol,
        "description": (
            f"{suite.name:30} {protocol:7} Kx={_EXCHANGES[suite.exchange]:8} Au={signature:5} "
            f"Enc={cipher:22} Mac={mac}"
        ),
        "strength_bits": suite.bits,
        "alg_bits": suite.bits,
        "aead": suite.digest is None,
        "symmetric": suite.cipher,
        "digest": suite.digest,
        "kea": f"kx-{suite.exchange}",
        "auth": f"auth-{suite.signature}",
    }
