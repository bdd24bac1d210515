"""Implementations with one fault each, to prove the conformance kit by.

Each is rustls's implementation wrapped in Python, honest but for the one thing that its description
says. With this folder on the path the kit takes them as
`--polytls-implementation faulty:SKIPS_HOST_NAMES`. `HONEST` is the wrapper without any fault.
`FAULTS` has the others by name; each knows the case of the kit that must fail on it.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from polytls import (
    AlertReceived,
    Capabilities,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    ConnectionInfo,
    NextProtocol,
    NotTLSError,
    PeerMisbehaved,
    RaggedEOF,
    Responsible,
    SessionCache,
    SigningChain,
    TicketKeys,
    TLSError,
    TLSImplementation,
    TLSSession,
    TrustStore,
    VerificationFailure,
    WantReadError,
    WantWriteError,
    key_log_from_environment,
)
from polytls.engines.rustls import INSECURE_IMPLEMENTATION as RUSTLS
from polytls.insecure import InsecureConfiguration, SecurityWarning
from polytls.names import resolve
from polytls.sessions import lineage_of
from polytls.streams import connect

#: Where a fault would make somebody wait for ever, it gives up after this, in seconds.
SOON: Final = 0.3

# --- the honest wrapper ---


def _through(name: str) -> Any:
    def call(self: Any, *given: Any, **named: Any) -> Any:
        return getattr(self.inner, name)(*given, **named)

    call.__name__ = name
    return call


def _fact(name: str) -> Any:
    return property(lambda self: getattr(self.inner, name))


@contextmanager
def _quietly(insecure: object) -> Iterator[None]:
    if insecure is None:  # Filters are shared by all threads: not without need.
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


class Connection:
    """What buffers and sockets have in common."""

    def __init__(self, inner: Any, context: Any) -> None:
        self.inner = inner
        self._context = context

    @property
    def context(self) -> Any:
        return self._context

    negotiated_tls_version = _fact("negotiated_tls_version")
    info = _fact("info")
    cipher = _through("cipher")
    do_handshake = _through("do_handshake")
    getpeercert = _through("getpeercert")
    negotiated_protocol = _through("negotiated_protocol")
    outgoing_bytes_buffered = _through("outgoing_bytes_buffered")
    pending = _through("pending")
    export_keying_material = _through("export_keying_material")
    channel_binding = _through("channel_binding")
    write_early_data = _through("write_early_data")
    read_early_data = _through("read_early_data")

    @property
    def session(self) -> Any:
        # A handle is good for the context that it names.
        inner = self.inner.session
        return None if inner is None else TLSSession(self.context, inner)

    def __repr__(self) -> str:
        return repr(self.inner)

    def __reduce__(self) -> Any:
        raise TypeError("a connection cannot be pickled")


class Buffer(Connection):
    read = _through("read")
    write = _through("write")
    shutdown = _through("shutdown")
    process_incoming = _through("process_incoming")
    incoming_bytes_buffered = _through("incoming_bytes_buffered")
    process_outgoing = _through("process_outgoing")
    open = _through("open")
    seal = _through("seal")


class Socket(Connection):
    failed_handshakes = _fact("failed_handshakes")
    family = _fact("family")
    proto = _fact("proto")
    type = _fact("type")
    close = _through("close")
    detach = _through("detach")
    fileno = _through("fileno")
    getblocking = _through("getblocking")
    getpeername = _through("getpeername")
    getsockname = _through("getsockname")
    getsockopt = _through("getsockopt")
    gettimeout = _through("gettimeout")
    listen = _through("listen")
    makefile = _through("makefile")
    recv = _through("recv")
    recv_into = _through("recv_into")
    send = _through("send")
    sendall = _through("sendall")
    sendfile = _through("sendfile")
    setblocking = _through("setblocking")
    setsockopt = _through("setsockopt")
    settimeout = _through("settimeout")
    shutdown = _through("shutdown")
    unwrap = _through("unwrap")
    update_keys = _through("update_keys")

    def accept(self) -> Any:
        accepted, address = self.inner.accept()
        return self.__class__(accepted, self.context), address

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: object) -> None:
        self.inner.__exit__(*raised)


class Context:
    """What both sides' contexts have in common."""

    kind: str
    buffer: type[Buffer] = Buffer
    socket: type[Socket] = Socket
    #: What the inner context does not verify, if it is an insecure one.
    unverified: dict[str, bool] | None = None

    def __init__(self, configuration: Any) -> None:
        self.inner = self.make_inner(configuration)
        self._configuration = configuration

    @property
    def configuration(self) -> Any:
        return self._configuration

    effective_ciphers = _fact("effective_ciphers")
    effective_groups = _fact("effective_groups")
    statistics = _fact("statistics")
    handshake_may_block = _fact("handshake_may_block")

    def changed(self, configuration: Any) -> Any:
        """The configuration that the inner context gets."""
        return configuration

    def make_inner(self, configuration: Any) -> Any:
        configuration = self.changed(configuration)
        if self.unverified is None:
            return getattr(RUSTLS, f"{self.kind}_context")(configuration)
        with _quietly(self.unverified):
            insecure = InsecureConfiguration(**self.unverified)
            return getattr(RUSTLS, f"insecure_{self.kind}_context")(configuration, insecure)

    def connect(self, *given: Any, **named: Any) -> Any:
        with _quietly(self.unverified):
            return self.socket(self.inner.connect(*given, **self.inside(named)), self)

    def wrap_socket(self, sock: Any, *given: Any, **named: Any) -> Any:
        with _quietly(self.unverified):
            return self.socket(self.inner.wrap_socket(sock, *given, **self.inside(named)), self)

    def inside(self, named: dict[str, Any]) -> dict[str, Any]:
        """What the inner context gets of keywords."""
        session = named.get("session")
        return named if session is None else named | {"session": lineage_of(session, self)}


class Client(Context):
    kind = "client"

    def connect(self, address: Any, *, accept_truncated_end: bool = False, **named: Any) -> Any:
        return super().connect(address, accept_truncated_end=accept_truncated_end, **named)

    def create_buffer(self, server_hostname: str, **named: Any) -> Any:
        with _quietly(self.unverified):
            inner = self.inner.create_buffer(server_hostname, **self.inside(named))
            return self.buffer(inner, self)


class Server(Context):
    kind = "server"

    def connect(
        self,
        address: Any,
        *,
        reuse_port: bool = False,
        dual_stack: bool = False,
        do_handshake_on_accept: bool = True,
        accept_truncated_end: bool = False,
        **named: Any,
    ) -> Any:
        named |= {"reuse_port": reuse_port, "dual_stack": dual_stack}
        named["accept_truncated_end"] = accept_truncated_end
        return super().connect(address, do_handshake_on_accept=do_handshake_on_accept, **named)

    def create_buffer(self) -> Any:
        with _quietly(self.unverified):
            return self.buffer(self.inner.create_buffer(), self)


class Faulty(TLSImplementation[Any, Any]):
    """An implementation with a fault, and the case of the kit that must catch it."""

    def __init__(
        self,
        description: str,
        caught_by: str,
        *,
        client: type[Client] = Client,
        server: type[Server] = Server,
        buffer: type[Buffer] = Buffer,
        socket: type[Socket] = Socket,
        validate_config: Any = RUSTLS.validate_config,
        capabilities: Capabilities = RUSTLS.capabilities,
    ) -> None:
        def with_these(context: Any) -> Any:
            own = {
                name: kind
                for name, kind, honest in (("buffer", buffer, Buffer), ("socket", socket, Socket))
                if kind is not honest
            }
            return type(context.__name__, (context,), own)

        super().__init__(
            with_these(client),
            with_these(server),
            validate_config,
            name=RUSTLS.name,
            version=RUSTLS.version,
            capabilities=capabilities,
        )
        self.description = description
        self.caught_by = caught_by


HONEST: Final = Faulty("has no fault", "")


def _nothing(buffer: Any) -> Any:
    """What `read` returns at the end."""
    return b"" if buffer is None else 0


def _either(**members: Any) -> dict[str, Any]:
    """Both sides' contexts with these members."""
    return {
        "client": type("Client", (Client,), members),
        "server": type("Server", (Server,), members),
    }


def _with(**changes: Any) -> dict[str, Any]:
    """Both sides' contexts, with other configurations inside."""
    return _either(changed=lambda self, configuration: configuration.replace(**changes))


# --- verification ---


class _AnyName(Client):
    unverified = {"disable_hostname_check": True}  # noqa: RUF012


class _AnyServer(Client):
    unverified = {"disable_hostname_check": True, "disable_verification": True}  # noqa: RUF012


class _AnyClient(Server):
    unverified = _AnyServer.unverified

    def make_inner(self, configuration: Any) -> Any:
        asked = _asked_of_clients(configuration)
        if asked is ClientAuthentication.NONE:
            return RUSTLS.server_context(configuration)
        return super().make_inner(configuration)


def _asked_of_clients(configuration: Any) -> ClientAuthentication:
    by_default = ClientAuthentication.REQUIRED if configuration.trust_store else None
    return configuration.client_authentication or by_default or ClientAuthentication.NONE


def _common_names(certificate: bytes) -> list[bytes]:
    """The common names in a certificate, the issuer's first: all that these faults look at."""
    found = re.finditer(rb"\x06\x03\x55\x04\x03[\x0c\x13](.)", certificate, re.DOTALL)
    return [certificate[match.end() : match.end() + match[1][0]] for match in found]


class _VerifiesLate(Buffer):
    def _verify(self) -> None:
        presented = self.inner.info.peer_chain
        if presented is None:
            return
        trusted = self.context.configuration.trust_store.buffer.decode()
        anchors = _common_names(ssl.PEM_cert_to_DER_cert(trusted))
        if not any(_common_names(certificate)[0] in anchors for certificate in presented):
            raise CertificateVerificationError(
                "an unknown issuer",
                reason=VerificationFailure.UNKNOWN_ISSUER,
                hostname=self.inner.info.server_name,
                chain=presented,
            )

    def read(self, *given: Any, **named: Any) -> Any:
        self._verify()
        return self.inner.read(*given, **named)

    def write(self, *given: Any, **named: Any) -> Any:
        self._verify()
        return self.inner.write(*given, **named)


class _VerifiesLateClient(_AnyServer):
    buffer = _VerifiesLate


class _JudgesTheSession(Client):
    """Where it has been before, it judges the certificate that it was shown then."""

    def __init__(self, configuration: Any) -> None:
        super().__init__(configuration)
        self.visited: set[Any] = set()

    def connect(self, address: Any, **named: Any) -> Any:
        try:
            made = super().connect(address, **named)
        except CertificateVerificationError:
            if address not in self.visited:
                raise
            lax = self.configuration.replace(peer_verifier=None, trust_store=None)
            return _AnyServer(lax).connect(address, **named)
        self.visited.add(address)
        return made


class _MakesUpAName(Client):
    def create_buffer(self, server_hostname: str) -> Any:
        try:
            address = ip_address(server_hostname)
        except ValueError:
            return super().create_buffer(server_hostname)
        name = f"{address.packed.hex()}.made-up.example"
        return self.buffer(_AnyName(self.configuration).create_buffer(name).inner, self)


class _TellsAnAddress(Buffer):
    name: str | None = None

    @property
    def info(self) -> ConnectionInfo:
        told = self.inner.info
        return told if told.version is None else replace(told, server_name=self.name)


class _TellsAnAddressClient(Client):
    buffer = _TellsAnAddress

    def create_buffer(self, server_hostname: str) -> Any:
        made = super().create_buffer(server_hostname)
        made.name = server_hostname
        return made


class _OtherRefusal(Buffer):
    def do_handshake(self) -> None:
        try:
            self.inner.do_handshake()
        except CertificateVerificationError as error:
            raise self.instead_of(error) from None

    def instead_of(self, error: CertificateVerificationError) -> OSError:
        return OSError(str(error))


class _NoReason(_OtherRefusal):
    def instead_of(self, error: CertificateVerificationError) -> OSError:
        error.reason = VerificationFailure.OTHER
        return error


SKIPS_HOST_NAMES: Final = Faulty(
    "accepts a valid certificate of any name",
    "test_server_names::test_a_name_that_the_certificate_does_not_have_is_refused",
    client=_AnyName,
)
SKIPS_VERIFICATION: Final = Faulty(
    "accepts any certificate of a server",
    "test_verification::test_an_unknown_authority_is_refused",
    client=_AnyServer,
)
VERIFIES_AFTER_THE_HANDSHAKE: Final = Faulty(
    "verifies the server at the first read or write, when the client's certificate is out",
    "test_verification::"
    "test_neither_data_nor_a_client_certificate_goes_out_to_a_server_that_is_refused",
    client=_VerifiesLateClient,
)
JUDGES_THE_SESSION: Final = Faulty(
    "judges the certificate of a session that it has, whatever the server presents now",
    "test_judged_handshakes::test_another_server_at_the_same_address_is_refused",
    client=_JudgesTheSession,
)
RAISES_PLAIN_OS_ERRORS: Final = Faulty(
    "raises a plain OSError where a certificate is refused",
    "test_verification::test_an_unknown_authority_is_refused",
    buffer=_OtherRefusal,
)
GIVES_NO_REASON: Final = Faulty(
    "refuses every certificate for the reason OTHER",
    "test_verification::test_a_certificate_outside_its_time_is_refused",
    buffer=_NoReason,
)
MAKES_UP_A_SERVER_NAME: Final = Faulty(
    "asks for a made-up name where an address was dialled",
    "test_server_names::test_an_address_is_verified_but_never_asked_for",
    client=_MakesUpAName,
)
TELLS_AN_ADDRESS_AS_SERVER_NAME: Final = Faulty(
    "says that an address was sent as the server's name",
    "test_more::test_an_address_is_told_by_neither_side_as_a_server_name",
    client=_TellsAnAddressClient,
)


# --- trust, and custom verification ---


def _with_store(change: Any) -> dict[str, Any]:
    """Both sides' contexts, with what `change` makes of a given trust store."""

    def changed(self: Any, configuration: Any) -> Any:
        store = configuration.trust_store
        return configuration if store is None else configuration.replace(trust_store=change(store))

    return _either(changed=changed)


def _pins_as_anchors(store: TrustStore) -> TrustStore:
    if store.pins is None or not store.pins.certificates:
        return store
    return TrustStore.from_buffer(store.pins.certificates[0].buffer or b"")


def _pins_of_any_name(store: TrustStore) -> TrustStore:
    if store.pins is None:
        return store
    pins = store.pins
    return TrustStore.pinned(pins.certificates, pins.spki_sha256, check_hostname=False)


def _without_lists(store: TrustStore) -> TrustStore:
    return TrustStore(store.buffer, store.path, extra=store.extra) if store.crls else store


def _without_a_single_list(store: TrustStore) -> TrustStore:
    return _without_lists(store) if len(store.crls) == 1 else store


def _extra_alone(store: TrustStore) -> TrustStore:
    if store.source != "system" or not store.extra:
        return store
    return TrustStore.from_buffer(
        b"".join(ssl.DER_cert_to_PEM_cert(each.buffer or b"").encode() for each in store.extra)
    )


def _with_verifier(change: Any) -> dict[str, Any]:
    """Both sides' contexts, with what `change` makes of a given verifier."""

    def changed(self: Any, configuration: Any) -> Any:
        verifier = configuration.peer_verifier
        return configuration.replace(peer_verifier=None if verifier is None else change(verifier))

    return _either(changed=changed)


def _asked_once(verifier: Any) -> Any:
    known = set()

    def ask(peer: Any) -> None:
        if peer.presented_chain not in known:
            verifier(peer)
            known.add(peer.presented_chain)

    return ask


def _one_at_a_time(verifier: Any) -> Any:
    turn = threading.Lock()

    def ask(peer: Any) -> Any:
        # Not for ever, as it might be.
        if not turn.acquire(timeout=SOON):
            raise TimeoutError("another client is being looked at")
        try:
            return verifier(peer)
        finally:
            turn.release()

    return ask


def _deaf(verifier: Any) -> Any:
    def ask(peer: Any) -> None:
        verifier(peer)

    return ask


def _only_exceptions(verifier: Any) -> Any:
    def ask(peer: Any) -> Any:
        try:
            return verifier(peer)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            return None

    return ask


def _changed_refusal(change: Any) -> dict[str, Any]:
    """A buffer whose refusals are as `change` leaves them."""

    def instead_of(self: Any, error: Any) -> Any:
        change(error)
        return error

    return {"buffer": type("Buffer", (_OtherRefusal,), {"instead_of": instead_of})}


def _changed_info(change: Any) -> dict[str, Any]:
    def info(self: Any) -> ConnectionInfo:
        told = self.inner.info
        return told if told.version is None else change(told)

    return {"buffer": type("Buffer", (Buffer,), {"info": property(info)})}


TAKES_PINS_FOR_ANCHORS: Final = Faulty(
    "accepts what a pinned authority has issued",
    "test_pins::test_a_pinned_authority_does_not_speak_for_others",
    **_with_store(_pins_as_anchors),
)
PINS_ANY_NAME: Final = Faulty(
    "accepts a pinned certificate under any name",
    "test_pins::test_the_host_name_is_checked_unless_said_otherwise",
    **_with_store(_pins_of_any_name),
)
IGNORES_REVOCATION_LISTS: Final = Faulty(
    "takes revocation lists and looks at none",
    "test_revocation::test_a_revoked_certificate_is_refused",
    **_with_store(_without_lists),
)
ACCEPTS_UNKNOWN_REVOCATION_STATUS: Final = Faulty(
    "accepts a chain of which one certificate is in no list",
    "test_revocation::test_a_status_that_no_list_tells_is_refused",
    **_with_store(_without_a_single_list),
)
SWAPS_EXTRA_IN: Final = Faulty(
    "trusts extra certificates in place of the system's",
    "test_explanations::test_extra_certificates_are_added_to_the_systems",
    **_with_store(_extra_alone),
)
IGNORES_THE_VERIFIER: Final = Faulty(
    "takes a verifier and never asks it",
    "test_peer_verifier::test_a_peer_that_it_refuses_gets_nothing_more",
    **_with(peer_verifier=None),
)
ASKS_THE_VERIFIER_ONCE: Final = Faulty(
    "does not ask the verifier where a session is resumed",
    "test_peer_verifier::test_it_is_asked_about_resumed_servers_too",
    **_with_verifier(_asked_once),
)
HOLDS_OTHERS_UP: Final = Faulty(
    "asks the verifier of one listener about one client at a time",
    "test_slow_callbacks::test_others_get_through_while_one_is_held",
    **_with_verifier(_one_at_a_time),
)
DOES_NOT_LOOK_AT_WHAT_A_VERIFIER_RETURNS: Final = Faulty(
    "goes on where the verifier returns False",
    "test_peer_verifier::test_whatever_it_returns_but_none_refuses",
    **_with_verifier(_deaf),
)
GOES_ON_WHERE_A_VERIFIER_IS_INTERRUPTED: Final = Faulty(
    "accepts a peer while whose verification a KeyboardInterrupt came",
    "test_peer_verifier::test_what_is_no_exception_is_raised_as_it_is_and_refuses",
    **_with_verifier(_only_exceptions),
)
FORGETS_THE_CAUSE: Final = Faulty(
    "does not tell what the verifier raised",
    "test_peer_verifier::test_a_server_that_it_refuses_gets_an_alert",
    **_changed_refusal(lambda error: None),
)
BLAMES_THE_CALLER: Final = Faulty(
    "says that the caller is always responsible",
    "test_explanations::test_a_chain_without_its_intermediate_is_the_operators_turn",
    **_changed_refusal(lambda error: setattr(error, "responsible", Responsible.YOU)),
)
NAMES_THE_LEAF: Final = Faulty(
    "says that it is always the leaf that is at fault",
    "test_explanations::test_an_expired_certificate_says_which_and_since_when",
    **_changed_refusal(lambda error: setattr(error, "index", 0)),
)
TELLS_NO_NAMES: Final = Faulty(
    "does not tell which names would do",
    "test_explanations::test_a_wrong_name_lists_those_that_would_do",
    **_changed_refusal(lambda error: setattr(error, "names", ())),
)
TAKES_PRESENTED_FOR_VERIFIED: Final = Faulty(
    "tells the chain that was presented as the one that was verified",
    "test_explanations::test_what_was_presented_and_what_was_verified_are_told_apart",
    **_changed_info(lambda told: replace(told, verified_chain=told.peer_chain)),
)
READS_NO_CERTIFICATE: Final = Faulty(
    "does not tell what is in the peer's certificate",
    "test_explanations::test_a_server_reads_its_clients_identity_in_one_line",
    **_changed_info(lambda told: replace(told, peer=None)),
)
ACCEPTS_CHAINS_OF_ANY_NAME: Final = Faulty(
    "accepts a chain of the table under any name",
    "test_chains::test_a_chain",
    client=_AnyName,
)
ACCEPTS_WEAK_KEYS: Final = Faulty(
    "accepts keys and signatures that are too weak",
    "test_bad_certificates::test_weak_signatures_and_keys_are_refused",
    client=_AnyServer,
)


class _BlamesTheCertificate(Buffer):
    def do_handshake(self) -> None:
        try:
            self.inner.do_handshake()
        except PeerMisbehaved as error:
            raise CertificateVerificationError(
                str(error), reason=VerificationFailure.BAD_SIGNATURE
            ) from None


TELLS_THE_SOURCE: Final = Faulty(
    "tells of a refusal what its library calls it",
    "test_odd_certificates::test_an_odd_certificate",
    **_changed_refusal(
        lambda error: setattr(error, "args", ("Other(OtherError(UnsupportedCertVersion))",))
    ),
)
BLAMES_THE_CERTIFICATE: Final = Faulty(
    "says that a certificate is wrong whose key has not signed the handshake",
    "test_verification::test_a_handshake_that_the_certificates_key_has_not_signed_is_refused",
    buffer=_BlamesTheCertificate,
)


# --- client authentication ---


class _Lenient(Server):
    def changed(self, configuration: Any) -> Any:
        if _asked_of_clients(configuration) is ClientAuthentication.REQUIRED:
            return configuration.replace(client_authentication=ClientAuthentication.OPTIONAL)
        return configuration


class _AsksOnlyOnce(Buffer):
    def do_handshake(self) -> None:
        self.inner.do_handshake()
        asked = _asked_of_clients(self.context.configuration)
        if (
            asked is ClientAuthentication.REQUIRED
            and self.inner.getpeercert() is None
            and not self.inner.info.resumed
        ):
            raise CertificateVerificationError(
                "no certificate", reason=VerificationFailure.NO_CERTIFICATE
            )


class _OneCacheForAll(Server):
    buffer = _AsksOnlyOnce
    made: dict[Any, Any] = {}  # noqa: RUF012

    def make_inner(self, configuration: Any) -> Any:
        if configuration.trust_store is None:
            return super().make_inner(configuration)
        lax = configuration.replace(client_authentication=ClientAuthentication.OPTIONAL)
        if lax not in self.made:
            self.made[lax] = super().make_inner(lax)
        return self.made[lax]


def _shared(self: Any, configuration: Any) -> Any:
    key = (type(self), configuration)
    if key not in _MADE:
        _MADE[key] = Context.make_inner(self, configuration)
    return _MADE[key]


_MADE: Final[dict[Any, Any]] = {}

ACCEPTS_NO_CLIENT_CERTIFICATE: Final = Faulty(
    "accepts a client without a certificate under REQUIRED",
    "test_client_authentication::test_a_client_is_asked_as_configured",
    server=_Lenient,
)
ACCEPTS_ANY_CLIENT_CERTIFICATE: Final = Faulty(
    "accepts whatever certificate a client presents",
    "test_client_authentication::test_a_certificate_that_is_presented_is_verified",
    server=_AnyClient,
)
ACCEPTS_TICKETS_OF_LAXER_SERVERS: Final = Faulty(
    "resumes a session of a NONE context under REQUIRED without asking for a certificate",
    "test_resumption::test_a_session_of_a_laxer_server_does_not_open_a_stricter_one",
    server=_OneCacheForAll,
)


# --- sessions ---

SHARES_SESSIONS_BETWEEN_CONTEXTS: Final = Faulty(
    "resumes sessions of other contexts",
    "test_resumption::test_each_context_remembers_for_itself",
    **_either(make_inner=_shared),
)
NEVER_RESUMES: Final = Faulty(
    "resumes nothing, though its capabilities say that it does",
    "test_resumption::test_the_second_connection_is_resumed_by_default",
    **_with(sessions=None),
)
RESUMES_AGAINST_ITS_ORDERS: Final = Faulty(
    "resumes sessions where sessions=None forbids it",
    "test_resumption::test_without_sessions_on_either_side_nothing_is_resumed",
    **_with(sessions=SessionCache()),
)


# --- configuration ---


class _FirstChain(Server):
    def changed(self, configuration: Any) -> Any:
        return configuration.replace(certificate_chain=configuration.certificate_chain[:1])


class _Backwards(Server):
    def changed(self, configuration: Any) -> Any:
        return configuration.replace(inner_protocols=configuration.inner_protocols[::-1])


class _InventsAProtocol(Buffer):
    def negotiated_protocol(self) -> Any:
        return self.info.alpn

    @property
    def info(self) -> ConnectionInfo:
        told = self.inner.info
        if told.version is None or told.alpn is not None:
            return told
        return replace(told, alpn=NextProtocol.HTTP1)


def _any_cipher(self: Any, configuration: Any) -> Any:
    return configuration.replace(ciphers=None)


def _requested_ciphers(self: Any) -> Any:
    """What was asked for, as if it had taken effect."""
    return self.configuration.ciphers or self.inner.effective_ciphers


def _sorted_ciphers(self: Any, configuration: Any) -> Any:
    ciphers = configuration.ciphers
    return configuration.replace(ciphers=None if ciphers is None else sorted(ciphers))


def _no_ids(self: Any, configuration: Any) -> Any:
    store = configuration.trust_store
    if store is None or store.source != "id":
        return configuration
    return configuration.replace(trust_store=None)


class _ReadsFilesAgain(Client):
    def create_buffer(self, server_hostname: str) -> Any:
        self.inner = self.make_inner(self.configuration)
        return super().create_buffer(server_hostname)


class _EncryptsNothing(Client):
    def inside(self, named: dict[str, Any]) -> dict[str, Any]:
        return super().inside({name: value for name, value in named.items() if name != "ech"})


def _shows_everything(self: Any) -> str:
    chains = self.configuration.certificate_chain or ()
    chains = chains if isinstance(chains, tuple) else (chains,)
    keys = [chain.leaf[1] and chain.leaf[1].buffer for chain in chains]
    return f"<{type(self).__name__} keys={keys!r}>"


IGNORES_THE_VERSION_FLOOR: Final = Faulty(
    "ignores lowest_supported_version",
    "test_handshake::test_without_a_common_version_both_sides_learn_why",
    **_with(lowest_supported_version=None),
)
IGNORES_THE_VERSION_CAP: Final = Faulty(
    "ignores highest_supported_version",
    "test_handshake::test_the_highest_version_that_both_allow_is_used",
    **_with(highest_supported_version=None),
)
IGNORES_THE_CLOCK: Final = Faulty(
    "takes a clock and reads the machine's",
    "test_clocks::test_a_certificate_expires",
    **_with(clock=None),
)
ENCRYPTS_NO_CLIENT_HELLO: Final = Faulty(
    "takes a list of configurations, and encrypts no ClientHello",
    "test_ech::test_an_observer_sees_only_the_public_name",
    client=_EncryptsNothing,
)
IGNORES_SIGNATURE_SCHEMES: Final = Faulty(
    "ignores signature_schemes",
    "test_preferences::test_the_signers_order_decides",
    **_with(signature_schemes=None),
)
TELLS_NO_EVENTS: Final = Faulty(
    "takes a listener and tells it nothing",
    "test_events::test_each_connection_has_a_number_of_its_own",
    **_with(on_event=None),
)
IGNORES_CA_NAMES: Final = Faulty(
    "ignores certificate_authorities",
    "test_preferences::test_a_server_may_send_no_names",
    **_with(certificate_authorities=None),
)
IGNORES_CIPHERS: Final = Faulty(
    "ignores ciphers, and says that they are in effect",
    "test_handshake::test_a_suite_asked_for_is_used_or_refused",
    **_either(changed=_any_cipher, effective_ciphers=property(_requested_ciphers)),
)
IGNORES_THE_ORDER_OF_CIPHERS: Final = Faulty(
    "sorts ciphers by number",
    "test_handshake::test_the_servers_order_of_suites_decides_where_it_gave_one",
    **_either(changed=_sorted_ciphers, effective_ciphers=property(_requested_ciphers)),
)
IGNORES_GROUPS: Final = Faulty(
    "ignores groups",
    "test_handshake::test_a_group_asked_for_is_used_or_refused",
    **_with(groups=None),
)
IGNORES_PROTOCOLS: Final = Faulty(
    "ignores inner_protocols, so that peers without a common one get on",
    "test_handshake::test_without_a_common_protocol_the_handshake_fails",
    **_with(inner_protocols=None),
)
IGNORES_THE_ORDER_OF_PROTOCOLS: Final = Faulty(
    "prefers the server's last protocol",
    "test_handshake::test_the_servers_preferred_common_protocol_is_agreed_on",
    server=_Backwards,
)
INVENTS_A_PROTOCOL: Final = Faulty(
    "tells of HTTP/1.1 where no protocol was agreed on",
    "test_handshake::test_the_servers_preferred_common_protocol_is_agreed_on",
    buffer=_InventsAProtocol,
)
KNOWS_ONE_CHAIN_ONLY: Final = Faulty(
    "answers with its first chain whatever name is asked for",
    "test_server_names::test_the_chain_is_chosen_by_the_name_asked_for",
    server=_FirstChain,
)
VALIDATES_NOTHING: Final = Faulty(
    "has a validate_config that accepts everything, ids too",
    "test_bad_input::test_ids_are_refused_that_name_nothing",
    validate_config=lambda configuration: None,
)
TAKES_AN_ID_FOR_THE_SYSTEM: Final = Faulty(
    "silently trusts the system where a trust store's id is given",
    "test_bad_input::test_a_wish_that_cannot_be_granted_is_refused_on_both_sides",
    **_either(changed=_no_ids),
)
READS_FILES_AGAIN: Final = Faulty(
    "reads its files for each connection",
    "test_verification::test_a_store_is_read_once_when_the_context_is_made",
    client=_ReadsFilesAgain,
)
SHOWS_KEYS: Final = Faulty(
    "has contexts whose repr shows the private key",
    "test_more::test_a_context_shows_no_key",
    **_either(__repr__=_shows_everything),
)


# --- data ---


class _LosesAByteAtASplit(Buffer):
    def process_incoming(self, data_from_network: Any) -> None:
        data = bytes(data_from_network)
        self.inner.process_incoming(data[1:] if 1 < len(data) < 5 else data)


class _LosesWhatWasNotAskedFor(Buffer):
    def read(self, amt: int, buffer: Any = None) -> Any:
        found = self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        if rest := self.inner.pending():
            self.inner.read(rest)
        return found


class _TakesNegativeAmounts(Buffer):
    def read(self, amt: Any, buffer: Any = None) -> Any:
        amt = 1 << 30 if isinstance(amt, int) and amt < 0 else amt
        return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)


class _SaysAllWasTaken(Buffer):
    def write(self, buf: Any) -> int:
        self.inner.write(buf)
        return memoryview(buf).nbytes


class _WritesTooEarly(Buffer):
    def write(self, buf: Any) -> int:
        try:
            return self.inner.write(buf)
        except WantReadError:
            return memoryview(buf).nbytes


class _RefusesMuchAtOnce(Buffer):
    def process_incoming(self, data_from_network: Any) -> None:
        if memoryview(data_from_network).nbytes > 65_536:
            raise WantReadError("too much at once")
        self.inner.process_incoming(data_from_network)


class _Queue(Buffer):
    """Keeps what comes in until it is needed."""

    def __init__(self, inner: Any, context: Any) -> None:
        super().__init__(inner, context)
        self.queue: deque[Any] = deque()

    def _feed(self) -> None:
        while self.queue:
            try:
                self.inner.process_incoming(self.queue[0])
            except WantReadError:
                return
            self.queue.popleft()

    def do_handshake(self) -> None:
        self._feed()
        self.inner.do_handshake()

    def read(self, *given: Any, **named: Any) -> Any:
        self._feed()
        return self.inner.read(*given, **named)

    def write(self, buf: Any) -> int:
        self._feed()
        return self.inner.write(buf)

    def shutdown(self) -> None:
        self._feed()
        self.inner.shutdown()

    def incoming_bytes_buffered(self) -> int:
        queued = sum(memoryview(piece).nbytes for piece in self.queue)
        return self.inner.incoming_bytes_buffered() + queued


class _NeverFull(_Queue):
    def process_incoming(self, data_from_network: Any) -> None:
        self.queue.append(bytes(data_from_network))
        self._feed()


class _KeepsNoCopy(_Queue):
    def process_incoming(self, data_from_network: Any) -> None:
        self.queue.append(data_from_network)


class _TellsTooEarly(Buffer):
    def getpeercert(self) -> Any:
        return self.inner.getpeercert() or b""


class _ShowsData(Buffer):
    last: Any = b""

    def read(self, *given: Any, **named: Any) -> Any:
        self.last = self.inner.read(*given, **named)
        return self.last

    def write(self, buf: Any) -> int:
        self.last = bytes(buf)
        return self.inner.write(buf)

    def __repr__(self) -> str:
        return f"{self.inner!r} {self.last!r}"


LOSES_A_BYTE_AT_A_SPLIT: Final = Faulty(
    "loses a byte where the transport delivers two to four at once",
    "test_buffer::test_a_connection_works_however_its_bytes_are_cut",
    buffer=_LosesAByteAtASplit,
)
LOSES_WHAT_WAS_NOT_ASKED_FOR: Final = Faulty(
    "loses the rest of a record that was not read whole",
    "test_buffer::test_read_gives_up_to_so_many_bytes",
    buffer=_LosesWhatWasNotAskedFor,
)
TAKES_NEGATIVE_AMOUNTS: Final = Faulty(
    "reads all there is where the amount is negative",
    "test_buffer::test_read_refuses_what_it_cannot_do_and_loses_nothing",
    buffer=_TakesNegativeAmounts,
)
SAYS_THAT_ALL_WAS_TAKEN: Final = Faulty(
    "says that all was written when part of it was",
    "test_buffer::test_write_takes_less_at_the_limit_then_asks_to_be_drained",
    buffer=_SaysAllWasTaken,
)
WRITES_BEFORE_THE_HANDSHAKE: Final = Faulty(
    "takes data before the handshake is done, and drops it",
    "test_buffer::test_nothing_is_written_or_read_before_the_handshake",
    buffer=_WritesTooEarly,
)
REFUSES_MUCH_AT_ONCE: Final = Faulty(
    "refuses a chunk that is larger than its limit for ever",
    "test_buffer::test_below_the_limit_any_amount_is_taken_at_once",
    buffer=_RefusesMuchAtOnce,
)
HAS_NO_LIMIT: Final = Faulty(
    "stores what comes in without a limit",
    "test_buffer::test_incoming_bytes_are_refused_whole_at_the_limit_and_taken_after_reading",
    buffer=_NeverFull,
)
KEEPS_NO_COPY: Final = Faulty(
    "keeps the caller's memory where it should copy what came in",
    "test_buffer::test_process_incoming_takes_any_buffer_and_keeps_a_copy",
    buffer=_KeepsNoCopy,
)
TELLS_A_CERTIFICATE_TOO_EARLY: Final = Faulty(
    "tells of an empty certificate before the handshake",
    "test_handshake::test_nothing_is_told_before_the_handshake_is_done",
    buffer=_TellsTooEarly,
)
SHOWS_DATA: Final = Faulty(
    "has buffers whose repr shows data",
    "test_buffer_objects::test_a_repr_is_short_and_tells_no_data",
    buffer=_ShowsData,
)


# --- ends and errors ---


class _SwallowsRaggedEnds(Buffer):
    def read(self, amt: int, buffer: Any = None) -> Any:
        try:
            return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        except RaggedEOF:
            return _nothing(buffer)


class _ForgetsRaggedEnds(Buffer):
    told = False

    def read(self, amt: int, buffer: Any = None) -> Any:
        try:
            return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        except RaggedEOF:
            if self.told:
                return _nothing(buffer)
            self.told = True
            raise


class _EndsBeforeItsData(Buffer):
    ended = False

    def process_incoming(self, data_from_network: Any) -> None:
        self.inner.process_incoming(data_from_network)
        self.ended |= not memoryview(data_from_network).nbytes

    def read(self, amt: int, buffer: Any = None) -> Any:
        if self.ended and self.inner.cipher() is not None:
            raise RaggedEOF("the transport ended")
        return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)


class _DoesNotSeeTheEnd(Buffer):
    def process_incoming(self, data_from_network: Any) -> None:
        if memoryview(data_from_network).nbytes:
            self.inner.process_incoming(data_from_network)


class _HidesAlerts(Buffer):
    def read(self, amt: int, buffer: Any = None) -> Any:
        try:
            return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        except AlertReceived:
            return _nothing(buffer)


class _ForgetsErrors(Buffer):
    failed = False

    def read(self, amt: int, buffer: Any = None) -> Any:
        if self.failed:
            return _nothing(buffer)
        try:
            return self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        except (WantReadError, RaggedEOF):
            raise
        except TLSError:
            self.failed = True
            raise


class _OneError(Buffer):
    error: TLSError | None = None

    def _once(self, call: Any, *given: Any, **named: Any) -> Any:
        try:
            return call(*given, **named)
        except (WantReadError, WantWriteError):
            raise
        except TLSError as error:
            if self.error is None:
                self.error = error
        raise self.error

    def do_handshake(self) -> None:
        self._once(self.inner.do_handshake)

    def read(self, *given: Any, **named: Any) -> Any:
        return self._once(self.inner.read, *given, **named)

    def write(self, *given: Any, **named: Any) -> Any:
        return self._once(self.inner.write, *given, **named)


class _SendsNoAlert(Buffer):
    failed = False

    def do_handshake(self) -> None:
        try:
            self.inner.do_handshake()
        except WantReadError:
            raise
        except TLSError:
            self.failed = True
            raise

    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        found = self.inner.process_outgoing(amount_bytes_for_network)
        return b"" if self.failed else found


class _HasOneAlert(Buffer):
    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        found = self.inner.process_outgoing(amount_bytes_for_network)
        handshake_failure = b"\x15\x03\x03\x00\x02\x02\x28"
        return handshake_failure if found[:6] == handshake_failure[:6] else found


class _SealsNoAlert(Buffer):
    failed = False

    def read(self, *given: Any) -> Any:
        try:
            return self.inner.read(*given)
        except PeerMisbehaved:
            self.failed = True
            raise

    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        found = self.inner.process_outgoing(amount_bytes_for_network)
        return b"" if self.failed else found


class _DoesNotNameHTTP(Buffer):
    def do_handshake(self) -> None:
        try:
            self.inner.do_handshake()
        except NotTLSError as error:
            raise PeerMisbehaved(str(error)) from None


class _LosesDataBeforeTheEnd(Buffer):
    """Looks for close_notify first, as one that handles a whole flight at once might."""

    ended = False
    found = b""

    def read(self, amt: int, buffer: Any = None) -> Any:
        try:
            while not self.ended and amt and (piece := self.inner.read(65_536)):
                self.found += piece
            self.ended |= amt > 0
        except WantReadError:
            if not self.found:
                raise
        if self.ended:
            return _nothing(buffer)
        given, self.found = self.found[:amt], self.found[amt:]
        if buffer is None:
            return given
        memoryview(buffer).cast("B")[: len(given)] = given
        return len(given)


class _LosesWhatFollows(Buffer):
    ended = False

    def read(self, amt: int, buffer: Any = None) -> Any:
        found = self.inner.read(amt) if buffer is None else self.inner.read(amt, buffer)
        self.ended |= amt > 0 and not found
        return found

    def incoming_bytes_buffered(self) -> int:
        return 0 if self.ended else self.inner.incoming_bytes_buffered()


class _DoesNotWaitForGoodbye(Buffer):
    def shutdown(self) -> None:
        try:
            self.inner.shutdown()
        except WantReadError:
            return


class _WritesTooLate(Buffer):
    over = False

    def shutdown(self) -> None:
        self.over = True
        self.inner.shutdown()

    def write(self, buf: Any) -> int:
        return memoryview(buf).nbytes if self.over else self.inner.write(buf)


SWALLOWS_RAGGED_ENDS: Final = Faulty(
    "tells a ragged end as an orderly one",
    "test_buffer_end::test_a_ragged_end_is_told_after_all_data_before_it_and_for_ever",
    buffer=_SwallowsRaggedEnds,
)
FORGETS_RAGGED_ENDS: Final = Faulty(
    "tells a ragged end once, and then an orderly one",
    "test_buffer_end::test_a_ragged_end_is_told_after_all_data_before_it_and_for_ever",
    buffer=_ForgetsRaggedEnds,
)
TELLS_RAGGED_ENDS_BEFORE_DATA: Final = Faulty(
    "tells a ragged end before the data that came first",
    "test_buffer_end::test_a_ragged_end_is_told_after_all_data_before_it_and_for_ever",
    buffer=_EndsBeforeItsData,
)
DOES_NOT_SEE_THE_END: Final = Faulty(
    "does not take process_incoming(b'') for the transport's end",
    "test_buffer_end::test_an_end_inside_the_handshake_says_so",
    buffer=_DoesNotSeeTheEnd,
)
TURNS_ALERTS_INTO_ENDS: Final = Faulty(
    "reads a fatal alert as an orderly end",
    "test_hostile_peers::test_a_fatal_alert_in_the_handshake_is_told_by_its_number",
    buffer=_HidesAlerts,
)
FORGETS_ERRORS: Final = Faulty(
    "reads b'' for ever after a fatal error",
    "test_buffer_end::test_misconduct_is_told_after_earlier_data_and_by_every_later_call",
    buffer=_ForgetsErrors,
)
RAISES_ONE_ERROR_OBJECT: Final = Faulty(
    "raises one and the same object for a fatal error in every call",
    "test_buffer_end::test_a_refused_certificate_is_told_by_every_later_call",
    buffer=_OneError,
)
SENDS_NO_ALERT: Final = Faulty(
    "has nothing for the peer after a fatal error",
    "test_buffer_end::test_the_alert_can_be_drained_after_the_error",
    buffer=_SendsNoAlert,
)
HAS_ONE_ALERT: Final = Faulty(
    "tells the peer of every fault by handshake_failure",
    "test_alerts::test_a_record_that_may_not_come_is_answered_by_its_alert",
    buffer=_HasOneAlert,
)
SEALS_NO_ALERT: Final = Faulty(
    "has nothing for a peer that seals what it may not say",
    "test_sealed_alerts::test_a_wrong_record_after_the_handshake_is_answered_by_its_alert",
    buffer=_SealsNoAlert,
)
DOES_NOT_NAME_HTTP: Final = Faulty(
    "takes plain HTTP for broken TLS",
    "test_hostile_peers::test_what_is_not_tls_is_named",
    buffer=_DoesNotNameHTTP,
)
LOSES_DATA_BEFORE_THE_END: Final = Faulty(
    "loses data that came together with close_notify",
    "test_buffer_end::test_data_before_close_notify_is_delivered_first",
    buffer=_LosesDataBeforeTheEnd,
)
LOSES_WHAT_FOLLOWS_THE_END: Final = Faulty(
    "loses the bytes that follow close_notify",
    "test_buffer_end::test_bytes_behind_close_notify_are_not_touched",
    buffer=_LosesWhatFollows,
)
DOES_NOT_WAIT_FOR_GOODBYE: Final = Faulty(
    "returns from shutdown before the peer's close_notify has come",
    "test_buffer_end::test_closing_takes_close_notify_in_both_directions",
    buffer=_DoesNotWaitForGoodbye,
)
WRITES_AFTER_SHUTDOWN: Final = Faulty(
    "takes data after shutdown, and drops it",
    "test_buffer_end::test_reading_goes_on_after_shutdown_and_writing_does_not",
    buffer=_WritesTooLate,
)


# --- fused calls ---


class _ForgetsWhatWaited(Buffer):
    def seal(self, buf: Any) -> bytes:
        self.inner.process_outgoing(self.inner.outgoing_bytes_buffered())
        return self.inner.seal(buf)


class _SealsToTheLimit(Buffer):
    def seal(self, buf: Any) -> bytes:
        self.inner.write(buf)
        return self.inner.process_outgoing(self.inner.outgoing_bytes_buffered())


class _RaisesForNothing(Buffer):
    def open(self, data: Any, amt: int, buffer: Any = None) -> Any:
        found = self.inner.open(data, amt, buffer)
        if found is None:
            raise WantReadError("nothing is there")
        return found


class _OpensAndForgets(Buffer):
    def open(self, data: Any, amt: int, buffer: Any = None) -> Any:
        found = self.inner.open(data, amt, buffer)
        while self.inner.open(None, 1 << 20):
            pass
        return found


class _TellsTheEndTooEarly(Buffer):
    def open(self, data: Any, amt: int, buffer: Any = None) -> Any:
        if data is not None and not len(data):
            raise RaggedEOF("the peer ended the connection", during_handshake=False)
        return self.inner.open(data, amt, buffer)


SEAL_FORGETS_WHAT_WAITED: Final = Faulty(
    "drops what waited to be sent when it seals more",
    "test_fused_calls::test_they_go_together_with_the_single_calls",
    buffer=_ForgetsWhatWaited,
)
SEALS_TO_THE_LIMIT: Final = Faulty(
    "seals no more than the outgoing buffer has room for",
    "test_fused_calls::test_seal_goes_beyond_the_outgoing_limit",
    buffer=_SealsToTheLimit,
)
OPEN_RAISES_FOR_NOTHING: Final = Faulty(
    "raises WantReadError where there is nothing to be read",
    "test_fused_calls::test_nothing_to_read_is_none_and_no_error",
    buffer=_RaisesForNothing,
)
OPENS_AND_FORGETS: Final = Faulty(
    "drops what the caller has no room for",
    "test_fused_calls::test_any_split_and_any_amount_will_do",
    buffer=_OpensAndForgets,
)
TELLS_THE_END_TOO_EARLY: Final = Faulty(
    "tells the transport's end before the data that came first",
    "test_fused_calls::test_a_ragged_end_is_told_after_all_data_and_for_ever",
    buffer=_TellsTheEndTooEarly,
)


# --- sockets ---


class _SwallowsRaggedEndsOfSockets(Socket):
    def recv(self, bufsize: int) -> bytes:
        try:
            return self.inner.recv(bufsize)
        except RaggedEOF:
            return b""


class _WantsInsteadOfTime(Socket):
    def recv(self, bufsize: int) -> bytes:
        try:
            return self.inner.recv(bufsize)
        except TimeoutError as error:
            raise WantReadError(str(error)) from None


class _AlwaysForces(Socket):
    def close(self, force: bool = False) -> None:
        self.inner.close(force=True)


class _StopsAtABadClient(Socket):
    seen = 0

    def accept(self) -> Any:
        accepted = super().accept()
        if self.inner.failed_handshakes > self.seen:
            accepted[0].close(force=True)
            self.seen = self.inner.failed_handshakes
            raise TLSError("a client failed")
        return accepted


class _OneAtATime(Socket):
    """Gives up where it would hang, so that nobody needs to wait for it."""

    def __init__(self, inner: Any, context: Any) -> None:
        super().__init__(inner, context)
        self.lock = threading.Lock()

    def _alone(self, call: Any, *given: Any) -> Any:
        if not self.lock.acquire(timeout=0.2):
            raise TLSError("another thread waits here")
        try:
            return call(*given)
        finally:
            self.lock.release()

    def recv(self, bufsize: int) -> bytes:
        return self._alone(self.inner.recv, bufsize)

    def send(self, bytes: Any) -> int:
        return self._alone(self.inner.send, bytes)

    def sendall(self, data: Any) -> None:
        self._alone(self.inner.sendall, data)


class _VerifiesTheHostDialled(Client):
    def connect(self, address: Any, **named: Any) -> Any:
        named.pop("server_hostname", None)
        return super().connect(address, **named)


SWALLOWS_RAGGED_ENDS_OF_SOCKETS: Final = Faulty(
    "tells a ragged end of a socket as an orderly one",
    "test_socket_ends::test_an_end_without_close_notify_is_told_after_all_data_and_for_ever",
    socket=_SwallowsRaggedEndsOfSockets,
)
WANTS_INSTEAD_OF_TIME: Final = Faulty(
    "raises WantReadError where a blocking socket runs out of time",
    "test_socket_timeouts::test_recv_waits_no_longer_and_loses_nothing",
    socket=_WantsInsteadOfTime,
)
CLOSES_WITHOUT_WAITING: Final = Faulty(
    "closes a socket before the peer's close_notify has come",
    "test_socket_nonblocking::test_close_raises_until_the_peer_has_answered",
    socket=_AlwaysForces,
)
STOPS_AT_A_BAD_CLIENT: Final = Faulty(
    "lets one bad client's failure out of accept",
    "test_socket_listeners::test_a_bad_client_is_counted_and_the_next_one_is_served",
    socket=_StopsAtABadClient,
)
ONE_THREAD_AT_A_TIME: Final = Faulty(
    "holds the connection's lock while it waits for the network",
    "test_socket_threads::test_a_thread_that_waits_to_receive_does_not_hold_up_one_that_sends",
    socket=_OneAtATime,
)
VERIFIES_THE_HOST_DIALLED: Final = Faulty(
    "ignores server_hostname, and verifies the host that it dialled",
    "test_socket_connections::test_the_name_to_verify_may_be_another_than_the_host_dialled",
    client=_VerifiesTheHostDialled,
)


# --- keying material ---


class _IgnoresTheContext(Buffer):
    def export_keying_material(self, label: Any, context: Any, length: int) -> bytes:
        del context
        return self.inner.export_keying_material(label, b"", length)


class _ExportsOneSecret(Buffer):
    def export_keying_material(self, label: Any, context: Any, length: int) -> bytes:
        self.inner.export_keying_material(label, context, length)
        if not isinstance(label, bytes):
            label = label.encode()
        return hashlib.shake_128(repr((label, context and bytes(context))).encode()).digest(length)


class _BindsToItsOwnCertificate(Server):
    def create_buffer(self) -> Any:
        buffer = super().create_buffer()
        leaf = self.configuration.certificate_chain[0].leaf[0].buffer
        binding = buffer.channel_binding

        def channel_binding(kind: str) -> bytes:
            found = binding(kind)
            return hashlib.sha256(leaf).digest() if kind == "tls-server-end-point" else found

        buffer.channel_binding = channel_binding
        return buffer


class _RefusesToExport(Buffer):
    def export_keying_material(self, label: Any, context: Any, length: int) -> bytes:
        raise ConfigurationError("export_keying_material: the library below has none")


CLAIMS_WHAT_IT_REFUSES: Final = Faulty(
    "has a method for exporting that exists only to raise",
    "test_claims::test_what_an_object_claims_it_does",
    buffer=_RefusesToExport,
)
CLAIMS_MORE_THAN_IT_SAYS: Final = Faulty(
    "has connections with early data, and capabilities without",
    "test_claims::test_a_connection_offers_what_the_capabilities_say",
    capabilities=RUSTLS.capabilities.replace(early_data=False),
)
IGNORES_THE_EXPORTERS_CONTEXT: Final = Faulty(
    "exports the same whatever the context",
    "test_exporters::test_label_context_and_connection_each_make_a_difference",
    buffer=_IgnoresTheContext,
)
EXPORTS_THE_SAME_FROM_EVERY_CONNECTION: Final = Faulty(
    "exports what does not depend on the connection",
    "test_exporters::test_a_resumed_connection_exports_material_of_its_own",
    buffer=_ExportsOneSecret,
)
BINDS_TO_THE_FIRST_CERTIFICATE: Final = Faulty(
    "binds to the first certificate of a server that presents another",
    "test_exporters::test_a_server_with_several_certificates_binds_to_the_one_that_it_presents",
    server=_BindsToItsOwnCertificate,
)


def _logs_as_the_environment_says(self: Any, configuration: Any) -> Any:
    key_log = configuration.key_log or key_log_from_environment()
    with _quietly(key_log):
        return Context.make_inner(self, configuration.replace(key_log=key_log))


def _shows_its_key_log(self: Any, configuration: Any) -> Any:
    path = configuration.key_log
    made = Context.make_inner(self, configuration)
    if isinstance(path, str):
        Path(path).chmod(0o644)
    return made


LOGS_KEYS_UNASKED: Final = Faulty(
    "writes its secrets to where SSLKEYLOGFILE says, though nobody asked for it",
    "test_key_log::test_the_environment_alone_makes_nobody_write_secrets",
    **_either(make_inner=_logs_as_the_environment_says),
)


class _Deaf:
    """A key log's function that nothing interrupts."""

    def __init__(self, log: Any) -> None:
        self.log = log

    def __call__(self, line: str) -> None:
        with suppress(KeyboardInterrupt, SystemExit):
            self.log(line)


def _is_not_interrupted(self: Any, configuration: Any) -> Any:
    log = configuration.key_log
    if not callable(log):
        return Context.make_inner(self, configuration)
    return Context.make_inner(self, configuration.replace(key_log=_Deaf(log)))


SWALLOWS_INTERRUPTIONS: Final = Faulty(
    "swallows a Ctrl-C that hits the function of a key log",
    "test_key_log::test_a_function_that_is_interrupted_ends_the_call_and_harms_no_connection",
    **_either(make_inner=_is_not_interrupted),
)
SHOWS_ITS_KEY_LOG: Final = Faulty(
    "writes its secrets to a file that everybody can read",
    "test_key_log::test_nobody_but_its_owner_can_read_the_file",
    **_either(make_inner=_shows_its_key_log),
)


# --- resumption, once more ---


class _CountsAllAsFull(Context):
    @property
    def statistics(self) -> Any:
        counted = self.inner.statistics
        return replace(counted, full=counted.full + counted.resumed, resumed=0)


class _ForgetsThePort(Client):
    def connect(self, address: Any, **named: Any) -> Any:
        # A buffer is told no port.
        host, timeout = named["server_hostname"], named["timeout"]
        stream = connect(
            resolve(address),
            self.inner,
            lambda: self.inner.create_buffer(host),
            timeout,
        )
        return self.socket(stream, self)


def _without_ticket_keys(self: Any, configuration: Any) -> Any:
    return configuration.replace(ticket_keys=None) if self.kind == "server" else configuration


def _without_the_secret_before(_self: Any, configuration: Any) -> Any:
    keys = getattr(configuration, "ticket_keys", None)
    return (
        configuration.replace(ticket_keys=TicketKeys.from_secret(keys.secret))
        if keys
        else configuration
    )


def _for_a_week(_self: Any, configuration: Any) -> Any:
    keys = getattr(configuration, "ticket_keys", None)
    if keys is None:
        return configuration
    keys = TicketKeys.from_secret(keys.secret, lifetime=7 * 86400, previous=keys.previous)
    return configuration.replace(ticket_keys=keys)


def _with_one_secret(_self: Any, configuration: Any) -> Any:
    keys = getattr(configuration, "ticket_keys", None)
    if keys is None:
        return configuration
    return configuration.replace(ticket_keys=TicketKeys.from_secret(bytes(32)))


COUNTS_RESUMED_AS_FULL: Final = Faulty(
    "counts resumed handshakes as full ones",
    "test_resumption::test_a_context_counts_what_it_resumes",
    client=type("Client", (_CountsAllAsFull, Client), {}),
)
FORGETS_THE_PORT: Final = Faulty(
    "resumes at one port what was begun at another",
    "test_resumption::test_sessions_are_kept_for_each_port",
    client=_ForgetsThePort,
)
KEEPS_ITS_OWN_TICKET_KEYS: Final = Faulty(
    "ignores the ticket keys that it is given",
    "test_fleets::test_servers_with_one_secret_resume_each_others_sessions",
    **_either(changed=_without_ticket_keys),
)
FORGETS_THE_SECRET_BEFORE: Final = Faulty(
    "accepts tickets of the present secret alone",
    "test_fleets::test_a_secret_is_exchanged_without_a_session_lost",
    **_either(changed=_without_the_secret_before),
)
ACCEPTS_OLD_TICKETS: Final = Faulty(
    "accepts tickets beyond their lifetime",
    "test_fleets::test_a_ticket_is_good_through_rotations_and_not_beyond_its_lifetime",
    **_either(changed=_for_a_week),
)
HAS_ONE_SECRET_FOR_ALL: Final = Faulty(
    "derives the same ticket keys from every secret",
    "test_fleets::test_servers_with_different_secrets_do_not_and_nothing_fails",
    **_either(changed=_with_one_secret),
)


# --- keys that are elsewhere, and chains ---


class _LosesTheCause(Buffer):
    def do_handshake(self) -> None:
        try:
            self.inner.do_handshake()
        except TLSError as error:
            error.__cause__ = None
            raise


class _NeverBlocks(Context):
    @property
    def handshake_may_block(self) -> bool:
        return False


def _with_the_first_chain_alone(self: Any, configuration: Any) -> Any:
    return configuration.replace(alternative_chains=()) if self.kind == "client" else configuration


def _without_required_staples(self: Any, configuration: Any) -> Any:
    return configuration.replace(require_staple=False) if self.kind == "client" else configuration


def _without_staples(self: Any, configuration: Any) -> Any:
    if self.kind == "client":
        return configuration
    chains = [SigningChain(each.leaf, each.chain) for each in configuration.certificate_chain]
    return configuration.replace(certificate_chain=chains)


LOSES_WHAT_THE_SIGNER_RAISED: Final = Faulty(
    "does not tell what a signer has raised",
    "test_signers::test_a_servers_signer_that_raises_ends_the_handshake_with_an_alert",
    buffer=_LosesTheCause,
)
SAYS_THAT_SIGNERS_ARE_QUICK: Final = Faulty(
    "says that no handshake takes long, though a signer may",
    "test_signers::test_a_server_signs_with_a_key_that_is_elsewhere",
    server=type("Server", (_NeverBlocks, Server), {}),
)
SHOWS_ITS_FIRST_CHAIN_ALONE: Final = Faulty(
    "shows every server the same chain of several",
    "test_signers::test_a_client_shows_the_chain_that_the_server_trusts",
    **_either(changed=_with_the_first_chain_alone),
)
REQUIRES_NO_STAPLES: Final = Faulty(
    "takes require_staple, and goes on without a staple",
    "test_staples::test_without_a_staple_a_client_goes_on_unless_it_requires_one",
    **_either(changed=_without_required_staples),
)
DROPS_STAPLES: Final = Faulty(
    "drops the OCSP responses that it is given",
    "test_staples::test_an_ocsp_response_is_passed_on_to_clients_that_ask",
    **_either(changed=_without_staples),
)


#: Every fault by the name that the kit takes after `faulty:`.
FAULTS: Final[dict[str, Faulty]] = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, Faulty) and value is not HONEST
}
