"""Runs a part of the kit on ARM64 under qemu-user: `make test-aarch64`.

The wheel is what `make wheels TARGETS=aarch64-unknown-linux-gnu` has left in dist/. qemu-user, and
Debian's Python for ARM64 with its OpenSSL, are unpacked in .tools and not installed. Modules whose
tests start other processes are left out: the system would have to know how to run them.

    tools/aarch64.py [IMPLEMENTATION ...]     rustls by default
"""

from __future__ import annotations

import sys

import elsewhere
import wheels

FOLDER = elsewhere.FOLDER / "aarch64"
SUITE = "bookworm"
VERSION = "3.11"
#: Python, and what it and `openssl` are linked with.
PACKAGES = (
    *(f"python{VERSION}-minimal", f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib"),
    *("libc6", "libgcc-s1", "libssl3", "zlib1g", "libffi8", "libexpat1", "libbz2-1.0"),
    *("liblzma5", "libsqlite3-0", "libuuid1"),
)


def main(arguments: list[str]) -> int:
    try:
        wheel = elsewhere.wheel("*manylinux*aarch64*.whl", "aarch64-unknown-linux-gnu")
        root = elsewhere.unpack(FOLDER / "root", SUITE, "arm64", *PACKAGES)
        qemu = elsewhere.unpack(FOLDER / "qemu", SUITE, "amd64", "qemu-user-static")
        packages = elsewhere.libraries(FOLDER / "packages", wheel)
    except wheels.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    program = root / "usr" / "bin" / f"python{VERSION}"
    python = (qemu / "usr" / "bin" / "qemu-aarch64-static", "-L", root, program)
    done = [
        elsewhere.run(python, packages, implementation, modules=elsewhere.MODULES)
        for implementation in arguments or ["rustls"]
    ]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
