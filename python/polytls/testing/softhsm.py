"""A PKCS#11 token in software, for tests of external keys.

It uses SoftHSM 2, a program of the system (Debian: `softhsm2`). SoftHSM reads `SOFTHSM2_CONF` only
when a process first uses it: set `SoftHSM.environment` in `os.environ` before that.
"""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Final

from ..identity import PrivateKey, Signer
from ..tokens import private_key
from .certificates import pem

__all__ = ["SoftHSM", "signer"]

_TOOL: Final = "softhsm2-util"
#: The directories where distributions put the module, and its name there.
_FOLDERS: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
_MODULES: Final = (
    "softhsm/libsofthsm2.so",
    "*/softhsm/libsofthsm2.so",
    "pkcs11/libsofthsm2.so",
    "*/pkcs11/libsofthsm2.so",
)
#: The time limit for every command of SoftHSM, in seconds.
_PATIENCE: Final = 30.0


class SoftHSM:
    """A new SoftHSM token in a directory; several can share one.

    `label`: the token's label.
    `pin`: of its user; None creates a random one.

    Raises FileNotFoundError if SoftHSM is missing.
    """

    def __init__(self, folder: Path, *, label: str = "test", pin: str | None = None) -> None:
        self.label = label
        self.pin = pin or f"{secrets.randbelow(10**8):08}"
        self.module = self._module()
        self._folder = folder
        self._added = 0
        self._adding = threading.Lock()
        (folder / "tokens").mkdir(exist_ok=True)
        self._configuration.write_text(
            f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n"
        )
        self._run(
            *("--init-token", "--free", "--label", label),
            *("--pin", self.pin, "--so-pin", secrets.token_hex(8)),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that uses the token."""
        return {"SOFTHSM2_CONF": str(self._configuration)}

    def uri(self, name: str) -> str:
        """Return the `pkcs11:` URI of the object `name`, with the PIN."""
        where = f"module-path={self.module}&pin-value={self.pin}"
        return f"pkcs11:token={self.label};object={name}?{where}"

    def add(self, name: str, key: PrivateKey) -> int:
        """Import a private key, PKCS#8 from a buffer, as the object `name`.

        Returns its id, which has two bytes: 1 for the first key of this object.
        """
        data = key.buffer
        assert data is not None  # noqa: S101 - a duty of who calls
        is_pem = data.startswith(b"-----BEGIN")
        with self._adding:
            self._added += 1
            file = self._folder / "imported.pem"
            # The token itself stores the key in the directory.
            file.write_bytes(data if is_pem else pem("PRIVATE KEY", data))
            try:
                self._run(
                    *("--import", str(file), "--token", self.label, "--pin", self.pin),
                    *("--label", name, "--id", f"{self._added:04x}"),
                )
            finally:
                file.unlink()
            return self._added

    @property
    def _configuration(self) -> Path:
        return self._folder / "softhsm2.conf"

    @staticmethod
    def _module() -> str:
        found = (
            path for folder in _FOLDERS for name in _MODULES for path in Path(folder).glob(name)
        )
        module = next(found, None)
        if module is None or shutil.which(_TOOL) is None:
            raise FileNotFoundError("there is no SoftHSM 2 (Debian: softhsm2)")
        return str(module)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603 - the arguments are those above
            [_TOOL, *arguments],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode:
            # The arguments contain PINs.
            raise OSError(f"{_TOOL} {arguments[0]}: status {done.returncode}: {done.stdout}")


@functools.cache
def _token() -> SoftHSM:
    """A token for this process; it is removed at exit."""
    folder = tempfile.mkdtemp(prefix="softhsm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = SoftHSM(Path(folder))
    os.environ.update(made.environment)
    return made


@functools.cache
def signer(key: PrivateKey) -> Signer:
    """Return a signer for `key` in a temporary token of this process.

    For the conformance kit: `--polytls-signers polytls.testing.softhsm:signer`.
    """
    token = _token()
    name = secrets.token_hex(8)
    token.add(name, key)
    made = private_key(token.uri(name)).signer
    assert made is not None  # noqa: S101 - that is how keys in tokens are made
    return made
