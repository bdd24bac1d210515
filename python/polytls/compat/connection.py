"""The objects behind `SSLSocket` and `SSLObject`. The native class transports data; this module
adds what is called once per connection.
"""

from __future__ import annotations

import os
import sys
import time
import types
import weakref
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from .base import BASE, C
from .faults import Refused, error
from .pem import encoded
from .suites import described

if TYPE_CHECKING:
    import ssl

    from .settings import Settings

__all__ = ["Certificate", "Connection", "SSLSession"]

_VERSIONS: Final = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_IGNORE_UNEXPECTED_EOF: Final = getattr(BASE, "OP_IGNORE_UNEXPECTED_EOF", 0)
_DER: Final[int] = BASE.ENCODING_DER
_PEM: Final[int] = BASE.ENCODING_PEM
_INTERNAL_ERROR: Final = 80
_HANDSHAKE_FAILURE: Final = 40


class Certificate:
    """A certificate of a chain: the counterpart of `_ssl.Certificate`, which cannot be created."""

    __slots__ = ("_der",)
    _der: bytes

    def __new__(cls, *_: object) -> Certificate:
        """Raises TypeError: only connections create certificates."""
        raise TypeError("cannot create '_ssl.Certificate' instances")

    @classmethod
    def _of(cls, der: bytes) -> Certificate:
        self = super().__new__(cls)
        self._der = der
        return self

    def public_bytes(self, format: int = _PEM) -> bytes | str:
        """Return the certificate, as a str in PEM or as bytes in DER."""
        if format == _DER:
            return self._der
        if format == _PEM:
            return encoded(self._der)
        raise ValueError("Unsupported format")

    def get_info(self) -> dict[str, Any]:
        """Return its contents, like `SSLSocket.getpeercert`."""
        return _native.certificate_dictionary(self._der)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self._der == other._der

    def __hash__(self) -> int:
        return hash(self._der)

    def __repr__(self) -> str:
        return f"<Certificate {_native.read_certificate(self._der).subject!r}>"


class SSLSession:
    """A session to resume: the counterpart of `ssl.SSLSession`, which cannot be created.

    It is not an instance of that, unless Python has no OpenSSL. It can be used for any number of
    connections.
    """

    id: bytes
    #: Seconds since 1970.
    time: int
    #: In seconds.
    timeout: int
    ticket_lifetime_hint: int
    has_ticket: bool
    _context: ssl.SSLContext
    _engine: _native.ClientEngine
    _lineage: _native.Lineage

    def __new__(cls, *_: object) -> SSLSession:
        """Raises TypeError: only connections create sessions."""
        raise TypeError("cannot create '_ssl.SSLSession' instances")

    @classmethod
    def _of(
        cls, context: ssl.SSLContext, engine: _native.ClientEngine, lineage: _native.Lineage
    ) -> SSLSession:
        self = super().__new__(cls)
        self._context = context
        self._engine = engine
        self._lineage = lineage
        self.id = os.urandom(32)
        self.time = int(time.time())
        self.timeout = 7200
        self.ticket_lifetime_hint = 7200
        self.has_ticket = True
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SSLSession) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Connection(_native.SSLConnection):
    """One side of a connection, in the form that `ssl` uses (`_sslobj`)."""

    server_side: bool
    server_hostname: str | None
    _context: ssl.SSLContext
    _settings_of: Callable[[ssl.SSLContext], Settings | None]
    _owner: weakref.ref[Any] | None
    _session: SSLSession | None

    def __init__(self, **_: Any) -> None:
        self._engine: _native.ClientEngine | None = None
        #: The cipher suites of a ClientHello, two bytes each.
        self._offered = b""
        self._made: SSLSession | None = None
        self._counted = False

    @classmethod
    def over(
        cls,
        context: ssl.SSLContext,
        settings_of: Callable[[ssl.SSLContext], Settings | None],
        *,
        server_side: bool,
        server_hostname: str | None,
        owner: object,
        socket: object = None,
        incoming: object = None,
        outgoing: object = None,
    ) -> Connection:
        """Create one; a client's is ready to start."""
        self = cls(
            server_side=server_side,
            lenient=bool(context.options & _IGNORE_UNEXPECTED_EOF),
            socket=socket,
            incoming=incoming,
            outgoing=outgoing,
        )
        self._settings_of = settings_of
        self._context = context
        self._session = None
        self.server_side = server_side
        self.server_hostname = server_hostname
        self._owner = None if owner is None else weakref.ref(owner)
        if not server_side:
            self._begin_anew()
        return self

    def _settings(self) -> Settings:
        settings = self._settings_of(self._context)
        if settings is None:
            raise Refused(
                "the context selected for this connection uses OpenSSL: it was created before "
                "polytls.compat.install(), or with another class; create it in the same way as "
                "this one"
            )
        return settings

    def _begin_anew(self) -> None:
        settings = self._settings()
        # An invalid host name cannot be verified; if names are not verified, it is not sent either.
        name = self.server_hostname
        try:
            if name is not None:
                _native.host_name(name)
        except ValueError:
            if self._context.check_hostname:
                raise
            name = None
        engine = settings.client(name)
        offer = None
        # If the session must not be resumed, the handshake is a full one: with other settings, or
        # another host name.
        if self._session is not None and self._session._engine is engine:
            with suppress(ValueError):
                offer = engine.admit(self._session._lineage, name)
        self._engine = engine
        self._begin(engine, (name, None, offer, None, None))

    # --- called by the native class ---

    def _configure(self, hello: tuple[str | None, list[int], tuple[bytes, ...]] | None) -> None:
        """Select a server's engine from the ClientHello; None for anything else."""
        offered: tuple[bytes, ...] = ()
        if hello is not None:
            name, suites, offered = hello
            self._offered = array("H", suites).tobytes()
            callback = self._context.sni_callback
            if callback is not None:
                alert = self._ask(callback, name)
                if alert is not None:
                    self._refuse(alert)
                    raise error("CALLBACK_FAILED", "callback failed")
        engine = self._settings().server(offered)
        if engine is None:
            self._refuse(_HANDSHAKE_FAILURE)
            raise error("NO_SHARED_CIPHER")
        self._accept(engine)

    def _ask(self, callback: Callable[..., Any], name: str | None) -> int | None:
        """Call `sni_callback`; return the alert that refuses the client, if any."""
        try:
            answer = callback(self.owner, name, self._context)
        except Exception as raised:
            _unraisable(raised, callback)
            return _HANDSHAKE_FAILURE
        if answer is None:
            return None
        if not isinstance(answer, int):
            _unraisable(TypeError("an integer is required"), answer)
            return _INTERNAL_ERROR
        return int(answer)

    # --- called by `ssl` ---

    @property
    def owner(self) -> Any:
        """The `SSLSocket` or `SSLObject`."""
        return None if self._owner is None else self._owner()

    @property
    def context(self) -> ssl.SSLContext:
        """The context; `sni_callback` can select another one until the handshake has started."""
        return self._context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        if not isinstance(context, C):
            raise TypeError("The value must be a SSLContext")
        self._context = context
        if not self.server_side and not self._begun:
            self._begin_anew()

    def do_handshake(self) -> None:
        """Continue the handshake."""
        super().do_handshake()
        if not self._counted:
            self._counted = True
            settings = self._settings_of(self._context)
            if settings is not None:
                facts = self._facts()
                settings.note_handshake(self.server_side, resumed=facts is not None and facts[3])
                settings.note_path(facts and facts[5])

    @property
    def session(self) -> SSLSession | None:
        """The session, for other connections of its context to resume."""
        if self._made is None and self._engine is not None:
            lineage = self._lineage()
            if lineage is None:
                return None
            self._made = SSLSession._of(self._context, self._engine, lineage)
            if self._session is not None and self.session_reused:
                self._made.id = self._session.id
        return self._made

    @session.setter
    def session(self, session: SSLSession) -> None:
        if not isinstance(session, SSLSession):
            raise TypeError("Value is not a SSLSession.")
        if session._context is not self._context:
            raise ValueError("Session refers to a different SSLContext.")
        if self.server_side:
            raise ValueError("Cannot set session for server-side SSLSocket.")
        if self._begun:
            raise ValueError("Cannot set session after handshake.")
        self._session = session
        self._begin_anew()

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        facts = self._facts()
        return facts is not None and facts[3]

    def version(self) -> str | None:
        """Return the negotiated version, such as "TLSv1.3"."""
        facts = self._facts()
        return None if facts is None else _VERSIONS[facts[0]]

    def cipher(self) -> tuple[str, str, int] | None:
        """Return name, protocol and bits of the negotiated cipher suite."""
        facts = self._facts()
        return None if facts is None else described(facts[1])

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """Return the suites that both sides offered; None on clients and before the handshake."""
        if not self.server_side or self._facts() is None or not self._offered:
            return None
        theirs = set(array("H", self._offered))
        return [described(number) for number in self._settings().suites() if number in theirs]

    def compression(self) -> None:
        """Return None: nothing is compressed."""

    def selected_alpn_protocol(self) -> str | None:
        """Return the negotiated application protocol."""
        facts = self._facts()
        return None if facts is None or facts[2] is None else facts[2].decode("ascii")

    def getpeercert(self, binary_form: bool = False, /) -> bytes | dict[str, Any] | None:
        """Return the peer's certificate, as DER or as a dictionary; that is empty if unverified."""
        facts = self._facts()
        if facts is None:
            raise ValueError("handshake not done yet")
        if not facts[4]:
            return None
        if binary_form:
            return facts[4][0]
        if self._context.verify_mode == BASE.CERT_NONE:
            return {}
        return _native.certificate_dictionary(facts[4][0])

    def get_unverified_chain(self) -> list[Certificate] | None:
        """Return the chain as the peer presented it."""
        facts = self._facts()
        return None if facts is None or not facts[4] else [Certificate._of(der) for der in facts[4]]

    def get_verified_chain(self) -> list[Certificate] | None:
        """Return the verified path, from the leaf to the trust anchor.

        If nothing was verified, it is what the peer presented, as with OpenSSL.
        """
        facts = self._facts()
        chain = facts and (facts[5] or facts[4])
        return [Certificate._of(der) for der in chain] if chain else None

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Refuse: TLS 1.3 does not have "tls-unique", and it is unsafe before (RFC 9266 4.2)."""
        if cb_type != "tls-unique":
            raise ValueError(f"{cb_type} channel binding type not implemented")
        if self._facts() is None:
            return None
        raise Refused(
            "the channel binding tls-unique; use tls-exporter or tls-server-end-point with the "
            "polytls API"
        )

    def verify_client_post_handshake(self) -> None:
        """Refuse: clients are authenticated in the handshake."""
        if not self.server_side:
            raise error("NOT_SERVER")
        if self.version() != "TLSv1.3":
            raise error("WRONG_SSL_VERSION")
        raise Refused(
            "post-handshake authentication; set verify_mode before the handshake, with a separate "
            "listener or server name"
        )

    def __copy__(self) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    __reduce__ = __copy__


def _unraisable(raised: BaseException, source: object) -> None:
    sys.unraisablehook(
        types.SimpleNamespace(
            exc_type=type(raised),
            exc_value=raised,
            exc_traceback=raised.__traceback__,
            err_msg=None,
            object=source,
        )
    )
