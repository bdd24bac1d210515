//! The cases every backend must pass, on rustls alone: its own records in TLS 1.3 as well.
//!
//! The switch is the process's, so this is a test program of its own.

mod credentials;

use credentials::CREDENTIALS;
use polytls_rustls::{Rustls, use_record_layer};

polytls_conformance::tests!(alone(), &CREDENTIALS);

fn alone() -> Rustls {
    use_record_layer(false);
    Rustls
}
