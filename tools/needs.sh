#!/bin/sh
# Says, in a line each, what building polytls needs and this machine lacks: needs.sh PYTHON
#
# It is sh, because Python may be what is missing. The versions that are needed stand in
# pyproject.toml and Cargo.toml.
set -u
cd "$(dirname "$0")/.." || exit 1

python=$1
oldest_python=$(sed -n 's/^requires-python = ">=\(.*\)"$/\1/p' pyproject.toml)
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
lacks=0

lack() { # WHAT WHAT-TO-DO
	echo "$1: $2" >&2
	lacks=1
}

before() { # VERSION OLDEST: whether a version such as 3.9.2 comes before one such as 3.11
	[ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t . -k 1,1n -k 2,2n -k 3,3n | head -n 1)" = "$1" ]
}

debian() { # PACKAGE...: how Debian and its kin install them
	command -v apt-get >/dev/null 2>&1 && echo "apt install $*" || echo "install $1 of your system"
}

if ! found=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
	lack "Python is missing ($python does not run)" "$(debian python3 python3-venv), or name another: make PYTHON=python$oldest_python"
elif before "$found" "$oldest_python"; then
	lack "Python $found is too old ($python)" "install $oldest_python or later, and name it: make PYTHON=python$oldest_python"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
	lack "Python's venv is missing ($python)" "$(debian python3-venv)"
fi

if ! printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | ${CC:-cc} -x c - -o /dev/null 2>/dev/null; then
	lack "A C compiler with the system's headers is missing (${CC:-cc})" "$(debian gcc libc6-dev)"
fi

if ! found=$(${RUSTC:-rustc} --version 2>/dev/null | cut -d ' ' -f 2) || [ -z "$found" ]; then
	lack "Rust is missing" "install $oldest_rust or later with rustup (https://rustup.rs)"
elif before "${found%%-*}" "$oldest_rust"; then
	lack "Rust $found is too old" "install $oldest_rust or later with rustup (https://rustup.rs), or run: rustup update"
elif ! ${CARGO:-cargo} --version >/dev/null 2>&1; then
	lack "Rust's cargo is missing" "install it with rustup (https://rustup.rs)"
fi

exit $lacks
