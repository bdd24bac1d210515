"""`polytls.ech`: the configurations in an HTTPS record."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from polytls.ech import from_https_record
from polytls.testing.conformance.ech_lists import LIST, vector

TEXT = base64.b64encode(LIST).decode()


def record(*parameters: tuple[int, bytes], priority: int = 1, target: bytes = b"\0") -> bytes:
    """The data of a record in wire format (RFC 9460 2.2)."""
    listed = (key.to_bytes(2) + vector(value) for key, value in parameters)
    return priority.to_bytes(2) + target + b"".join(listed)


ALPN, ECH = (1, b"\x02h2"), (5, LIST)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (record(ALPN, ECH), LIST),
        (record(ALPN, ECH, (6, bytes(16)), target=b"\x03svc\x07example\0"), LIST),
        (bytearray(record(ECH)), LIST),
        (memoryview(record(ECH)), LIST),
        (record(ALPN), None),
        (record(), None),
        # In alias mode, parameters are ignored (RFC 9460 2.4.2).
        (record(ECH, priority=0), None),
        (f"1 . alpn=h2,h3 ech={TEXT} ipv6hint=2001:db8::1", LIST),
        (f'1 svc.example. alpn="h2,h3" ech="{TEXT}"', LIST),
        (f"16 . ECH={TEXT}", LIST),
        ("1 . alpn=h2", None),
        ("1 .", None),
        ("0 pool.example.", None),
        # A value is no parameter.
        (f'1 . key667="a ech={TEXT}"', None),
        (rf'1 . key667="\" ech={TEXT}"', None),
        (rf"\# {len(record(ECH))} {record(ECH).hex()}", LIST),
        (rf"\# {len(record(ECH))} {record(ECH).hex(' ', 2)}", LIST),
    ],
)
def test_a_record_has_a_list_or_none(given: Any, found: bytes | None) -> None:
    assert from_https_record(given) == found


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"", "incomplete"),
        (record(ECH)[:-1], "incomplete"),
        (record(ECH) + b"\0", "incomplete"),
        (record(ECH, ALPN), "ascending"),
        (record(ECH, ECH), "ascending"),
        (record(target=b"\x40" + b"a" * 64 + b"\0"), "target"),
        ("", "a priority and a target"),
        ("h2 .", "a priority and a target"),
        (f"1 . ech={TEXT[:-1]}", "Base64"),
        ("1 . ech=%%%%", "Base64"),
        (f"1 . ech={TEXT} ech={TEXT}", "twice"),
        (r"1 . key5=\000", "wire format"),
        (r"\# 3 0001", "2 bytes"),
        (r"\# 2 00xx", "hexadecimal"),
        (r"\# 00", "has 0 bytes|hexadecimal|incomplete"),
        (r"\#", "a length"),
    ],
)
def test_a_malformed_record_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"^record: .*({says})"):
        from_https_record(wrong)


@pytest.mark.parametrize("wrong", [None, 1, [b""]])
def test_another_type_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^record must be bytes or str"):
        from_https_record(wrong)
