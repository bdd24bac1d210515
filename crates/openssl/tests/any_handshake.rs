//! Any handshake ends in a verdict: what `fuzz/fuzz_targets/handshakes_openssl.rs` does, over fewer inputs.

#[path = "../../rustls/tests/credentials/mod.rs"]
mod credentials;
#[path = "../../rustls/tests/operations/mod.rs"]
mod operations;

use polytls_core::Backend;
use polytls_openssl::Openssl;

fn backend() -> impl Backend {
    Openssl::load().expect("OpenSSL")
}
