"""Answers to Encrypted ClientHello that no server may give (RFC 9849 6.1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from polytls import AlertDescription, TLSVersion
from polytls.testing.conformance.ech_lists import LIST
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.test_sealed_alerts import (
    ENCRYPTED_EXTENSIONS,
    Scene,
    instead,
    message,
)

V13: Final = TLSVersion.TLSv1_3
ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D


class Answered(Scene):
    """A client that sends it, and a server whose EncryptedExtensions the case writes."""

    def __init__(self, lab: Any, encrypts: bool, folder: Path) -> None:
        super().__init__(lab, "client", V13, folder)
        given = {"ech": LIST} if encrypts else {}
        self.victim = lab.client(version=V13).create_buffer(lab.host, **given)
        self.begin()

    def answer(self, *lists: bytes) -> AlertDescription:
        extensions = b"".join(
            ENCRYPTED_CLIENT_HELLO.to_bytes(2) + len(one).to_bytes(2) + one for one in lists
        )
        body = len(extensions).to_bytes(2) + extensions
        forge = instead(ENCRYPTED_EXTENSIONS, message(ENCRYPTED_EXTENSIONS, body))
        return self.ended(forge(self))


@pytest.fixture
def answered(lab: Any, tmp_path: Path) -> Iterator[Answered]:
    scene = Answered(lab, True, tmp_path)
    with closing(scene.forger):
        yield scene


@needs("ech")
@pytest.mark.parametrize(
    "wrong", [b"", b"\0", LIST[:-1]], ids=["nothing", "half a length", "without its end"]
)
def test_a_list_for_another_attempt_that_is_cut_off_is_refused(
    answered: Answered, wrong: bytes
) -> None:
    assert answered.answer(wrong) is AlertDescription.decode_error


@needs("ech")
@pytest.mark.parametrize(
    "wrong",
    [LIST + b"\0", b"\0\5" + LIST[2:7], b"\0\3\xfe\r\0", bytes(40)],
    ids=["too long", "half a configuration", "half a header", "null bytes"],
)
def test_a_list_for_another_attempt_that_is_malformed_is_refused(
    answered: Answered, wrong: bytes
) -> None:
    assert answered.answer(wrong) is AlertDescription.decode_error


@needs("ech")
def test_two_lists_are_refused(answered: Answered) -> None:
    assert answered.answer(LIST, LIST) is AlertDescription.illegal_parameter


@needs("ech")
def test_a_list_that_was_not_asked_for_is_refused(lab: Any, tmp_path: Path) -> None:
    scene = Answered(lab, False, tmp_path)
    with closing(scene.forger):
        assert scene.answer(LIST) is AlertDescription.unsupported_extension
