"""Records sealed and opened in plain Python, for peers that say what no library lets them say.

AES-GCM (NIST SP 800-38D), and what the key schedules of RFC 8446 7 and RFC 5246 6.3 make of a
secret. It is slow, and for tests alone.
"""

from __future__ import annotations

import hmac
import itertools
import struct
from typing import Final

__all__ = [
    "ALERT",
    "CHANGE_CIPHER_SPEC",
    "DATA",
    "HANDSHAKE",
    "Direction12",
    "Direction13",
    "directions12",
    "record",
    "split",
]

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23


def record(kind: int, content: bytes, *, length: int | None = None, version: int = 0x0303) -> bytes:
    """Return a record in the clear, or one that is sealed already.

    `length`: what its header says instead of how long `content` is.
    """
    said = len(content) if length is None else length
    return struct.pack("!BHH", kind, version, said) + content


def split(stream: bytes) -> list[bytes]:
    """Return the records of a stream, each with its header; all are whole."""
    found = []
    while stream:
        length = 5 + int.from_bytes(stream[3:5])
        assert len(stream) >= length, "the end is within a record"
        found.append(stream[:length])
        stream = stream[length:]
    return found


# --- AES-GCM ---


def _make_sbox() -> tuple[int, ...]:
    """The S-box: the inverse in GF(2^8), and an affine map (FIPS 197, 5.1.1)."""
    box = [0x63] * 256
    p = q = 1
    while True:
        p ^= (p << 1) ^ (0x11B if p & 0x80 else 0)  # By 3.
        p &= 0xFF
        for shift in (1, 2, 4):  # By its inverse.
            q ^= q << shift
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q
        for turn in (1, 2, 3, 4):
            x ^= ((q << turn) | (q >> (8 - turn))) & 0xFF
        box[p] = x ^ 0x63
        if p == 1:
            return tuple(box)


_SBOX: Final = _make_sbox()


def _double(value: int) -> int:
    return ((value << 1) ^ (0x1B if value & 0x80 else 0)) & 0xFF


class _AES:
    """The block cipher, in one direction (FIPS 197)."""

    def __init__(self, key: bytes) -> None:
        size = len(key) // 4
        self._rounds = size + 6
        words = [list(key[at : at + 4]) for at in range(0, len(key), 4)]
        constant = 1
        for number in range(size, 4 * (self._rounds + 1)):
            word = words[-1]
            if number % size == 0:
                word = [_SBOX[byte] for byte in word[1:] + word[:1]]
                word[0] ^= constant
                constant = _double(constant)
            elif size > 6 and number % size == 4:
                word = [_SBOX[byte] for byte in word]
            words.append([a ^ b for a, b in zip(word, words[-size], strict=True)])
        schedule = [byte for word in words for byte in word]
        self._keys = [schedule[at : at + 16] for at in range(0, len(schedule), 16)]

    def encrypt(self, block: bytes) -> bytes:
        state = [a ^ b for a, b in zip(block, self._keys[0], strict=True)]
        for number in range(1, self._rounds + 1):
            # Substitute, and shift rows.
            state = [_SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
            if number < self._rounds:
                mixed = []
                for at in range(0, 16, 4):
                    column = state[at : at + 4]
                    every = column[0] ^ column[1] ^ column[2] ^ column[3]
                    for row in range(4):
                        pair = column[row] ^ column[(row + 1) % 4]
                        mixed.append(column[row] ^ every ^ _double(pair))
                state = mixed
            state = [a ^ b for a, b in zip(state, self._keys[number], strict=True)]
        return bytes(state)


class _GCM:
    """Authenticated encryption with 12-byte nonces."""

    def __init__(self, key: bytes) -> None:
        self._aes = _AES(key)
        self._hash_key = int.from_bytes(self._aes.encrypt(bytes(16)))

    def seal(self, nonce: bytes, data: bytes, known: bytes) -> bytes:
        sealed = self._crypt(nonce, data)
        return sealed + self._tag(nonce, sealed, known)

    def open(self, nonce: bytes, sealed: bytes, known: bytes) -> bytes:
        assert self._tag(nonce, sealed[:-16], known) == sealed[-16:]
        return self._crypt(nonce, sealed[:-16])

    def _crypt(self, nonce: bytes, data: bytes) -> bytes:
        result = b""
        for number, at in enumerate(range(0, len(data), 16), 2):
            stream = self._aes.encrypt(nonce + number.to_bytes(4))
            result += bytes(a ^ b for a, b in zip(data[at : at + 16], stream, strict=False))
        return result

    def _tag(self, nonce: bytes, sealed: bytes, known: bytes) -> bytes:
        total = 0
        lengths = struct.pack("!QQ", 8 * len(known), 8 * len(sealed))
        for part in (known, sealed, lengths):
            for at in range(0, len(part), 16):
                block = int.from_bytes(part[at : at + 16].ljust(16, b"\0"))
                total = self._multiply(total ^ block)
        mask = self._aes.encrypt(nonce + (1).to_bytes(4))
        return bytes(a ^ b for a, b in zip(total.to_bytes(16), mask, strict=True))

    def _multiply(self, value: int) -> int:
        product, factor = 0, self._hash_key
        for bit in range(127, -1, -1):
            if value >> bit & 1:
                product ^= factor
            factor = (factor >> 1) ^ (0xE1 << 120 if factor & 1 else 0)
        return product


# --- keys of one direction ---


class Direction13:
    """TLS 1.3: the keys that come of a traffic secret (RFC 8446 7.3)."""

    def __init__(self, secret: bytes, digest: str, key_length: int) -> None:
        self._secret, self._digest, self._key_length = secret, digest, key_length
        self._begin()

    def _begin(self) -> None:
        self._gcm = _GCM(self._expand("key", self._key_length))
        self._iv = self._expand("iv", 12)
        self._count = itertools.count()

    def update(self) -> None:
        """Go on to the next keys (RFC 8446 7.2)."""
        self._secret = self._expand("traffic upd", len(self._secret))
        self._begin()

    def _expand(self, label: str, length: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", length, len(name)) + name + b"\0"
        return hmac.new(self._secret, info + b"\1", self._digest).digest()[:length]

    def _nonce(self) -> bytes:
        return (int.from_bytes(self._iv) ^ next(self._count)).to_bytes(12)

    def seal(self, kind: int, content: bytes) -> bytes:
        head = struct.pack("!BHH", DATA, 0x0303, len(content) + 17)
        return head + self._gcm.seal(self._nonce(), content + bytes([kind]), head)

    def open(self, record: bytes) -> tuple[int, bytes]:
        content = self._gcm.open(self._nonce(), record[5:], record[:5]).rstrip(b"\0")
        return content[-1], content[:-1]


class Direction12:
    """TLS 1.2 with AES-GCM (RFC 5288). The handshake has used number 0 for Finished."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._gcm, self._salt = _GCM(key), salt
        self._count = itertools.count(1)

    def seal(self, kind: int, content: bytes) -> bytes:
        number = next(self._count).to_bytes(8)
        known = number + struct.pack("!BHH", kind, 0x0303, len(content))
        body = number + self._gcm.seal(self._salt + number, content, known)
        return struct.pack("!BHH", kind, 0x0303, len(body)) + body

    def open(self, record: bytes) -> tuple[int, bytes]:
        number = next(self._count).to_bytes(8)
        known = number + struct.pack("!BHH", record[0], 0x0303, len(record) - 5 - 24)
        return record[0], self._gcm.open(self._salt + record[5:13], record[13:], known)


def prf(secret: bytes, seed: bytes, digest: str, length: int) -> bytes:
    """RFC 5246 5."""
    result, step = b"", seed
    while len(result) < length:
        step = hmac.new(secret, step, digest).digest()
        result += hmac.new(secret, step + seed, digest).digest()
    return result[:length]


def directions12(
    master_secret: bytes, client: bytes, server: bytes, digest: str, key_length: int
) -> tuple[Direction12, Direction12]:
    """The client's and the server's keys of TLS 1.2, by the randoms of both (RFC 5246 6.3)."""
    block = prf(master_secret, b"key expansion" + server + client, digest, 2 * key_length + 8)
    keys, salts = block[: 2 * key_length], block[2 * key_length :]
    return (
        Direction12(keys[:key_length], salts[:4]),
        Direction12(keys[key_length:], salts[4:]),
    )


# The tables of the standard, so that what is wrong here is not taken for a fault elsewhere.
assert _AES(bytes(range(16))).encrypt(bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == (
    "69c4e0d86a7b0430d8cdb78070b4c55a"
)
