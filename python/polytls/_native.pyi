"""The Rust core, as `polytls.engines` and `polytls.testing` use it."""

import sys
from collections.abc import Callable, Sequence
from os import PathLike
from socket import socket
from ssl import SSLContext
from typing import Any, Final, Literal, Self, TypedDict, final, type_check_only

from typing_extensions import Buffer, disjoint_base

from .configuration import TLSClientConfiguration, TLSServerConfiguration
from .constants import (
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    SignatureScheme,
    TLSVersion,
)
from .info import CertificateInfo, ConnectionInfo
from .interfaces import ClientContext, ServerContext
from .interfaces import TLSBuffer as AnyBuffer
from .interfaces.insecure import InsecureConfiguration
from .sessions import TLSSession
from .tokens import PinRequest

__all__ = [
    "Backend",
    "Capabilities",
    "CertificateAuthority",
    "ClientEngine",
    "Clock",
    "Ech",
    "Effective",
    "ExtendedTLSBuffer",
    "Lineage",
    "MemoryBIO",
    "Offer",
    "SSLConnection",
    "ServerEngine",
    "SocketHandle",
    "TLSBuffer",
    "TLSSocket",
    "TokenKey",
    "__version__",
    "backend",
    "canonical_subject",
    "certificate_dictionary",
    "certificate_timestamps",
    "certificates",
    "check",
    "client_of_ssl",
    "connection_of",
    "ech_of_record",
    "foreign_client",
    "foreign_server",
    "host_name",
    "key_belongs",
    "leaf_validity",
    "numbers",
    "ocsp_facts",
    "openssl_backend",
    "over_socket",
    "over_stream",
    "probe_answer",
    "probe_hello",
    "public_half",
    "read_certificate",
    "self_signed",
    "server_of_ssl",
    "sign",
    "ssl_client",
    "ssl_server",
    "staple_validity",
    "system_places",
    "token_certificates",
    "token_listing",
    "unacknowledged",
    "use_openssl",
    "x25519",
]

__version__: Final[str]

_Address = tuple[str, int, int, int]
_Parameters = tuple[str | None, int | None, Offer | None, int | None, Ech | None]

class _SslFacts(TypedDict):
    ciphers: list[int]
    suites: dict[str, int]

_Contexts = tuple[Callable[[list[int]], SSLContext], Callable[[], SSLContext] | None]

class _Settings(TypedDict):
    versions: tuple[bool, bool]
    ciphers: list[int] | None
    groups: list[int] | None
    alpn: list[bytes]
    sessions: int | None
    tickets: int
    key_log: Callable[[str], object] | None
    chains: list[tuple[list[bytes], bytes]]
    verifies: bool
    checks_hostname: bool
    requires: bool
    system: bool
    certificates: list[bytes]
    crls: list[bytes]
    whole_chains: bool
    strict: bool
    needs_lists: bool
    lists_for_leaf: bool

def backend(id: str, *, record_layer: bool = True) -> Backend: ...
def ssl_client(
    configuration: TLSClientConfiguration,
    effective: Effective,
    insecure: InsecureConfiguration | None,
    facts: _SslFacts,
    contexts: Callable[..., _Contexts],
) -> ClientEngine: ...
def ssl_server(
    configuration: TLSServerConfiguration,
    effective: Effective,
    insecure: InsecureConfiguration | None,
    facts: _SslFacts,
    contexts: Callable[..., _Contexts],
) -> ServerEngine: ...
def ech_of_record(record: bytes) -> bytes | None: ...
def connection_of(buffer: AnyBuffer) -> TLSBuffer | ExtendedTLSBuffer: ...
def foreign_client(make: Callable[[], AnyBuffer]) -> ClientEngine: ...
def foreign_server(make: Callable[[], AnyBuffer], implementation: str) -> ServerEngine: ...
def over_socket(
    buffer: AnyBuffer,
    socket: socket,
    leftover: bytes,
    *,
    timeout: float | None,
    accept_truncated_end: bool,
) -> SocketHandle: ...
def over_stream(
    buffer: AnyBuffer,
    carrier: Any,
    leftover: bytes,
    *,
    timeout: float | None,
    accept_truncated_end: bool,
) -> SocketHandle: ...
def host_name(text: str, parameter: str = "server_hostname") -> tuple[str, bool]: ...
def numbers(
    table: Literal[
        "cipher_suites",
        "groups",
        "openssl_groups",
        "signature_schemes",
        "certificate_compression_algorithms",
        "handshake_types",
        "alerts",
        "probed_suites_1_3",
        "probed_suites_1_2",
        "probed_groups",
    ],
) -> dict[str, int]: ...
def probe_answer(data: bytes, with_group: bool) -> tuple[int, int, int | None] | int | None: ...
def probe_hello(
    version: int, suites: Sequence[int], groups: Sequence[int], name: str | None, random: bytes
) -> bytes: ...
def certificate_dictionary(der: bytes) -> dict[str, Any]: ...
def certificate_timestamps(der: bytes) -> list[tuple[int, tuple[bytes, int, int] | None]]: ...
def certificates(data: bytes) -> list[bytes]: ...
def ocsp_facts(response: bytes, leaf: bytes) -> dict[str, Any]: ...
def client_of_ssl(backend: Backend, settings: _Settings) -> ClientEngine: ...
def server_of_ssl(backend: Backend, settings: _Settings) -> ServerEngine: ...
def key_belongs(leaf: bytes, key: bytes) -> bool | None: ...
def system_places() -> tuple[str, str]: ...
def leaf_validity(data: bytes) -> tuple[int, int]: ...
def staple_validity(response: bytes, data: bytes) -> tuple[int, int]: ...
def public_half(key: bytes) -> tuple[bytes, list[int]]: ...
def sign(key: bytes, data: bytes, algorithm: int) -> bytes: ...
def token_certificates(
    uri: bytes, *, pin: Callable[[PinRequest], str | bytes] | None = None
) -> list[bytes]: ...
def token_listing(
    module: str | None = None, *, pin: Callable[[PinRequest], str | bytes] | None = None
) -> list[tuple[str, bool, list[str]]]: ...
def unacknowledged(descriptor: int, after_fin: bool) -> int | None: ...
def openssl_backend(
    *,
    properties: str | None,
    security_level: int | None,
    providers: list[str],
    library_context: bool,
    configuration_file: str | PathLike[str] | None,
) -> Backend: ...
def use_openssl(path: str | PathLike[str]) -> None: ...
def canonical_subject(der: bytes) -> bytes: ...
def read_certificate(der: bytes) -> CertificateInfo: ...
def self_signed(
    names: list[str],
    common_name: str,
    key_type: str,
    not_before: int,
    not_after: int,
    authority: bool | None,
) -> tuple[bytes, bytes]: ...
def x25519() -> tuple[bytes, bytes]: ...
def check(
    configuration: TLSClientConfiguration | TLSServerConfiguration,
    capabilities: Capabilities,
    implementation: str,
    *,
    verification: bool = True,
) -> Effective: ...

@final
class Capabilities:
    trust_sources: Final[frozenset[str]]
    certificate_sources: Final[frozenset[str]]
    key_sources: Final[frozenset[str]]
    versions: Final[tuple[TLSVersion, ...]]
    cipher_suites: Final[tuple[CipherSuite | int, ...]]
    cipher_choice: Final[Literal["exact", "families", "system"]]
    groups: Final[tuple[NamedGroup | int, ...]]
    client_authentication: Final[bool]
    sni_selection: Final[bool]
    resumption: Final[bool]
    exporter: Final[bool]
    channel_bindings: Final[frozenset[str]]
    key_log: Final[bool]
    crl: Final[bool]
    peers: Final[bool]
    ticket_keys: Final[bool]
    ocsp_stapling: Final[bool]
    staple_verification: Final[bool]
    client_chain_selection: Final[bool]
    peer_verifier: Final[bool]
    early_data: Final[bool]
    named_sessions: Final[bool]
    ech: Final[bool]
    clock: Final[bool]
    certificate_compression: Final[bool]
    max_fragment: Final[bool]
    ech_keys: Final[bool]
    certificate_authorities: Final[bool]
    events: Final[bool]
    signature_schemes: Final[tuple[SignatureScheme | int, ...]]
    def __new__(
        cls,
        *,
        trust_sources: frozenset[str],
        certificate_sources: frozenset[str],
        key_sources: frozenset[str],
        versions: Sequence[TLSVersion],
        cipher_suites: Sequence[int],
        cipher_choice: Literal["exact", "families", "system"],
        groups: Sequence[int],
        client_authentication: bool,
        sni_selection: bool,
        resumption: bool,
        channel_bindings: frozenset[str] | None = None,
        exporter: bool = False,
        key_log: bool = False,
        crl: bool = False,
        peers: bool = False,
        ticket_keys: bool = False,
        ocsp_stapling: bool = False,
        staple_verification: bool = False,
        client_chain_selection: bool = False,
        peer_verifier: bool = False,
        early_data: bool = False,
        named_sessions: bool = False,
        ech: bool = False,
        clock: bool = False,
        certificate_compression: bool = False,
        max_fragment: bool = False,
        ech_keys: bool = False,
        certificate_authorities: bool = False,
        events: bool = False,
        signature_schemes: Sequence[int] | None = None,
    ) -> Self: ...
    def replace(self, **changes: object) -> Self: ...
    def __replace__(self, **changes: object) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]: ...

@final
class Clock:
    now: int
    def __new__(cls, now: int | None = None) -> Self: ...
    def advance(self, seconds: int) -> None: ...

@final
class Effective:
    @property
    def versions(self) -> tuple[TLSVersion, ...]: ...
    @property
    def ciphers(self) -> tuple[CipherSuite | int, ...]: ...
    @property
    def groups(self) -> tuple[NamedGroup | int, ...]: ...
    @property
    def client_authentication(self) -> ClientAuthentication: ...

@final
class Backend:
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    def check_ids(self, configuration: TLSClientConfiguration | TLSServerConfiguration) -> None: ...
    def client(
        self,
        configuration: TLSClientConfiguration,
        effective: Effective,
        insecure: InsecureConfiguration | None,
        *,
        key_log: Callable[[str], object] | None,
    ) -> ClientEngine: ...
    def server(
        self,
        configuration: TLSServerConfiguration,
        effective: Effective,
        insecure: InsecureConfiguration | None,
        *,
        key_log: Callable[[str], object] | None,
    ) -> ServerEngine: ...

@final
class ClientEngine:
    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]: ...
    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]: ...
    def statistics(self) -> dict[str, int]: ...
    def admit(self, lineage: Lineage, server_hostname: str | None) -> Offer: ...
    def ech(self, list: bytes, server_hostname: str | None) -> Ech: ...
    def buffer(
        self, context: ClientContext, parameters: _Parameters
    ) -> TLSBuffer | ExtendedTLSBuffer: ...
    def connect(
        self,
        context: ClientContext,
        parameters: _Parameters,
        addresses: list[_Address],
        *,
        timeout: float | None,
        accept_truncated_end: bool,
    ) -> SocketHandle: ...

@final
class ServerEngine:
    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]: ...
    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]: ...
    def statistics(self) -> dict[str, int]: ...
    def replaceable(self) -> ServerEngine: ...
    def replace(self, other: ServerEngine) -> None: ...
    def buffer(self, context: ServerContext) -> TLSBuffer | ExtendedTLSBuffer: ...
    def listen(
        self,
        context: ServerContext,
        addresses: list[_Address],
        *,
        timeout: float | None,
        backlog: int,
        reuse_port: bool,
        dual_stack: bool,
        do_handshake_on_accept: bool,
        handshake_timeout: float | None,
        handshake_limit: int,
        handshake_may_block: bool,
        accept_truncated_end: bool,
    ) -> SocketHandle: ...

@type_check_only
class _Connection:
    @property
    def context(self) -> ClientContext | ServerContext: ...
    @property
    def negotiated_tls_version(self) -> TLSVersion | None: ...
    @property
    def info(self) -> ConnectionInfo: ...
    @property
    def session(self) -> TLSSession | None: ...
    def do_handshake(self) -> None: ...
    def pending(self) -> int: ...
    def outgoing_bytes_buffered(self) -> int: ...
    def getpeercert(self) -> bytes | None: ...
    def cipher(self) -> CipherSuite | int | None: ...
    def negotiated_protocol(self) -> NextProtocol | bytes | None: ...
    def channel_binding(self, kind: str) -> bytes: ...

@type_check_only
class _Buffer(_Connection):
    def read(self, amt: int, buffer: Buffer | None = None) -> bytes | int: ...
    def write(self, buf: Buffer) -> int: ...
    def open(
        self, data_from_network: Buffer | None, amt: int, buffer: Buffer | None = None, /
    ) -> bytes | int | None: ...
    def seal(self, buf: Buffer, /) -> bytes: ...
    def shutdown(self) -> None: ...
    def process_incoming(self, data_from_network: Buffer) -> None: ...
    def incoming_bytes_buffered(self) -> int: ...
    def process_outgoing(self, amount_bytes_for_network: int) -> bytes: ...
    @property
    def _has_closed(self) -> bool: ...
    @property
    def _flight_is_sent(self) -> bool: ...
    @property
    def _sent(self) -> int: ...
    @property
    def _data_end(self) -> int: ...
    def _accept_truncated_end(self) -> None: ...
    def _abort(self) -> None: ...
    def _handshake(self) -> bool: ...
    def _look_ahead(self) -> bool: ...
    def _discard(self, data: Buffer | None) -> bool: ...
    def _end_sending(self) -> None: ...

@final
class TLSBuffer(_Buffer): ...

@final
class ExtendedTLSBuffer(_Buffer):
    def write_early_data(self, data: Buffer) -> int: ...
    def read_early_data(self, amt: int) -> bytes: ...
    def update_keys(self) -> None: ...
    def export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes: ...

if sys.platform == "win32":
    @final
    class KeyPipe:
        def __new__(cls, data: bytes) -> Self: ...
        @property
        def path(self) -> str: ...
        def close(self) -> int | None: ...

@final
class Lineage: ...

@final
class Ech: ...

@final
class Offer: ...

@final
class SocketHandle:
    @property
    def offers(self) -> list[str]: ...

@disjoint_base
class SSLConnection:
    def __new__(
        cls,
        *,
        server_side: bool,
        lenient: bool,
        socket: object = None,
        incoming: object = None,
        outgoing: object = None,
    ) -> Self: ...
    @property
    def _begun(self) -> bool: ...
    def _begin(self, engine: ClientEngine, parameters: _Parameters) -> None: ...
    def _accept(self, engine: ServerEngine) -> None: ...
    def _refuse(self, alert: int) -> None: ...
    def _facts(
        self,
    ) -> (
        tuple[int, int, bytes | None, bool, tuple[bytes, ...], tuple[bytes, ...] | None] | None
    ): ...
    def _lineage(self) -> Lineage | None: ...
    def do_handshake(self) -> None: ...
    def read(self, len: int = 1024, buffer: Buffer | None = None, /) -> bytes | int: ...
    def write(self, data: Buffer, /) -> int: ...
    def shutdown(self) -> socket | None: ...
    def pending(self) -> int: ...

@final
class MemoryBIO:
    def read(self, size: int = -1, /) -> bytes: ...
    def write(self, b: Buffer, /) -> int: ...
    def write_eof(self) -> None: ...
    @property
    def pending(self) -> int: ...
    @property
    def eof(self) -> bool: ...

@disjoint_base
class TLSSocket(_Connection):
    def __new__(cls, handle: SocketHandle) -> Self: ...
    @property
    def _carrier(self) -> Any: ...
    @property
    def _is_closed(self) -> bool: ...
    @property
    def _inherited(self) -> bool: ...
    @property
    def _family_and_protocol(self) -> tuple[int, int]: ...
    @property
    def failed_handshakes(self) -> int: ...
    def recv(self, bufsize: int) -> bytes: ...
    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int: ...
    def send(self, bytes: Buffer) -> int: ...
    def sendall(self, data: Buffer, /) -> None: ...
    def _write_early_data(self, data: Buffer) -> int: ...
    def _read_early_data(self, amt: int) -> bytes: ...
    def _update_keys(self) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def detach(self) -> int: ...
    def _send_within(self, data: Buffer, seconds: float | None) -> int: ...
    def _send_file(
        self, file: int, offset: int, count: int | None
    ) -> tuple[int, BaseException | None]: ...
    def _unwrap(self) -> tuple[int, bytes]: ...
    def _duplicate(self) -> int: ...
    def close(self, force: bool = False) -> None: ...
    def _end(self) -> None: ...
    def listen(self, backlog: int) -> None: ...
    def accept(self) -> tuple[Self, tuple[str, int]]: ...
    def getsockname(self) -> tuple[str, int]: ...
    def getpeername(self) -> tuple[str, int]: ...
    def fileno(self) -> int: ...
    def settimeout(self, value: float | None, /) -> None: ...
    def gettimeout(self) -> float | None: ...
    def setblocking(self, flag: bool, /) -> None: ...
    def getblocking(self) -> bool: ...
    def _export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes: ...

@final
class TokenKey:
    def __new__(
        cls,
        uri: bytes,
        *,
        pin: Callable[[PinRequest], str | bytes] | None = None,
        certificate: bytes | None = None,
    ) -> TokenKey: ...
    @property
    def uri(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...
    @property
    def algorithms(self) -> list[SignatureScheme]: ...
    def sign(self, data: bytes, algorithm: int) -> bytes: ...

@final
class CertificateAuthority:
    def __new__(
        cls,
        common_name: str,
        names: list[str],
        key_type: str,
        not_before: int,
        not_after: int,
        parent: CertificateAuthority | None,
        path_length: int | None,
        permitted: list[str],
        excluded: list[str],
        key_usage: list[str],
        authority: bool | None,
        server: bool,
        client: bool,
        version: int,
    ) -> CertificateAuthority: ...
    @property
    def certificate(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    def issue(
        self,
        names: list[str],
        common_name: str,
        key_type: str,
        not_before: int,
        not_after: int,
        server: bool,
        client: bool,
        key_usage: list[str],
        authority: bool,
        unknown_extension: tuple[bool, int] | None,
        ocsp_signing: bool,
        must_staple: bool,
    ) -> tuple[bytes, bytes]: ...
    def cross_sign(
        self, other: CertificateAuthority, common_name: str, not_before: int, not_after: int
    ) -> bytes: ...
    def revocation_list(
        self, serial_numbers: list[bytes], this_update: int, next_update: int
    ) -> bytes: ...
    def ocsp_response(
        self,
        certificate: bytes,
        status: str,
        this_update: int,
        next_update: int | None,
        sha256: bool,
        responder: tuple[bytes, bytes] | None,
    ) -> bytes: ...
