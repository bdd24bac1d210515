#!/bin/sh
# Installs the programs that `make test-peers` talks to, where they are missing (Debian and kin).
set -eu

missing=""
need() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need openssl openssl
need curl curl
need tshark tshark
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "please install:$missing" >&2
	exit 1
fi
run=""
[ "$(id -u)" -eq 0 ] || run="sudo"
$run apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing
