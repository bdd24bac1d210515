#!/bin/sh
# Makes the weak.*.pem files of this folder anew: certificates and keys that nobody should accept, and that
# rcgen does not make. README.md says what each is.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

authority="basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign"
leaf="subjectAltName=DNS:server.example
keyUsage=critical,digitalSignature"

# issue NAME SUBJECT DIGEST EXTENSIONS [CA]: a certificate for NAME.key, by CA or by itself.
issue() {
    printf '%s\n' "$4" >"$work/$1.extensions"
    openssl req -new -key "$work/$1.key" -subj "/CN=$2" -out "$work/$1.request"
    if [ $# -gt 4 ]; then
        openssl x509 -req -in "$work/$1.request" -CA "$work/$5.crt" -CAkey "$work/$5.key" -CAcreateserial \
            -"$3" -days 36500 -extfile "$work/$1.extensions" -out "$work/$1.crt" 2>"$work/log"
    else
        openssl x509 -req -in "$work/$1.request" -key "$work/$1.key" \
            -"$3" -days 36500 -extfile "$work/$1.extensions" -out "$work/$1.crt" 2>"$work/log"
    fi
}

for name in root sha1 small-issuer-leaf; do
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$name.key"
done
for name in small small-issuer; do
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out "$work/$name.key"
done
issue root "polytls weak root" sha256 "$authority"
issue sha1 "signed with SHA-1" sha1 "$leaf" root
issue small "RSA with 1024 bits" sha256 "$leaf" root
issue small-issuer "an issuer with 1024 bits" sha256 "$authority" root
issue small-issuer-leaf "below an issuer with 1024 bits" sha256 "$leaf" small-issuer

cat "$work/root.crt" >weak.root.pem
cat "$work/sha1.crt" "$work/sha1.key" >weak.sha1.pem
cat "$work/small.crt" "$work/small.key" >weak.rsa1024.pem
cat "$work/small-issuer-leaf.crt" "$work/small-issuer.crt" "$work/small-issuer-leaf.key" >weak.rsa1024-issuer.pem
chmod 644 weak.*.pem
