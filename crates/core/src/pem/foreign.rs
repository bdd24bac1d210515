//! What else files hold that are given for certificates, keys and CRLs: what it is, and what
//! turns it into what is wanted.

use super::{ENCRYPTED, contains, header};

/// What should have been there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Certificate,
    PrivateKey,
    RevocationList,
}

impl Wanted {
    const fn called(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::PrivateKey => "a private key",
            Self::RevocationList => "a CRL",
        }
    }
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificate,
    Request,
    RevocationList,
    PrivateKey,
    EncryptedKey,
    PublicKey,
    DsaKey,
    OpenSshKey,
    Pkcs7,
    Pkcs12,
    JavaKeyStore,
    Utf16,
    BareBase64,
}

/// What `bytes` are in place of what is wanted, and what to do; `None` for what is wanted, and for what is not
/// known.
pub(super) fn instead(bytes: &[u8], wanted: Wanted) -> Option<String> {
    let is_der = bytes.first() == Some(&0x30);
    let kind = if is_der {
        in_der(bytes)
    } else {
        in_text(bytes)
    }?;
    let it = match (kind, wanted) {
        (Kind::Certificate, Wanted::Certificate)
        | (Kind::PrivateKey, Wanted::PrivateKey)
        | (Kind::RevocationList, Wanted::RevocationList) => return None,
        (Kind::EncryptedKey, Wanted::PrivateKey) => return Some(ENCRYPTED.to_owned()),
        (Kind::Pkcs12, _) => {
            let part = match wanted {
                Wanted::PrivateKey => "-nocerts -noenc -out key.pem",
                _ => "-nokeys -out certificates.pem",
            };
            return Some(format!(
                "PKCS#12 (a .p12 or .pfx file), which is not supported; convert it, for example \
                 with `openssl pkcs12 -in FILE {part}`"
            ));
        }
        (Kind::Pkcs7, Wanted::Certificate) => {
            let form = if is_der { " -inform DER" } else { "" };
            return Some(format!(
                "PKCS#7 (a .p7b or .p7c file), which is not supported; convert it, for example \
                 with `openssl pkcs7 -in FILE{form} -print_certs -out certificates.pem`"
            ));
        }
        (Kind::JavaKeyStore, _) => {
            return Some(
                "a Java key store, which is not supported; convert it to PKCS#12 with `keytool \
                 -importkeystore -srckeystore FILE -destkeystore new.p12 -deststoretype PKCS12`, \
                  then convert that with `openssl pkcs12 -in new.p12 -noenc -out new.pem`"
                    .to_owned(),
            );
        }
        (Kind::OpenSshKey, Wanted::PrivateKey) => {
            return Some(
                "a private key in OpenSSH format, which is not supported; convert a copy of it \
                 with \
                 `ssh-keygen -p -N '' -m PKCS8 -f COPY`"
                    .to_owned(),
            );
        }
        (Kind::Utf16, _) => {
            return Some(
                "UTF-16 text, as Windows PowerShell writes it; PEM is ASCII: save it as UTF-8"
                    .to_owned(),
            );
        }
        (Kind::BareBase64, _) => {
            let label = match wanted {
                Wanted::Certificate => "CERTIFICATE",
                Wanted::PrivateKey => "PRIVATE KEY",
                Wanted::RevocationList => "X509 CRL",
            };
            return Some(format!(
                "base64 without PEM delimiters; put `-----BEGIN {label}-----` before it and \
                 `-----END {label}-----` after it"
            ));
        }
        (Kind::DsaKey, Wanted::PrivateKey) => {
            return Some(
                "a DSA key, which TLS does not support (RFC 8446 section 4.2.3); create an ECDSA \
                 or RSA key and get a certificate for it"
                    .to_owned(),
            );
        }
        (Kind::Certificate, _) => "a certificate",
        (Kind::Request, _) => {
            "a certificate signing request (a .csr file, from which a CA issues a certificate)"
        }
        (Kind::RevocationList, _) => "a CRL",
        (Kind::PublicKey, Wanted::PrivateKey) => "only the public key",
        (Kind::PublicKey, _) => "a public key",
        (Kind::Pkcs7, _) => "PKCS#7, which holds only certificates",
        (Kind::PrivateKey | Kind::EncryptedKey | Kind::DsaKey | Kind::OpenSshKey, _) => {
            "a private key"
        }
    };
    let form = if is_der { "DER" } else { "PEM" };
    let section = match wanted {
        Wanted::Certificate => "CERTIFICATE",
        Wanted::PrivateKey => "PRIVATE KEY",
        Wanted::RevocationList => "X509 CRL",
    };
    Some(format!(
        "{it} in {form}, expected {} (in PEM, a {section} section)",
        wanted.called()
    ))
}

/// By the first elements of what is a sequence.
fn in_der(bytes: &[u8]) -> Option<Kind> {
    let outer = inside(bytes)?;
    match tags(outer)[..] {
        // PrivateKeyInfo (RFC 5958), RSAPrivateKey (RFC 8017), ECPrivateKey (RFC 5915); PFX (RFC 7292) is
        // of version 3.
        [0x02, 0x30, ..] if outer.starts_with(&[0x02, 1, 3]) => Some(Kind::Pkcs12),
        [0x02, 0x30, 0x04, ..] | [0x02, 0x02, 0x02, ..] | [0x02, 0x04, ..] => {
            Some(Kind::PrivateKey)
        }
        // ContentInfo (RFC 2315) of signedData.
        [0x06, 0xa0, ..] if outer.starts_with(SIGNED_DATA) => Some(Kind::Pkcs7),
        // SubjectPublicKeyInfo.
        [0x30, 0x03] => Some(Kind::PublicKey),
        // EncryptedPrivateKeyInfo begins with an AlgorithmIdentifier; the plain forms begin with a version.
        [0x30, 0x04] => Some(Kind::EncryptedKey),
        // Something that is signed.
        [0x30, 0x30, 0x03] => Some(match tags(inside(outer)?)[..] {
            [0x02, 0x30, 0x30, 0xa0] => Kind::Request,
            [0x02, 0x30, 0x30, 0x17 | 0x18, ..] | [0x30, 0x30, 0x17 | 0x18, ..] => {
                Kind::RevocationList
            }
            _ => Kind::Certificate,
        }),
        _ => None,
    }
}

/// 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// The contents of the first element.
fn inside(bytes: &[u8]) -> Option<&[u8]> {
    let (start, length) = header(bytes)?;
    bytes.get(start..start.checked_add(length)?)
}

/// The tags of the elements in `bytes`, of the first five.
fn tags(mut bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let (Some(tag), Some((start, length))) = (bytes.first(), header(bytes)) {
        found.push(*tag);
        let rest = start.checked_add(length).and_then(|end| bytes.get(end..));
        match rest {
            Some(rest) if found.len() < 5 => bytes = rest,
            _ => break,
        }
    }
    found
}

/// By labels of PEM, of which the one that was wanted is not there, and by signs of other forms.
fn in_text(bytes: &[u8]) -> Option<Kind> {
    let begins = |label: &str| contains(bytes, format!("-----BEGIN {label}-----").as_bytes());
    let labels = [
        (Kind::Pkcs7, &["PKCS7", "PKCS #7 SIGNED DATA", "CMS"][..]),
        (Kind::OpenSshKey, &["OPENSSH PRIVATE KEY"]),
        (Kind::DsaKey, &["DSA PRIVATE KEY"]),
        (
            Kind::PrivateKey,
            &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"],
        ),
        (Kind::EncryptedKey, &["ENCRYPTED PRIVATE KEY"]),
        (
            Kind::Certificate,
            &["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"],
        ),
        (
            Kind::Request,
            &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
        ),
        (Kind::RevocationList, &["X509 CRL"]),
        (Kind::PublicKey, &["PUBLIC KEY", "RSA PUBLIC KEY"]),
    ];
    let labelled = labels
        .into_iter()
        .find(|(_, labels)| labels.iter().any(|label| begins(label)));
    if let Some((kind, _)) = labelled {
        return Some(kind);
    }
    if bytes.starts_with(b"\xfe\xed\xfe\xed") {
        return Some(Kind::JavaKeyStore);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Some(Kind::Utf16);
    }
    // A sequence of some hundred bytes begins so.
    let text = bytes.trim_ascii();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    (text.starts_with(b"MI") && text.iter().all(is_base64)).then_some(Kind::BareBase64)
}
