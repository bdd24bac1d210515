"""Type-checks all crates for macOS on Apple silicon, without a Mac: `make check-macos`.

The C of aws-lc is compiled as well, by zig (as PyPI has it), which brings macOS's headers. Nothing
is linked and nothing runs: this shows that the code for macOS is consistent, no more. Rust's
standard library comes as for `make wheels`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import wheels

TARGET = "aarch64-apple-darwin"
#: Stands in for Apple's compiler: what cc adds for Apple's own is dropped.
COMPILER = """\
#!{python}
import os, sys

given, kept = iter(sys.argv[1:]), []
for argument in given:
    if argument in ("-arch", "-isysroot"):
        next(given)
    elif not argument.startswith(("-mmacosx-version-min", "--target=", "-Wl,")):
        kept.append(argument)
os.execv({python!r}, [{python!r}, "-m", "ziglang", "cc", "-target", "aarch64-macos", *kept])
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        compiler = Path(folder) / "cc"
        compiler.write_text(COMPILER.format(python=sys.executable))
        compiler.chmod(0o755)
        try:
            wheels.run(
                *("cargo", "check", "--quiet", "--locked", "--workspace", "--target", TARGET),
                CC_aarch64_apple_darwin=str(compiler),
                CARGO_TARGET_DIR=str(wheels.ROOT / "target" / "macos"),
                # Where cc would ask Xcode for it.
                SDKROOT=os.sep,
                **wheels.compiler(TARGET),
            )
        except wheels.ReleaseError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{TARGET}: the crates are consistent; nothing was linked or run")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
