//! The cases every backend must pass, on the OpenSSL of this machine, or on the one that TEST_LIBSSL names.

#[path = "../../rustls/tests/credentials/mod.rs"]
mod credentials;

use std::sync::LazyLock;

use credentials::CREDENTIALS;
use polytls_conformance::Versions::{Both, Tls12, Tls13};
use polytls_conformance::{Deviation, Versions};
use polytls_core::Backend as _;
use polytls_openssl::Openssl;

/// The system's, or the one that is named for this run.
static OPENSSL: LazyLock<Openssl> = LazyLock::new(|| {
    if let Some(path) = std::env::var_os("TEST_LIBSSL") {
        polytls_openssl::use_library(path.into()).expect("not loaded yet");
    }
    Openssl::load().expect("OpenSSL")
});

const ONE_LIST: &str = "in TLS 1.2 the curves of certificates must be among the groups: \
                        https://github.com/openssl/openssl/issues/28427";
const HANDSHAKE_FIRST: &str = "a message of the handshake that has begun is read to its end before anything is \
                               written: https://docs.openssl.org/3.0/man3/SSL_write_ex/";
const OTHER_ALERT: &str = "a record of a type that is none is decrypted first, and too short for that in TLS 1.2 \
                           (ssl/record/ssl3_record.c, tls1_enc)";

const fn deviation(case: &'static str, versions: Versions, reason: &'static str) -> Deviation {
    Deviation {
        case,
        versions,
        reason,
    }
}

const DECODE_ERROR: &str = "decode_error is sent for another version in a record's header \
                            (ssl/record/methods/tls13_meth.c, tls13_validate_record_header)";

const OF_ALL: &[Deviation] = &[
    deviation("handshake::facts_are_right_on_both_sides", Tls12, ONE_LIST),
    deviation("negotiation::groups_are_an_upper_bound", Tls12, ONE_LIST),
    deviation(
        "negotiation::effective_groups_are_negotiable",
        Tls12,
        ONE_LIST,
    ),
    deviation(
        "fragments::writing_at_every_byte_of_the_tickets",
        Tls13,
        HANDSHAKE_FIRST,
    ),
    deviation(
        "fragments::writing_at_every_byte_of_the_tickets",
        Both,
        HANDSHAKE_FIRST,
    ),
];

/// Before 3.5, and from then on.
const OF_OLDER: &[Deviation] = &[deviation(
    "alerts::for_a_header_that_is_none",
    Tls12,
    OTHER_ALERT,
)];
const OF_NEWER: &[Deviation] = &[
    deviation("alerts::for_a_header_that_is_none", Tls12, OTHER_ALERT),
    deviation("alerts::for_a_header_that_is_none", Tls13, DECODE_ERROR),
    deviation("alerts::for_a_header_that_is_none", Both, DECODE_ERROR),
];

fn deviations() -> Vec<Deviation> {
    let version = OPENSSL.version();
    let older = (0..5).any(|minor| version.starts_with(&format!("OpenSSL 3.{minor}.")));
    [OF_ALL, if older { OF_OLDER } else { OF_NEWER }].concat()
}

polytls_conformance::tests!(*OPENSSL, &CREDENTIALS, &deviations());
