#!/bin/sh
# Installs the programs that `make test-peers` talks to, where they are missing (Debian and kin);
# with the argument «libraries», the servers that `make test-libraries` talks to; with «token», SoftHSM; with «bench»,
# what `make bench` measures with; with «windows», Wine and a compiler for Windows.
set -eu

# Providers of OpenSSL are unpacked, not installed: nothing of the system changes. apt checks the packages as it does
# all, with lists of its own.
unpacked() { # FOLDER PACKAGE SUITE MODULE
	folder=$(dirname "$0")/../.tools/$1
	ls "$folder"/usr/lib/*/ossl-modules/"$4" >/dev/null 2>&1 && return
	command -v apt-get >/dev/null 2>&1 || return 0
	apt=$(mktemp -d)
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$folder"
	echo "deb http://deb.debian.org/debian $3 main" >"$apt/sources.list"
	package=$2
	set -- -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$apt/lists" \
		-o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)"
	apt-get "$@" update
	(cd "$apt" && apt-get "$@" download "$package")
	dpkg-deb -x "$apt/$package"_*.deb "$folder"
	rm -r "$apt"
}
unpacked fips openssl-provider-fips trixie fips.so # It loads into older OpenSSLs.
unpacked pkcs11-provider pkcs11-provider bookworm-backports pkcs11.so
unpacked tpm2-openssl tpm2-openssl bookworm tpm2.so

missing=""
programs=""
news=""
need() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

alone() { # PROGRAM PACKAGE LIBRARY
	PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1 && return
	programs="$programs $1:$2"
	missing="$missing $3"
}

databases() {
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
	PATH="$PATH:/usr/sbin" need mariadbd mariadb-server
	PATH="$PATH:/usr/sbin" need slapd slapd
}

libraries() {
	databases
	PATH="$PATH:/usr/sbin" need mosquitto mosquitto
	PATH="$PATH:/usr/sbin" need rabbitmq-server rabbitmq-server
	need redis-server redis-server
}

token() {
	need softhsm2-util softhsm2
}

bench() {
	token
	need wrk wrk
	PATH="$PATH:/usr/sbin" need nginx nginx-light
}

windows() {
	ls /usr/lib/wine/wine64 >/dev/null 2>&1 || missing="$missing wine64"
	need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64
}

peers() {
	databases
	token
	need openssl openssl
	need curl curl
	need tshark tshark
	need stunnel4 stunnel4
	PATH="$PATH:/usr/sbin" need proftpd proftpd-core
	need /usr/lib/proftpd/mod_tls.so proftpd-mod-crypto
	PATH="$PATH:/usr/sbin" need dovecot dovecot-core
	need /usr/lib/dovecot/imap dovecot-imapd
	need /usr/lib/dovecot/pop3 dovecot-pop3d
	need /usr/lib/dovecot/lmtp dovecot-lmtpd
	need /usr/lib/dovecot/managesieve dovecot-managesieved
	need prosody prosody
	need /usr/lib/postfix/sbin/master postfix
	PATH="$PATH:/usr/sbin" need nginx nginx
	PATH="$PATH:/usr/sbin" need apache2 apache2-bin
	PATH="$PATH:/usr/sbin" need squid squid
	need microsocks microsocks
	need pkcs11-tool opensc
	need p11-kit p11-kit
	need swtpm swtpm
	need tpm2_flushcontext tpm2-tools
	ls /usr/lib/*/pkcs11/libtpm2_pkcs11.so >/dev/null 2>&1 || missing="$missing libtpm2-pkcs11-1"
	# Two servers for FTP cannot be installed at once: of the others the programs alone are taken.
	alone vsftpd vsftpd libwrap0
	alone pure-ftpd pure-ftpd libsodium23
	alone pure-pw pure-ftpd libsodium23
	# The set-up of inn2 fails on hosts without a full name, and is not wanted: its programs alone, too.
	[ -x /usr/local/lib/news/bin/nnrpd ] || news=/usr/local/lib/news
}

"${1:-peers}"
[ -z "$missing$news" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "please install:$missing" >&2
	exit 1
fi
run=""
[ "$(id -u)" -eq 0 ] || run="sudo"
$run apt-get update -qq
# The tests start servers of their own: those of the packages are not wanted. RUNLEVEL=1 keeps
# invoke-rc.d from starting them where no policy does.
# shellcheck disable=SC2086 # a list of packages
[ -z "$missing" ] || $run env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	apt-get install -y -qq --no-install-recommends $missing

[ -z "$programs$news" ] && exit 0
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
chmod 755 "$folder"
for each in $programs; do
	program=${each%:*} package=${each#*:}
	[ -d "$folder/$package" ] || (
		cd "$folder"
		apt-get download -qq "$package"
		dpkg-deb -x "$package"_*.deb "$package"
	)
	$run install -m 755 "$folder/$package"/usr/*bin/"$program" /usr/local/sbin/
done
[ -z "$news" ] && exit 0
cd "$folder"
apt-get download -qq inn2
dpkg-deb -x inn2_*.deb inn2
for field in Pre-Depends Depends; do
	$run env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get satisfy -y -qq --no-install-recommends "$(dpkg-deb -f inn2_*.deb $field)"
done
$run mkdir -p "$news"
$run cp -R inn2/usr/lib/news/. "$news"
