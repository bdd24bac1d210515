//! Any handshake ends in a verdict: what `fuzz/fuzz_targets/handshakes.rs` does, over fewer inputs.

mod credentials;
mod operations;

use polytls_core::Backend;
use polytls_rustls::Rustls;

fn backend() -> impl Backend {
    Rustls::default()
}
