"""Where secrets may be written: the kit holds the rest against every implementation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from polytls import ConfigurationError
from polytls.engines.key_log import prepare, writer

posix = pytest.mark.skipif(sys.platform == "win32", reason="files have no owner that is a number")


@posix
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo], ids=["file", "pipe"])
def test_a_file_of_somebody_else_is_refused_though_its_mode_is_tight(
    make: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    assert callable(make)
    make(path, 0o600)
    # So that opening the pipe does not wait for a reader.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    for use in (prepare, writer):
        with pytest.raises(ConfigurationError, match=f"belongs to user {owner}") as refused:
            use(str(path), "rustls")
        assert refused.value.field == "key_log"
    assert os.read(reader, 1) == b""
    os.close(reader)


@posix
def test_a_device_may_be_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Path(os.devnull).stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    prepare(os.devnull, "rustls")


@posix
def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(0o600)
    link.symlink_to(target)
    for use in (prepare, writer):
        with pytest.raises(ConfigurationError, match="is a symbolic link") as refused:
            use(str(link), "rustls")
        assert refused.value.field == "key_log"
    prepare(str(target), "rustls")
