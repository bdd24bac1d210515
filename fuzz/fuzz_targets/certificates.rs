//! Certificates, revocation lists and OCSP responses through the verdict. The contract is at `operate`; `cargo test` runs it
//! over fewer inputs.

#![no_main]

#[path = "../../crates/verdict/tests/operations/mod.rs"]
mod operations;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    operations::operate(input);
});
