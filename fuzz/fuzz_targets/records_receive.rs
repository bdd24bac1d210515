//! The record layer against a peer with the right keys, and against anyone else on the way.
//!
//! Contract: every input is either opened or gives `PeerMisbehaved` or `AlertReceived`; nothing
//! panics; nothing but data that was sealed is delivered; no more than one incomplete handshake
//! message of at most 64 KiB is kept.
//!
//! `make fuzz`, or `cargo +nightly fuzz run records_receive`. The same operations run in
//! `cargo test`, over fewer inputs.

#![no_main]

#[path = "../../crates/records/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::operations::operate(input));
