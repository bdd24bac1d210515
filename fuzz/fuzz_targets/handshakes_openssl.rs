//! The same on the system's OpenSSL: handshakes of both sides with flights that were edited on their way, through
//! `receive` of its sessions. The contract is at `operate`; `cargo test` runs it over fewer inputs.

#![no_main]

#[path = "../../crates/rustls/tests/credentials/mod.rs"]
mod credentials;
#[path = "../../crates/rustls/tests/operations/mod.rs"]
mod operations;

fn backend() -> impl polytls_core::Backend {
    <polytls_openssl::Openssl as polytls_core::Backend>::load().expect("OpenSSL")
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    operations::operate(input);
});
