"""A server with Encrypted ClientHello on OpenSSL 4, called with ctypes.

    python ech_server.py LIBSSL CERTIFICATE KEY PUBLIC_NAME [GROUPS]

It prints the port, a list of configurations whose key it has, and one whose key it has discarded,
in hexadecimal. For each connection it prints one line: "failed", or the status of Encrypted
ClientHello and the name in the ClientHello that it answered. It echoes what it reads, and ends with
its standard input.
"""

from __future__ import annotations

import base64
import ctypes
import re
import socket
import sys
import threading
from typing import Any

FILETYPE_PEM, SET_GROUPS_LIST = 1, 92
VERSION, ALL, RETRY = 0xFE0D, -1, 1
#: SSL_ech_get1_status.
STATUS = {1: "accepted", 2: "grease", 0: "refused", -101: "not tried"}
POINTERS = [
    "TLS_server_method",
    "SSL_CTX_new",
    "SSL_new",
    "OSSL_ECHSTORE_new",
    "BIO_s_mem",
    "BIO_new",
]


class Suite(ctypes.Structure):
    """OSSL_HPKE_SUITE: X25519, HKDF-SHA256, AES-128-GCM."""

    _fields_ = [(name, ctypes.c_uint16) for name in ("kem", "kdf", "aead")]


def loaded(path: str) -> Any:
    library: Any = ctypes.CDLL(path)
    for name in POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    library.SSL_get_servername.restype = ctypes.c_char_p
    return library


def did(result: int) -> None:
    if result != 1:
        raise SystemExit(f"OpenSSL returned {result}")


def store(ssl: Any, public_name: str) -> tuple[ctypes.c_void_p, bytes]:
    """A new key, and the list of configurations for it."""
    made = ctypes.c_void_p(ssl.OSSL_ECHSTORE_new(None, None))
    did(ssl.OSSL_ECHSTORE_new_config(made, VERSION, 0, public_name.encode(), Suite(0x20, 1, 1)))
    memory = ctypes.c_void_p(ssl.BIO_new(ctypes.c_void_p(ssl.BIO_s_mem())))
    did(ssl.OSSL_ECHSTORE_write_pem(made, ALL, memory))
    text = ctypes.create_string_buffer(8192)
    length = ssl.BIO_read(memory, text, len(text))
    found = re.search(rb"BEGIN ECHCONFIG-----(.*?)-----END", text.raw[:length], re.DOTALL)
    assert found is not None
    # Loaded again, so that the server sends it for another attempt.
    again = ctypes.c_void_p(ssl.OSSL_ECHSTORE_new(None, None))
    did(ssl.OSSL_ECHSTORE_write_pem(made, ALL, memory))
    did(ssl.OSSL_ECHSTORE_read_pem(again, memory, RETRY))
    return again, base64.b64decode(found[1])


def main(path: str, certificate: str, key: str, public_name: str, groups: str = "") -> None:
    ssl = loaded(path)
    context = ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.TLS_server_method())))
    did(ssl.SSL_CTX_use_certificate_chain_file(context, certificate.encode()))
    did(ssl.SSL_CTX_use_PrivateKey_file(context, key.encode(), FILETYPE_PEM))
    if groups:
        did(ssl.SSL_CTX_ctrl(context, SET_GROUPS_LIST, 0, groups.encode()))
    _, discarded = store(ssl, public_name)
    keys, current = store(ssl, public_name)
    did(ssl.SSL_CTX_set1_echstore(context, keys))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], current.hex(), discarded.hex(), flush=True)
    threading.Thread(target=serve, args=(ssl, context, listener), daemon=True).start()
    sys.stdin.read()


def serve(ssl: Any, context: ctypes.c_void_p, listener: socket.socket) -> None:
    while True:
        accepted, _ = listener.accept()
        with accepted:
            talk(ssl, ctypes.c_void_p(ssl.SSL_new(context)), accepted)


def talk(ssl: Any, connection: ctypes.c_void_p, accepted: socket.socket) -> None:
    ssl.SSL_set_fd(connection, accepted.fileno())
    buffer = ctypes.create_string_buffer(4096)
    if ssl.SSL_accept(connection) == 1:
        names = ctypes.c_char_p(), ctypes.c_char_p()
        status = ssl.SSL_ech_get1_status(connection, *map(ctypes.byref, names))
        name = (ssl.SSL_get_servername(connection, 0) or b"-").decode()
        print(STATUS.get(status, status), name, sep=",", flush=True)
        while (length := ssl.SSL_read(connection, buffer, len(buffer))) > 0:
            ssl.SSL_write(connection, buffer, length)
        ssl.SSL_shutdown(connection)
    else:
        print("failed", flush=True)
    ssl.SSL_free(connection)


if __name__ == "__main__":
    main(*sys.argv[1:])
