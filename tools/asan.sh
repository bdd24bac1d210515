#!/bin/sh
# Builds the native module with the address sanitizer, and runs the kit of every implementation under it, or of
# those that IMPLEMENTATIONS names. What is given goes to pytest, as in `tools/asan.sh -k early`.
#
# The stable toolchain can: the flag is only kept behind RUSTC_BOOTSTRAP. The module is loaded by a Python that
# knows nothing of sanitizers, so GCC's run-time library is loaded before it, and Python's memory comes from malloc,
# where the sanitizer sees it. What Python itself keeps until its end is no leak of ours: leaks have tests.
set -eu
cd "$(dirname "$0")/.."

runtime=$(gcc -print-file-name=libasan.so)
case $runtime in
/*) ;;
*) echo "libasan.so is missing: install GCC with its sanitizers (Debian: apt-get install gcc)" >&2; exit 1 ;;
esac
target=$(rustc -vV | sed -n 's/^host: //p')
environment=.venvs/asan
[ -x "$environment/bin/python" ] || .venv/bin/python -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt

# A folder of its own, and a target, so that build scripts and macros are built without the sanitizer.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
	.venv/bin/maturin build --quiet --release --locked --compatibility linux --target "$target" -o target/asan/wheels -- -C debuginfo=0
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/asan/wheels/*.whl

for implementation in ${IMPLEMENTATIONS:-rustls openssl stdlib}; do
	echo "== the kit under the address sanitizer: $implementation"
	LD_PRELOAD=$runtime PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
		"$environment/bin/python" -m pytest -q -p no:cacheprovider --pyargs polytls.testing.conformance \
		--polytls-implementation "$implementation" "$@"
done
