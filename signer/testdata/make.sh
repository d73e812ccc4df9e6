#!/bin/sh
# Makes the files beside it with openssl 3 and ssh-keygen: what people have in
# place of a GitHub App's key, as the tools write it. The files are base64, so
# that no search for leaked keys takes them for real ones.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

openssl genrsa -traditional -out rsa.pkcs1 2048
openssl pkcs8 -topk8 -nocrypt -in rsa.pkcs1 -out rsa.pkcs8
openssl rsa -in rsa.pkcs1 -outform DER -out rsa.der
openssl genrsa -traditional -out rsa.1024 1024
openssl genrsa -traditional -primes 3 -out rsa.3primes 2048
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out rsa-pss

# The command of GitHub's page "Managing private keys for GitHub Apps".
openssl rsa -in rsa.pkcs1 -pubout -outform DER | openssl sha256 -binary | openssl base64 >rsa.fingerprint

openssl rsa -in rsa.pkcs1 -aes256 -traditional -passout pass:example -out encrypted.pkcs1
openssl pkcs8 -topk8 -in rsa.pkcs1 -passout pass:example -out encrypted.pkcs8

openssl rsa -in rsa.pkcs1 -pubout -out public.spki
openssl rsa -in rsa.pkcs1 -RSAPublicKey_out -out public.pkcs1
openssl req -x509 -key rsa.pkcs1 -subj /CN=example -days 3650 -out certificate
openssl req -new -key rsa.pkcs1 -subj /CN=example -out certificate.request
openssl pkcs12 -export -in certificate -inkey rsa.pkcs1 -passout pass:example -out bundle.p12
openssl pkcs12 -in bundle.p12 -passin pass:example -noenc -out bundle

openssl ecparam -name prime256v1 -genkey -out ec.sec1
openssl pkcs8 -topk8 -nocrypt -in ec.sec1 -out ec.pkcs8
openssl genpkey -algorithm ed25519 -out ed25519
openssl genpkey -algorithm x25519 -out x25519
openssl dsaparam -out parameters 1024
openssl gendsa -out dsa.pkcs8 parameters
openssl pkey -in dsa.pkcs8 -traditional -out dsa
rm parameters

ssh-keygen -q -t rsa -b 2048 -N '' -C example -f openssh.rsa
ssh-keygen -q -t rsa -b 2048 -N example -C example -f openssh.rsa-encrypted
ssh-keygen -q -t ed25519 -N '' -C example -f openssh.ed25519
ssh-keygen -q -t ecdsa -N '' -C example -f openssh.ecdsa
ssh-keygen -e -m RFC4716 -f openssh.rsa.pub | sed '/^Comment:/d' >public.rfc4716
mv openssh.rsa.pub public.openssh
rm openssh.*.pub

rm -f "$here"/*.b64
for file in *; do base64 "$file" >"$here/$file.b64"; done
