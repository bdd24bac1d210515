#!/bin/sh
# Makes the files of this folder anew; README.md says what each is.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
phrase=pass:polytls

cat >"$work/ca.cnf" <<END
[ca]
default_ca = self
[self]
new_certs_dir = $work
database = $work/index
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
[leaf]
subjectAltName = DNS:server.example
keyUsage = critical, digitalSignature
END

openssl ecparam -name prime256v1 -genkey -out ec.parameters.pem
openssl pkcs8 -topk8 -nocrypt -in ec.parameters.pem -out ec.pkcs8.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pkcs8.pem

for kind in ec rsa; do
    plain=$kind.pkcs8.pem
    : >"$work/index"
    openssl req -new -key "$plain" -subj "/CN=polytls $kind" -out "$work/request"
    openssl ca -batch -selfsign -notext -config "$work/ca.cnf" -extensions leaf -keyfile "$plain" \
        -startdate 20200101000000Z -enddate 21200101000000Z \
        -in "$work/request" -out $kind.certificate.pem 2>"$work/log"
    openssl x509 -in $kind.certificate.pem -outform DER -out $kind.certificate.der
    openssl pkcs8 -topk8 -nocrypt -in "$plain" -outform DER -out $kind.pkcs8.der
    openssl pkcs8 -topk8 -v2 aes-256-cbc -passout $phrase -in "$plain" -out $kind.encrypted.pem
    openssl pkcs8 -topk8 -v2 aes-256-cbc -passout $phrase -in "$plain" -outform DER -out $kind.encrypted.der
    openssl pkey -traditional -aes128 -passout $phrase -in "$plain" -out $kind.legacy.pem
    openssl pkcs12 -export -name "polytls $kind" -passout $phrase -inkey "$plain" -in $kind.certificate.pem -out "$work/p12"
    openssl pkcs12 -in "$work/p12" -passin $phrase -nodes -out $kind.attributes.pem
done
openssl pkey -traditional -in ec.pkcs8.pem -out ec.sec1.pem
openssl ec -in ec.pkcs8.pem -outform DER -out ec.sec1.der 2>"$work/log"
openssl pkey -traditional -in rsa.pkcs8.pem -out rsa.pkcs1.pem
openssl rsa -traditional -in rsa.pkcs8.pem -outform DER -out rsa.pkcs1.der 2>"$work/log"
openssl pkey -in ec.pkcs8.pem -pubout -out ec.public.pem
chmod 644 ./*.pem ./*.der
