"""Private keys and certificates in PKCS#11 tokens: smart cards, HSMs, TPMs, agents.

A private key never leaves its token, which signs each handshake. `pkcs11:` URIs (RFC 7512) name
objects, for example

    pkcs11:token=web;object=server;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so

`PrivateKey.from_id` and `Certificate.from_id` accept such URIs. Use the functions here if the
program asks for the PIN, for whole chains, and to list tokens and their objects.

Without `module-path` or `module-name`, the module is p11-kit's `p11-kit-proxy.so`, which has all
modules that p11-kit is configured for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from . import _native
from .arguments import bytes_of, explained_call
from .errors import TokenError, TokenFailure
from .frozen import frozen
from .identity import Certificate, PrivateKey, SigningChain

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "PinCallback",
    "PinRequest",
    "Token",
    "TokenError",
    "TokenFailure",
    "private_key",
    "signing_chain",
    "tokens",
]


@frozen(kw_only=True)
class PinRequest:
    """What a PIN is requested for."""

    #: The label of the token.
    token: str
    #: Its serial number.
    serial: str
    #: Its manufacturer.
    manufacturer: str
    #: Whether the key requires the PIN for this one signature (CKA_ALWAYS_AUTHENTICATE).
    for_signature: bool
    #: Whether the token says that another wrong PIN will lock it.
    is_final_try: bool


#: Returns the PIN of a token. Called once for each login, in the thread that creates the context or
#: does the handshake, with no lock held. An exception from it becomes the cause of the error. It
#: must not use the token itself.
PinCallback: TypeAlias = Callable[[PinRequest], str | bytes]


@frozen(kw_only=True)
class Token:
    """A token, and its visible objects."""

    #: Its `pkcs11:` URI.
    uri: str
    #: Whether private objects require a PIN.
    needs_pin: bool
    #: The URIs of its certificates and keys. Private keys are visible only after a login.
    objects: tuple[str, ...]


@explained_call
def private_key(
    uri: str | Buffer,
    *,
    pin: PinCallback | None = None,
    certificate: Buffer | None = None,
) -> PrivateKey:
    """Open the private key that `uri` names, and sign once with it.

    `pin`: returns the PIN if the URI has neither `pin-value` nor `pin-source`.
    `certificate`: the certificate for the key, PEM or DER. It is required only if the token does
    not provide the public key.

    Raises TokenError, whose `reason` says what is wrong.
    """
    leaf = None if certificate is None else bytes_of("certificate", certificate)
    return PrivateKey.from_signer(_native.TokenKey(_uri(uri), pin=pin, certificate=leaf))


@explained_call
def signing_chain(uri: str | Buffer, *, pin: PinCallback | None = None) -> SigningChain:
    """Open a private key and the certificate with the same label, id or both.

    `uri`: without `type`. The issuers of the certificate are added as far as the token has them.

    Raises TokenError, whose `reason` says what is wrong.
    """
    found = _uri(uri)
    leaf, *issuers = _native.token_certificates(found, pin=pin)
    key = PrivateKey.from_signer(_native.TokenKey(found, pin=pin, certificate=leaf))
    issuing = [Certificate.from_buffer(der) for der in issuers]
    return SigningChain((Certificate.from_buffer(leaf), key), issuing)


@explained_call
def tokens(
    module: str | os.PathLike[str] | None = None, *, pin: PinCallback | None = None
) -> list[Token]:
    """Return the tokens of a PKCS#11 module, and their objects.

    `module`: the path of the module; None is p11-kit's.
    `pin`: returns the PIN of each token; without it, private keys are not visible.

    Raises TokenError, whose `reason` says what is wrong.
    """
    path = None if module is None else os.fspath(module)
    listed = _native.token_listing(path, pin=pin)
    return [
        Token(uri=uri, needs_pin=needs_pin, objects=tuple(objects))
        for uri, needs_pin, objects in listed
    ]


def _uri(uri: str | Buffer) -> bytes:
    return uri.encode() if isinstance(uri, str) else bytes_of("uri", uri)
