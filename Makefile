# What a person types. Everything is built once, in the release profile, and shared by all targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEELS := target/wheels
CARGO := cargo
# The wheel is optimised as a whole (pyproject.toml), from what `.cargo/config.toml` keeps in the crates for it.
# RUSTFLAGS take the place of that, and `make build LTO=` goes without, which is quicker: any other flag will do.
LTO := $(if $(RUSTFLAGS),,fat)
FUZZ_SECONDS ?= 620
NATIVE_SOURCES := .cargo/config.toml Cargo.toml Cargo.lock pyproject.toml $(shell find crates -name '*.rs' -o -name Cargo.toml)
PYTHON_SOURCES := $(shell find python -type f -not -name '*.pyc')

.PHONY: help needs build demo check test test-all test-rust test-python test-peers test-cpython test-libraries test-oldest test-suites test-distributions test-openssl lint docs format bench bench-check soak fuzz asan audit wheels check-macos test-aarch64 test-windows test-free-threaded licences clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1: /p' $(MAKEFILE_LIST)

needs:
	@sh tools/needs.sh $(PYTHON)

# All that a build takes; `make demo` installs no more.
$(VENV)/.maturin: requirements/dev.txt | needs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/dev.txt maturin
	touch $@

$(VENV)/.tools: requirements/dev.txt $(VENV)/.maturin
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -r requirements/dev.txt
	touch $@

$(VENV)/.built: $(VENV)/.maturin $(NATIVE_SOURCES) $(PYTHON_SOURCES) | needs
	rm -f $(WHEELS)/*.whl
	$(BIN)/maturin build --quiet --release --locked --compatibility linux -o $(WHEELS) $(if $(LTO),,-- -C debuginfo=0)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(WHEELS)/*.whl
	touch $@

build: $(VENV)/.built ## create a release build and install it in .venv

demo: build ## show connections of every kind over loopback
	$(BIN)/python -m polytls demo

check: build $(VENV)/.tools ## run some of the tests, in less than a minute
	$(BIN)/python tools/pythons.py check

test: test-rust test-python ## run all tests that need only Rust and one Python

test-all: test-rust build $(VENV)/.tools ## the same with every CPython from 3.11 on that this machine has
	$(BIN)/python tools/pythons.py test all

test-rust: needs
	$(CARGO) test --quiet --release --locked --workspace

test-python: build $(VENV)/.tools
	$(BIN)/python tools/pythons.py test

test-peers: build $(VENV)/.tools ## tests with OpenSSL, curl and other peers, which it installs (Debian packages)
	sh tools/install-peers.sh
	$(BIN)/python tools/pythons.py test peers

# Options: `make test-cpython CPYTHON="3.12 test_ssl"` takes one version, or one module of it.
test-cpython: build $(VENV)/.tools ## CPython's own TLS tests, with polytls.compat
	$(BIN)/python tools/cpython_suite.py $(CPYTHON)
	$(if $(CPYTHON),,$(BIN)/python tools/cpython_suite.py --without)

# Options: `make test-libraries LIBRARIES="requests gevent"` takes some of them.
test-libraries: build ## thirty libraries over polytls.compat, which it installs, with servers (Debian packages)
	sh tools/install-peers.sh libraries
	$(PYTHON) -m venv .venvs/libraries
	.venvs/libraries/bin/pip install --quiet --disable-pip-version-check -r requirements/libraries.txt
	.venvs/libraries/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(WHEELS)/*.whl
	.venvs/libraries/bin/python tools/libraries $(LIBRARIES)

# uvicorn calls what websockets warns of. dev.txt has newer releases, and `make test` runs the same tests with them.
test-oldest: build ## the extras (anyio, cryptography, opentelemetry, uvicorn, watchfiles) in the oldest releases that polytls takes
	$(PYTHON) -m venv .venvs/oldest
	.venvs/oldest/bin/pip install --quiet --disable-pip-version-check -r requirements/oldest.txt
	.venvs/oldest/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(WHEELS)/*.whl
	.venvs/oldest/bin/python -m pytest -q -W ignore::DeprecationWarning tests/net/test_uvicorn.py
	.venvs/oldest/bin/python -m pytest -q tests/drivers/loops/test_anyio_*.py tests/compat/test_keys.py tests/unit/test_tracing.py
	.venvs/oldest/bin/python -m pytest -q --pyargs polytls.testing.conformance.test_reload --polytls-implementation rustls

# Options: `make test-suites SUITES="trio aiohttp"` takes some of them.
test-suites: build $(VENV)/.tools ## the suites of urllib3, trio, anyio, uvloop, aiohttp, httpx and httpcore over polytls.compat
	$(BIN)/python tools/suites.py $(SUITES)

# In folders that debootstrap makes. DISTRIBUTIONS=sid takes one of them (tools/distributions.py list),
# DISTRIBUTIONS=turn the one whose turn it is at this commit, as CI does.
test-distributions: build ## the kit under other Pythons and OpenSSLs, of Debian 13 and sid (Debian, as root)
	$(BIN)/python tools/distributions.py test $(DISTRIBUTIONS)

# OPENSSLS=4.0 takes one of them (tools/openssls.py list).
test-openssl: build $(VENV)/.tools ## the kit on openssl with OpenSSL 3.0 (the system's), 3.5 and 4.0, which it compiles; with SoftHSM
	sh tools/install-peers.sh token
	$(BIN)/python tools/openssls.py test $(OPENSSLS)
	! test -f .tools/openssl/4.0/path || TEST_LIBSSL=`cat .tools/openssl/4.0/path` $(BIN)/python -m pytest -q -p tests.chosen_openssl tests/interop/test_ech.py -m peers

$(VENV)/.lint: $(VENV)/.tools requirements/lint.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/lint.txt
	touch $@

lint: build $(VENV)/.lint ## the checks that CI runs before the tests
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --release --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/python tools/pages.py check
	cd tests && ../$(BIN)/python -m mypy.stubtest polytls._native --mypy-config-file ../pyproject.toml

$(VENV)/.docs: $(VENV)/.tools requirements/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	touch $@

docs: build $(VENV)/.docs ## the documentation site, in target/website/html; fails on a link that leads nowhere
	$(BIN)/python tools/website.py build

format:
	$(CARGO) fmt
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

$(VENV)/.release: $(VENV)/.maturin requirements/release.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/release.txt
	touch $@

# TARGETS="x86_64-unknown-linux-gnu" builds one of them: tools/wheels.py list.
wheels: $(VENV)/.release ## what a release consists of, checked, in dist/ (docs/releasing.md)
	$(BIN)/python tools/wheels.py build $(TARGETS)

check-macos: $(VENV)/.release ## type-check for macOS on Apple silicon, with the C of aws-lc
	$(BIN)/python tools/macos.py

test-aarch64: $(VENV)/.release ## some of the kit on ARM64 under qemu-user, with the wheel in dist/ (Debian)
	$(BIN)/python tools/aarch64.py

# WINDOWS="stdlib asyncio" takes some of the runs (tools/windows.py list).
test-windows: $(VENV)/.maturin ## the kit and other tests on Windows' Python under Wine, which it installs (Debian)
	$(BIN)/python tools/windows.py test $(WINDOWS)

# MODULES="test_basics test_socket_threads" takes some of them.
test-free-threaded: $(VENV)/.tools ## the kit without a GIL, on a free-threaded CPython that it puts together (Debian, x86-64)
	$(BIN)/python tools/free_threaded.py $(MODULES)

licences: ## LICENSE-THIRD-PARTY, once Cargo.lock has changed
	$(PYTHON) tools/linked.py licences

$(VENV)/.bench: $(VENV)/.tools requirements/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt
	touch $@

# Options: `make bench BENCH="--only handshakes --rounds 3"`; all of them: docs/performance.md.
bench: build $(VENV)/.bench ## run the benchmarks: ratios to `ssl` in the same run
	$(BIN)/python -m benches $(BENCH)

bench-check: build $(VENV)/.bench ## the same; fails below a target
	$(BIN)/python -m benches --check $(BENCH)

soak: build $(VENV)/.tools ## long tests: random traffic, forgeries, thousands of connections, faults at every byte, no record layer
	$(CARGO) test --release --locked -p polytls-records -p polytls-rustls -p polytls-io -- --ignored
	sh tools/install-peers.sh
	POLYTLS_SOAK=1 $(BIN)/python -m pytest -q tests -m soak
	$(BIN)/python -m pytest -q -p tests.without_record_layer tests/unit tests/drivers tests/interop tests/matrix -m "not peers"

# Needs a nightly toolchain: cargo-fuzz asks for one. FUZZ_TARGETS=pem takes one of them.
FUZZ_TARGETS ?= $(sort $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs))))
fuzz: ## fuzz handshakes, records, certificates and PEM, for ten minutes each
	.tools/bin/cargo-fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked --root .tools cargo-fuzz@0.13.2
	set -e; for target in $(FUZZ_TARGETS); do \
		PATH="$$PWD/.tools/bin:$$PATH" $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

# IMPLEMENTATIONS=openssl takes one of them.
asan: $(VENV)/.tools ## the kit under the address sanitizer (GCC's libasan)
	sh tools/asan.sh

audit: ## licences, bans and sources of all crates (advisories need a network: SECURITY.md)
	.tools/bin/cargo-deny --version >/dev/null 2>&1 || $(CARGO) install --quiet --debug --locked --root .tools cargo-deny@0.18.6
	PATH="$$PWD/.tools/bin:$$PATH" $(CARGO) deny --locked check licenses bans sources

clean:
	rm -rf dist target .venv .venvs .tools .distributions
