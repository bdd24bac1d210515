//! The numbers of TLS and their names, as IANA registers them, in one place for all libraries. Alerts
//! are in [`crate::alert`].
//!
//! The tables have what the public enumerations of `polytls.constants` have, and a test holds them
//! together.

mod others;

use crate::config::Version;

pub use others::{OTHER_CIPHER_SUITES, OTHER_GROUPS};

/// Cipher suites (RFC 8446 appendix B.4, RFC 5289, RFC 6655, RFC 7905).
pub const CIPHER_SUITES: &[(u16, &str)] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Key exchange groups (RFC 8446 section 4.2.7, draft-ietf-tls-mlkem, draft-ietf-tls-ecdhe-mlkem).
pub const GROUPS: &[(u16, &str)] = &[
    (0x0017, "secp256r1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x001d, "x25519"),
    (0x001e, "x448"),
    (0x0200, "MLKEM512"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ec, "X25519MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
];

/// The same groups by the names that every version of OpenSSL knows (`OBJ_sn2nid`, lists of groups), in the
/// order of its own preference (SSL_CTX_set1_groups_list(3)).
pub const OPENSSL_GROUPS: &[(u16, &str)] = &[
    (0x11ec, "X25519MLKEM768"),
    (0x001d, "X25519"),
    (0x0017, "prime256v1"),
    (0x001e, "X448"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x0200, "MLKEM512"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
];

/// Signature schemes (RFC 8446 section 4.2.3, draft-ietf-tls-mldsa), by the names that OpenSSL has for them too
/// (SSL_CTX_set1_sigalgs_list(3)). Those with SHA-1 or SHA-224, and DSA, are not among them.
pub const SIGNATURE_SCHEMES: &[(u16, &str)] = &[
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];

/// What certificates are compressed with (RFC 8879 section 7.3).
pub const COMPRESSION_ALGORITHMS: &[(u16, &str)] = &[(1, "zlib"), (2, "brotli"), (3, "zstd")];

/// Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4), and those of the IANA registry that TLS
/// libraries send.
pub const HANDSHAKE_TYPES: &[(u8, &str)] = &[
    (0, "hello_request"),
    (1, "client_hello"),
    (2, "server_hello"),
    (4, "new_session_ticket"),
    (5, "end_of_early_data"),
    (8, "encrypted_extensions"),
    (11, "certificate"),
    (12, "server_key_exchange"),
    (13, "certificate_request"),
    (14, "server_hello_done"),
    (15, "certificate_verify"),
    (16, "client_key_exchange"),
    (20, "finished"),
    (22, "certificate_status"),
    (24, "key_update"),
    (25, "compressed_certificate"),
];

/// The group that OpenSSL tells by `name`, in whatever case: its own names, and IANA's.
#[must_use]
pub fn group_of_openssl(name: &str) -> Option<u16> {
    let mut rows = OPENSSL_GROUPS.iter().chain(GROUPS);
    let (number, _) = rows.find(|(_, known)| known.eq_ignore_ascii_case(name))?;
    Some(*number)
}

/// What `table` calls `number`.
#[must_use]
pub fn name(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    let mut rows = table.iter();
    let (_, name) = rows.find(|(known, _)| *known == number)?;
    Some(name)
}

/// The name that `table` has for `number`, or the number in hexadecimal.
#[must_use]
pub fn name_or_number(table: &[(u16, &'static str)], number: u16) -> String {
    name(table, number).map_or_else(|| format!("0x{number:04X}"), str::to_owned)
}

/// The one version that a cipher suite serves (RFC 8446 appendix B.4).
#[must_use]
pub const fn version_of_suite(number: u16) -> Version {
    // Registered outside 0x13xx: RFC 8998 (SM4) and RFC 9150 (integrity only).
    if number >> 8 == 0x13 || matches!(number, 0x00c6 | 0x00c7 | 0xc0b4 | 0xc0b5) {
        Version::Tls13
    } else {
        Version::Tls12
    }
}

/// Whether a group exchanges keys in `version`. ML-KEM and its hybrids are defined for TLS 1.3 only.
#[must_use]
pub const fn group_serves(number: u16, version: Version) -> bool {
    matches!(version, Version::Tls13) || !matches!(number, 0x0200..=0x0202 | 0x11eb..=0x11ed)
}
