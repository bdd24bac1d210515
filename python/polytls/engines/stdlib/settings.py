"""Translates a configuration into terms of `ssl`, and creates an `ssl.SSLContext` from it.

Rules of this file:

- The running `ssl` and its OpenSSL are asked what they support; version numbers are not used.
- Everything that `ssl` does not support is refused here, with the field at fault.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from ... import _native
from ...capabilities import Capabilities, Effective, check
from ...certificates import loaded
from ...configuration import TLSClientConfiguration, TLSServerConfiguration
from ...constants import ClientAuthentication, NextProtocol, TLSVersion
from ...interfaces.insecure import InsecureConfiguration
from ..key_log import prepare
from .credentials import (
    Identity,
    Trust,
    identity_of,
    load_identity,
    load_trust,
    trust_of,
)
from .openssl_names import GROUPS, suites
from .refusals import NAME, refuse

__all__ = ["CAPABILITIES", "opened", "validate"]

Configuration = TLSClientConfiguration | TLSServerConfiguration
_C = TypeVar("_C", TLSClientConfiguration, TLSServerConfiguration)

#: Python 3.15 and later: TLS 1.3 suites and lists of groups can be chosen (gh-137197, gh-136306).
_CHOOSES_SUITES: Final = hasattr(ssl.SSLContext, "set_ciphersuites")
_CHOOSES_GROUPS: Final = hasattr(ssl.SSLContext, "set_groups")

_SUITES: Final = suites()

#: The numbers of those that are enabled by default.
_OWN_CHOICE: Final = [suite.number for suite in suites(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))]

#: The numbers of those that a server can negotiate.
_SERVED: Final = frozenset(suite.number for suite in _SUITES if suite.can_be_served)

#: SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_CERTIFICATE_COMPRESSION, which `ssl` does
#: not name. OpenSSL compresses from 3.2 on where it was built with that; older ones ignore both.
_NO_CERTIFICATE_COMPRESSION: Final = 1 << 32 | 1 << 33

#: By OpenSSL's names.
_NUMBERS: Final = {suite.name: suite.number for suite in _SUITES}

_VERSIONS: Final = {
    TLSVersion.TLSv1_2: (ssl.HAS_TLSv1_2, ssl.TLSVersion.TLSv1_2),
    TLSVersion.TLSv1_3: (ssl.HAS_TLSv1_3, ssl.TLSVersion.TLSv1_3),
}


def _choosable_groups() -> Iterator[int]:
    scratch: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    choose = scratch.set_groups if _CHOOSES_GROUPS else scratch.set_ecdh_curve
    for group, name in GROUPS.items():
        try:
            choose(name)
        except (ValueError, ssl.SSLError):
            continue
        yield group


CAPABILITIES: Final = Capabilities(
    trust_sources=frozenset({"system", "buffer", "file", "pins"}),
    certificate_sources=frozenset({"buffer", "file"}),
    key_sources=frozenset({"buffer", "file"}),
    versions=tuple(version for version, (there, _) in _VERSIONS.items() if there),
    cipher_suites=tuple(suite.number for suite in _SUITES),
    cipher_choice="exact" if _CHOOSES_SUITES else "families",
    groups=tuple(_choosable_groups()),
    client_authentication=True,
    sni_selection=ssl.HAS_SNI,
    resumption=True,
    key_log=True,
    channel_bindings=frozenset({"tls-server-end-point"}),
    peers=True,
    crl=True,
    peer_verifier=True,
    named_sessions=True,
    events=True,
)


class _Wanted(NamedTuple):
    """A valid configuration, and its effective settings."""

    configuration: Configuration
    effective: Effective
    insecure: InsecureConfiguration | None

    @property
    def server(self) -> bool:
        return isinstance(self.configuration, TLSServerConfiguration)

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        """How far a peer is verified against a trust store."""
        if self.insecure and self.insecure.disable_verification:
            return ssl.CERT_NONE
        if not self.server:
            return ssl.CERT_REQUIRED
        return {
            ClientAuthentication.NONE: ssl.CERT_NONE,
            ClientAuthentication.OPTIONAL: ssl.CERT_OPTIONAL,
            ClientAuthentication.REQUIRED: ssl.CERT_REQUIRED,
        }[self.effective.client_authentication]


def opened(
    configuration: _C, insecure: InsecureConfiguration | None
) -> tuple[
    _C, Effective, InsecureConfiguration | None, _native._SslFacts, Callable[..., _native._Contexts]
]:
    """Check a configuration, then read its files: the input for an engine.

    Raises ConfigurationError.
    """
    effective = validate(configuration, insecure)
    wanted = _Wanted(configuration, effective, insecure)
    if isinstance(configuration.key_log, str):
        prepare(configuration.key_log, NAME)  # OpenSSL would make it as the umask has it.
    facts: _native._SslFacts = {"ciphers": _enabled(wanted), "suites": _NUMBERS}
    return loaded(configuration, NAME), effective, insecure, facts, partial(_contexts, wanted)


def _contexts(
    wanted: _Wanted,
    given: Sequence[bytes],
    crls: Sequence[bytes],
    identities: Sequence[tuple[Sequence[bytes], tuple[str, bytes]]],
) -> _native._Contexts:
    """Returns functions that create contexts, from the contents of the configuration's sources.

    Two functions: one for contexts that present some of the identities, by index, and one for the
    contexts that a server's connections start with, each with its own; None: they start with the
    first kind.
    """
    configuration, effective, _ = wanted
    trusts = wanted.verify_mode is not ssl.CERT_NONE
    trust = trust_of(configuration.trust_store, given, crls) if trusts else None
    own = [identity_of(*identity) for identity in identities]

    def make(chosen: Iterable[int]) -> ssl.SSLContext:
        return _new_context(wanted, trust, [own[index] for index in chosen])

    # Without tickets OpenSSL still resumes TLS 1.2 from a cache that `ssl` cannot turn off
    # (SSL_CTX_set_session_cache_mode(3)). Sessions belong to the SSLContext that a connection
    # started with; so each connection starts with its own, and is switched from there.
    begins_anew = configuration.sessions is None and TLSVersion.TLSv1_2 in effective.versions
    return make, partial(_new_context, wanted) if begins_anew else None


def _enabled(wanted: _Wanted) -> list[int]:
    """The cipher suites that can be negotiated, in the configured order, or OpenSSL's."""
    left = wanted.effective.ciphers
    if wanted.configuration.ciphers is None:
        left = tuple(number for number in _OWN_CHOICE if number in left)
    return [int(number) for number in left if not wanted.server or number in _SERVED]


def validate(
    configuration: Configuration, insecure: InsecureConfiguration | None = None
) -> Effective:
    """Refuse what `ssl` does not support, as far as that is known without files; return the rest.

    Raises ConfigurationError with the field, and TypeError for anything but a configuration.
    """
    verified = not (insecure and insecure.disable_verification)
    effective = check(configuration, CAPABILITIES, NAME, verification=verified)
    _cipher_lists(configuration, effective)
    if callable(configuration.key_log):
        raise refuse("key_log", "the ssl module only writes secrets to a file; give a path")
    for name in _protocol_names(configuration):
        # `set_alpn_protocols` takes ASCII, and `selected_alpn_protocol` decodes.
        if not name.isascii():
            raise refuse("inner_protocols", "the ssl module only supports ASCII names")
    if not _CHOOSES_GROUPS and configuration.groups is not None and len(effective.groups) > 1:
        raise refuse(
            "groups",
            "this Python's ssl module supports choosing only one group (SSLContext.set_groups "
            "needs Python 3.15); give one, or leave it None",
        )
    store = configuration.trust_store
    if (
        store is not None
        and store.pins is not None
        and store.pins.spki_sha256
        and isinstance(configuration, TLSServerConfiguration)
    ):
        raise refuse(
            "trust_store",
            "the ssl module cannot accept clients by key; pin certificates",
        )
    if not verified and effective.client_authentication is not ClientAuthentication.NONE:
        raise refuse(
            "client_authentication",
            "the ssl module cannot request a certificate without verifying it; set it to NONE",
        )
    return effective


def _new_context(
    wanted: _Wanted, trust: Trust | None = None, identities: Iterable[Identity] = ()
) -> ssl.SSLContext:
    """Return a context that verifies against `trust`, and presents `identities`.

    One for each type of key: the first of a type.

    Raises ConfigurationError.
    """
    configuration, effective, insecure = wanted
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if wanted.server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[effective.versions[0]][1]
    context.maximum_version = _VERSIONS[effective.versions[-1]][1]
    mode, store = wanted.verify_mode, configuration.trust_store
    if not wanted.server and store is not None and store.pins is not None:
        mode = ssl.CERT_NONE  # What is pinned needs no path; the verdict judges it.
    checks_name = not wanted.server and not (insecure and insecure.disable_hostname_check)
    context.check_hostname = checks_name and mode is not ssl.CERT_NONE
    context.verify_mode = mode
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        context.hostname_checks_common_name = False
    # Every given certificate is an anchor, not only the self-signed ones.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_RENEGOTIATION | _NO_CERTIFICATE_COMPRESSION
    if isinstance(configuration.key_log, str):
        context.keylog_filename = configuration.key_log
    if configuration.sessions is None:
        context.options |= ssl.OP_NO_TICKET
        if wanted.server:
            context.num_tickets = 0
    if configuration.inner_protocols:
        context.set_alpn_protocols([*_protocol_names(configuration)])
    _choose_algorithms(context, configuration, effective)
    if trust is not None:
        load_trust(context, trust)
    # Of two with keys of the same type, OpenSSL keeps the one that was loaded last.
    for identity in reversed([*identities]):
        load_identity(context, identity)
    return context


# --- algorithms ---


def _cipher_lists(
    configuration: Configuration, effective: Effective
) -> tuple[str | None, str | None]:
    """OpenSSL's lists for TLS 1.2 and TLS 1.3; None to keep its own."""
    if configuration.ciphers is None:
        return None, None
    versions = effective.versions
    by_number = {suite.number: suite for suite in _SUITES}
    asked = [by_number[number] for number in effective.ciphers]
    if isinstance(configuration, TLSServerConfiguration):
        asked = [suite for suite in asked if suite.can_be_served]
        if TLSVersion.TLSv1_2 in versions and all(suite.is_tls13 for suite in asked):
            raise refuse(
                "ciphers",
                "finite-field Diffie-Hellman on a server needs parameters, which the ssl module "
                "only reads from files; add a TLS 1.2 suite with ECDHE",
            )
    old = ":".join(suite.name for suite in asked if not suite.is_tls13)
    new = ":".join(suite.name for suite in asked if suite.is_tls13)
    if TLSVersion.TLSv1_3 in versions and not _CHOOSES_SUITES:
        missing = [suite.name for suite in _SUITES if suite.is_tls13 and suite not in asked]
        if missing:
            raise refuse(
                "ciphers",
                "this Python's ssl module cannot choose TLS 1.3 cipher suites "
                "(SSLContext.set_ciphersuites needs Python 3.15); add {', '.join(missing)}, "
                "or set highest_supported_version to TLSv1_2",
            )
        new = ""
    return (
        old if TLSVersion.TLSv1_2 in versions else None,
        new if TLSVersion.TLSv1_3 in versions and new else None,
    )


def _choose_algorithms(context: Any, configuration: Configuration, effective: Effective) -> None:
    old, new = _cipher_lists(configuration, effective)
    if old is not None:
        context.set_ciphers(old)
    if new is not None:
        context.set_ciphersuites(new)
    if old is not None or new is not None:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if configuration.groups is None:
        return
    groups = [GROUPS[group] for group in effective.groups]
    if _CHOOSES_GROUPS:
        context.set_groups(":".join(groups))
    else:
        context.set_ecdh_curve(groups[0])


def _protocol_names(configuration: Configuration) -> Iterator[str]:
    for protocol in configuration.inner_protocols:
        name = protocol.value if isinstance(protocol, NextProtocol) else protocol
        yield name.decode("latin-1")
