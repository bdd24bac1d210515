"""Tokens: SoftHSM, and a TPM in software. `conftest.py` has the fixtures.

A PKCS#11 module belongs to the process and reads its settings once, so there is one SoftHSM for all
tests.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polytls import Certificate, PrivateKey, SigningChain, TrustStore
from polytls.testing import CertificateAuthority, KeyType
from polytls.testing.softhsm import SoftHSM

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
TPM2 = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so"
#: None that occurs by chance in what is searched for it.
PIN = "7519-4826"
HOST = "server.example"
#: What nothing in these tests may take, in seconds.
PATIENCE = 60.0
KEYS = {
    "ec": KeyType.ECDSA_P256,
    "ec384": KeyType.ECDSA_P384,
    "rsa": KeyType.RSA_2048,
}


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@dataclass
class Tokens:
    """A SoftHSM with tokens, and what it was given."""

    folder: Path
    ca: CertificateAuthority
    #: The private scalar, or exponent, of each key, as an importing process had it.
    private: dict[str, bytes]

    @staticmethod
    def uri(name: str, *, token: str = "web", pin: str | None = PIN, module: str = SOFTHSM) -> str:
        given = "" if pin is None else f"&pin-value={pin}"
        return f"pkcs11:token={token};object={name}?module-path={module}{given}"

    def chain(self, name: str, **given: Any) -> SigningChain:
        uri = self.uri(name, **given).encode()
        return SigningChain((Certificate.from_id(uri), PrivateKey.from_id(uri)))

    def trust(self) -> TrustStore:
        return self.ca.trust_store()


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    folder = tmp_path_factory.mktemp("softhsm")
    ca = CertificateAuthority("Tokens' Root")
    private = {}
    web = SoftHSM(folder, label="web", pin=PIN)
    SoftHSM(folder, label="other", pin=PIN)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in web.environment.items():
            patch.setenv(name, value)
        for name, key_type in KEYS.items():
            chain = ca.issue(HOST, key_type=key_type)
            _add(web, chain, name)
            key = chain.leaf[1]
            assert key is not None
            assert key.buffer is not None
            private[name] = key.buffer
        for _ in range(2):
            _add(web, ca.issue(HOST), "twin")
        run(
            "pkcs11-tool", "--module", SOFTHSM, "--token-label", "web", "--login", "--pin", PIN,
            "--keypairgen", "--key-type", "EC:prime256v1", "--always-auth",
            "--label", "strict", "--id", "31",
        )  # fmt: skip
        yield Tokens(folder, ca, private)


def _add(token: SoftHSM, chain: SigningChain, name: str) -> None:
    """A key, and the certificate for it."""
    certificate, key = chain.leaf
    assert key is not None
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.buffer or b"")
        file.flush()
        run(
            "pkcs11-tool", "--module", SOFTHSM, "--token-label", "web", "--login", "--pin", PIN,
            "--write-object", file.name, "--type", "cert",
            "--label", name, "--id", f"{token.add(name, key):04x}",
        )  # fmt: skip


@pytest.fixture
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """A TPM in software; a function that runs a command for it."""
    folder = tmp_path_factory.mktemp("tpm")
    (folder / "state").mkdir()
    (folder / "store").mkdir()
    where = f"swtpm:path={folder}/tpm"
    environment = {
        "TPM2_PKCS11_STORE": str(folder / "store"),
        "TPM2_PKCS11_TCTI": where,
        "TPM2TOOLS_TCTI": where,
        "TPM2OPENSSL_TCTI": where,
        "TSS2_LOG": "all+NONE",
    }
    process = subprocess.Popen(
        [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}/state",
            "--ctrl", f"type=unixio,path={folder}/tpm.ctrl",
            "--server", f"type=unixio,path={folder}/tpm",
            "--flags", "not-need-init,startup-clear",
        ],
    )  # fmt: skip

    def run_there(*command: str) -> str:
        done = run(*command, **environment)
        # There is no resource manager: what a process leaves in the TPM stays there.
        for kind in ("-t", "-s", "-l"):
            run("tpm2_flushcontext", kind, **environment)
        return done

    try:
        deadline = time.monotonic() + PATIENCE
        while not (folder / "tpm").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        tool = ("pkcs11-tool", "--module", TPM2)
        run_there(*tool, "--init-token", "--slot-index", "0", "--label", "tpm", "--so-pin", "56789")
        run_there(
            *tool, "--token-label", "tpm", "--init-pin",
            "--login", "--login-type", "so", "--so-pin", "56789", "--pin", PIN,
        )  # fmt: skip
        yield run_there
    finally:
        end(process)
