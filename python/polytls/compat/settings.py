"""The settings of an `ssl.SSLContext`, and the engines created from them.

The C class checks arguments and stores plain settings (`verify_mode`, `options`, versions). They
are read from it when a connection is created, so that values set past any override are honoured,
too. What the C class does not return (chains, keys, CAs, protocols, cipher suites) is stored here.
An engine is created once for given settings, and used until they change.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..errors import ConfigurationError
from ..identity import decrypt
from ..interfaces import ClientContext, ServerContext
from .base import BASE, C
from .faults import Refused
from .folders import Folders
from .given import Given
from .pem import der_of, sections, split
from .suites import CURVES

if TYPE_CHECKING:
    import ssl

__all__ = ["Settings"]

_BACKEND: Final = _native.backend("rustls")
_SUITES: Final = frozenset(map(int, _BACKEND.capabilities.cipher_suites))
_GROUPS: Final = frozenset(map(int, _BACKEND.capabilities.groups))

_TLS12: Final = 0x0303
_TLS13: Final = 0x0304
_SESSIONS: Final = 256
#: OpenSSL's own number.
_TICKETS: Final = 2
#: OpenSSL's security level that only refuses what is refused anyway: keys of less than 112 bits,
#: and SHA-1.
_LEVEL: Final = 2

_CRL_CHECK: Final = 0x4
_CRL_CHECK_ALL: Final = 0x8
_STRICT: Final = 0x20
#: Flags for policies (RFC 5280 6.1) and Suite B (RFC 6460).
_NOT_HAD: Final = 0x780 | 0x30000
_PARTIAL_CHAIN: Final = 0x80000

#: Certificates, leaf first, and the leaf's key.
_Chain = tuple[list[bytes], bytes]


class Settings:
    """The settings of one context. Any thread can use it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._chains: dict[str, _Chain] = {}
        self._trusted: list[bytes] = []
        self._crls: list[bytes] = []
        self._folders = Folders()
        self._system = False
        #: Certificates that verified connections, and that OpenSSL's own context may not list yet.
        self._used: set[bytes] = set()
        self._alpn: tuple[bytes, ...] | None = None
        self._ciphers: list[int] | None = None
        self._curve: str | None = None
        self._refused: str | None = None
        self._given: Given | None = None
        self._engines: dict[Any, Any] = {}
        self._counts: Counter[str] = Counter()
        #: Whether OpenSSL's own context still lacks the system's certificates.
        self.deferred = False
        #: Why this context uses OpenSSL; None: it uses polytls.
        self.fallen: str | None = None
        self._context = _Plain(context)

    # --- setting ---

    def add_chain(
        self, certfile: str | bytes, keyfile: str | bytes | None, password: object
    ) -> None:
        """Store a chain and its key from files that OpenSSL has read.

        What cannot be used is refused when a connection is created, when it can still use OpenSSL.
        """
        try:
            self._add_chain(certfile, keyfile, password)
        except Refused as refused:
            self.refuse(refused.what)

    def _add_chain(
        self, certfile: str | bytes, keyfile: str | bytes | None, password: object
    ) -> None:
        whole = _contents(certfile)
        source = whole if keyfile is None else _contents(keyfile)
        certificates = [der_of(section) for section in sections(whole, "CERTIFICATE")]
        keys = sections(source, "PRIVATE KEY")
        if not keys or not certificates:
            raise Refused(f"a certificate or key that is not PEM in {os.fsdecode(certfile)}")
        key = keys[0]
        if b"ENCRYPTED" in key:
            key = _decrypted(key, password)
        kind = _native.read_certificate(certificates[0]).key_type
        self._chains[kind] = certificates, key
        self._changed()

    def add_trust(self, data: bytes) -> None:
        """Store certificates and CRLs, PEM or DER, that OpenSSL has read."""
        if data[:1] == b"\x30":
            self._trusted += list(split(data))
        else:
            self._trusted += [der_of(section) for section in sections(data, "CERTIFICATE")]
            self._crls += sections(data, "X509 CRL")
        self._changed()

    def add_folder(self, path: str | bytes) -> None:
        """Store a directory of certificates and CRLs by hashes of their names, read on demand."""
        self._folders.add(path)
        self._changed()

    def add_system(self) -> None:
        """Trust the system's certificates."""
        self._system = True
        self.deferred = True
        self._changed()

    def set_protocols(self, data: bytes) -> None:
        """Store ALPN protocols in wire format."""
        found = []
        while data:
            found.append(data[1 : 1 + data[0]])
            data = data[1 + data[0] :]
        self._alpn = tuple(found)
        self._changed()

    def set_suites(self) -> None:
        """Store OpenSSL's current cipher suites, after a string was set."""
        self._ciphers = [suite["id"] & 0xFFFF for suite in self._context.suites()]
        self._changed()

    def set_curve(self, name: str) -> None:
        """Store the only group."""
        self._curve = name
        self._changed()

    def refuse(self, what: str) -> None:
        """Something was set that is not supported: no connection can be created any more."""
        self._refused = what
        self._changed()

    def give(self, context: ClientContext | ServerContext) -> None:
        """Use the connections of a PEP 748 context."""
        self._given = Given(context, self._context.key())

    def _changed(self) -> None:
        self._engines = {}

    def note_handshake(self, server_side: bool, *, resumed: bool) -> None:
        """Count a handshake for `session_stats`."""
        side = "accept" if server_side else "connect"
        self._counts.update((side, f"{side}_good"))
        if resumed:
            self._counts["hits"] += 1

    def note_path(self, path: tuple[bytes, ...] | None) -> None:
        """Note the path of a verified peer. OpenSSL lists what it took from a directory for it."""
        if path and (self._system or self._folders):
            known = set(self._folders.certificates)
            self._used.update(der for der in path if der in known)
            if self._system:
                self._used.add(path[-1])

    def take_used(self) -> bytes:
        """Return the certificates of directories that verified connections, and forget them."""
        used, self._used = self._used, set()
        return b"".join(sorted(used))

    def session_stats(self) -> dict[str, int]:
        """Return the result of `SSLContext.session_stats`."""
        return {
            name: self._counts[name]
            for name in (
                "number",
                "connect",
                "connect_good",
                "connect_renegotiate",
                "accept",
                "accept_good",
                "accept_renegotiate",
                "hits",
                "misses",
                "timeouts",
                "cache_full",
            )
        }

    def suites(self) -> list[int]:
        """Return the cipher suites that a connection can negotiate, in order of preference."""
        if self._given is not None:
            return self._given.suites()
        listed = [suite["id"] & 0xFFFF for suite in self._context.suites()]
        return [number for number in listed if number in _SUITES]

    # --- engines ---

    def client(self, name: str | None = None) -> _native.ClientEngine:
        """Return the engine for a client connection to `name`. Raises Refused."""
        self._look()
        key = ("client", *self._context.key())
        if self._given is not None:
            given: Given = self._engine(key, self._changed_client)
            return given.client(name)
        made: _native.ClientEngine = self._engine(key, self._client)
        return made

    def server(self, offered: Iterable[bytes] = ()) -> _native.ServerEngine | None:
        """Return the engine of a server for a client that offers these protocols; None: no chain.

        OpenSSL continues without a protocol if there is none in common. Raises Refused.
        """
        self._look()
        if self._given is not None:
            self._check_given()
            if self._alpn is None:
                return self._given.server()
        if not self._chains and self._given is None:
            self._check_refused()
            return None
        alpn = self._alpn or ()
        if not set(alpn) & set(offered):
            alpn = ()
        made: _native.ServerEngine = self._engine(
            ("server", alpn, *self._context.key()), lambda: self._server(alpn)
        )
        return made

    def check(self, server_side: bool) -> None:
        """Raise Refused if no connection can be created."""
        if server_side:
            self.server()
            if self._alpn:
                self.server(self._alpn)
        else:
            self.client()

    def _look(self) -> None:
        if self._folders and self._folders.look():
            self._changed()

    def _engine(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        engines = self._engines
        found = engines.get(key)
        if found is None:
            try:
                found = make()
            except ConfigurationError as error:
                raise Refused(f"{error}") from error
            # The first one that was created stays: sessions belong to it.
            found = engines.setdefault(key, found)
        return found

    def _check_refused(self) -> None:
        if self._refused is not None:
            raise Refused(self._refused)

    def _check_given(self) -> None:
        """Raise Refused if something was set that a PEP 748 configuration does not have."""
        given = self._given
        if given is not None and (
            self._context.key() != given.key
            or self._chains
            or self._ciphers is not None
            or self._curve is not None
            or self._crls
        ):
            raise Refused(
                "a setting on a PEP 748 context that differs from its configuration; change the "
                "configuration, or use polytls.compat.SSLContext"
            )

    def _changed_client(self) -> Given:
        self._check_given()
        assert self._given is not None  # noqa: S101 - the caller has looked
        return self._given.changed(self._alpn, self._all_trusted())

    def _client(self) -> _native.ClientEngine:
        settings = self._plain_settings(self._alpn or ())
        made: _native.ClientEngine = self._with_trust(_native.client_of_ssl, settings)
        return made

    def _server(self, alpn: tuple[bytes, ...]) -> _native.ServerEngine:
        if self._given is not None:
            raise Refused(
                "set_alpn_protocols on a PEP 748 server context; use inner_protocols= in its "
                "configuration"
            )
        if self._context.verifies and self._context.post_handshake_auth:
            raise Refused(
                "post_handshake_auth on a server; leave it False: clients are authenticated in "
                "the handshake"
            )
        settings = self._plain_settings(alpn)
        made: _native.ServerEngine = self._with_trust(_native.server_of_ssl, settings)
        return made

    def _plain_settings(self, alpn: tuple[bytes, ...]) -> _native._Settings:
        self._check_refused()
        if self._context.has_message_callback:
            raise Refused(
                "_msg_callback; capture the network traffic instead, with keylog_filename"
            )
        versions = self._context.versions()
        ciphers = None
        if self._ciphers is not None:
            if self._context.security_level > _LEVEL:
                raise Refused(
                    f"set_ciphers: @SECLEVEL above {_LEVEL}; list the cipher suites, and use "
                    "certificates with larger keys"
                )
            ciphers = [number for number in self._ciphers if number in _SUITES]
            if all(number >> 8 == 0x13 for number in ciphers):
                left = [version for version in versions if version != _TLS12]
                if left and left != versions:
                    warnings.warn(
                        "set_ciphers: none of these TLS 1.2 cipher suites is supported; only TLS "
                        "1.3 is used",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                versions = left
            if not versions or not ciphers:
                raise Refused(
                    "set_ciphers: none of these cipher suites is supported; use the library's "
                    "defaults, or list ECDHE suites with AES-GCM or ChaCha20-Poly1305"
                )
        groups = None
        if self._curve is not None:
            group = CURVES.get(self._curve)
            if group not in _GROUPS:
                raise Refused(f"set_ecdh_curve: {self._curve}; use X25519, P-256 or P-384")
            groups = [group]
        flags = self._context.verify_flags
        if flags & _NOT_HAD:
            raise Refused("verify_flags for certificate policies or Suite B; remove them")
        lists = bool(flags & (_CRL_CHECK | _CRL_CHECK_ALL))
        return {
            "versions": (_TLS12 in versions, _TLS13 in versions),
            "ciphers": ciphers,
            "groups": groups,
            "alpn": list(alpn),
            "sessions": _SESSIONS if self._context.resumes(versions) else None,
            "tickets": self._context.tickets,
            "key_log": _key_log(self._context.keylog_filename),
            "chains": [
                (self._completed(certificates), key) for certificates, key in self._chains.values()
            ],
            "verifies": self._context.verifies,
            "checks_hostname": self._context.check_hostname,
            "requires": self._context.verify_mode == BASE.CERT_REQUIRED,
            "system": self._system,
            "certificates": self._all_trusted(),
            "crls": self._crls + self._folders.crls if lists else [],
            "whole_chains": not flags & _PARTIAL_CHAIN,
            "strict": bool(flags & _STRICT),
            "needs_lists": lists,
            "lists_for_leaf": lists and not flags & _CRL_CHECK_ALL,
        }

    def _completed(self, certificates: list[bytes]) -> list[bytes]:
        """A leaf that stands alone is completed from what is trusted, as OpenSSL does it."""
        trusted = self._all_trusted()
        if len(certificates) > 1 or not trusted:
            return certificates
        known = {}
        for der in trusted:
            try:
                read = _native.read_certificate(der)
            except ValueError:
                continue
            known[read.subject] = der, read.issuer
        leaf = _native.read_certificate(certificates[0])
        chain, issuer, seen = list(certificates), leaf.issuer, {leaf.subject}
        while issuer in known and issuer not in seen:
            seen.add(issuer)
            der, issuer = known[issuer]
            chain.append(der)
        return chain

    def _with_trust(
        self, make: Callable[[_native.Backend, _native._Settings], Any], settings: _native._Settings
    ) -> Any:
        try:
            return make(_BACKEND, settings)
        except ConfigurationError as error:
            if error.field != "trust_store":
                raise
        # OpenSSL passes over what it cannot read, and a system without certificates.
        settings["certificates"] = [der for der in settings["certificates"] if _is_readable(der)]
        try:
            return make(_BACKEND, settings)
        except ConfigurationError as error:
            if error.field != "trust_store" or not self._system:
                raise
        settings["system"] = False
        return make(_BACKEND, settings)

    def _all_trusted(self) -> list[bytes]:
        return list(dict.fromkeys(self._trusted + self._folders.certificates))


def _readers(*names: str) -> list[Callable[[ssl.SSLContext], Any]]:
    """What reads these of OpenSSL's context, as far as this version has them."""
    return [found.__get__ for name in names if (found := getattr(C, name, None)) is not None]


#: Settings that are read as they are.
_PLAIN: Final = _readers(
    "verify_mode",
    "check_hostname",
    "verify_flags",
    "options",
    "minimum_version",
    "maximum_version",
    "keylog_filename",
    "post_handshake_auth",
    "num_tickets",
)


class _Plain:
    """The settings that OpenSSL's context keeps, read past any override."""

    def __init__(self, context: ssl.SSLContext) -> None:
        # A reference would be a cycle: the context has its settings.
        self._weak = weakref.ref(context)

    @property
    def _context(self) -> ssl.SSLContext:
        context = self._weak()
        assert context is not None  # noqa: S101 - whoever asks has it
        return context

    def _read(self, name: str, default: Any = None) -> Any:
        found = getattr(C, name, None)
        return default if found is None else found.__get__(self._context)

    @property
    def verify_mode(self) -> int:
        return int(self._read("verify_mode"))

    @property
    def verifies(self) -> bool:
        return bool(self.verify_mode != BASE.CERT_NONE)

    @property
    def verify_flags(self) -> int:
        return int(self._read("verify_flags"))

    @property
    def check_hostname(self) -> bool:
        return bool(self._read("check_hostname"))

    @property
    def post_handshake_auth(self) -> bool:
        return bool(self._read("post_handshake_auth", False))

    @property
    def keylog_filename(self) -> str | None:
        found: str | None = self._read("keylog_filename")
        return found

    @property
    def has_message_callback(self) -> bool:
        return self._read("_msg_callback") is not None

    @property
    def security_level(self) -> int:
        return int(self._read("security_level", _LEVEL))

    @property
    def tickets(self) -> int:
        """How many tickets a handshake of TLS 1.3 gives a client."""
        return int(self._read("num_tickets", _TICKETS))

    def resumes(self, versions: list[int]) -> bool:
        """Whether there are sessions to resume."""
        if self._read("options") & BASE.OP_NO_TICKET:
            return False
        is_client: bool = self._read("protocol") == BASE.PROTOCOL_TLS_CLIENT
        return is_client or self.tickets > 0 or _TLS12 in versions

    def suites(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = C.get_ciphers(self._context)
        return found

    def key(self) -> tuple[Any, ...]:
        """What engines differ by; each connection asks for it."""
        context = self._context
        return (self.has_message_callback, *[read(context) for read in _PLAIN])

    def versions(self) -> list[int]:
        """The versions that may be spoken. Raises Refused if none is left."""
        low, high = self._read("minimum_version"), self._read("maximum_version")
        protocol, options = self._read("protocol"), self._read("options")
        if low == BASE.PROTO_MINIMUM_SUPPORTED:
            low = 0
        elif low == BASE.PROTO_MAXIMUM_SUPPORTED:
            low = _TLS13
        if high == BASE.PROTO_MAXIMUM_SUPPORTED:
            high = _TLS13
        elif high == BASE.PROTO_MINIMUM_SUPPORTED:
            high = 0
        if protocol in (BASE.PROTOCOL_TLSv1, BASE.PROTOCOL_TLSv1_1):
            high = 0
        elif protocol == BASE.PROTOCOL_TLSv1_2:
            low, high = max(low, _TLS12), min(high, _TLS12)
        found = [
            version
            for version, off in ((_TLS12, BASE.OP_NO_TLSv1_2), (_TLS13, BASE.OP_NO_TLSv1_3))
            if low <= version <= high and not options & off
        ]
        if not found:
            raise Refused("TLS below 1.2: TLS 1.2 and 1.3 are both excluded; allow one of them")
        return found


def _contents(path: str | bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _is_readable(der: bytes) -> bool:
    try:
        _native.read_certificate(der)
    except ValueError:
        return False
    return True


def _decrypted(key: bytes, password: Any) -> bytes:
    """A private key that OpenSSL has decrypted already, and does not give away."""
    if password is None:
        raise Refused(
            "an encrypted private key without a password; pass password= to load_cert_chain"
        )
    try:
        plain = decrypt(key, password)
    except ImportError as error:
        raise Refused(
            f"an encrypted private key: {error}, or decrypt it: openssl pkey -in KEY -out PLAIN"
        ) from None
    except ValueError as error:
        raise Refused(f"an encrypted private key that cryptography cannot read: {error}") from None
    assert plain.buffer is not None  # noqa: S101 - what was decrypted has its bytes
    return plain.buffer


def _key_log(path: str | None) -> Callable[[str], None] | None:
    if not path:
        return None
    lock = threading.Lock()

    def write(line: str) -> None:
        with lock, open(path, "a", encoding="ascii") as file:
            file.write(line + "\n")

    return write
