//! Any certificate, revocation list and OCSP response gets a verdict: what `fuzz/fuzz_targets/certificates.rs` does, over fewer inputs.

mod operations;

use operations::operate;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn what_is_not_edited_is_accepted() {
    for how in 0..32 {
        assert!(operate(&[how]), "{how}");
    }
}

#[test]
fn a_staple_that_is_required_is_missed() {
    const REQUIRED: u8 = 32;
    const STAPLED: u8 = 16;
    for of_authorities in [0, 1, 4, 5] {
        assert!(operate(&[of_authorities | REQUIRED | STAPLED]));
        assert!(!operate(&[of_authorities | REQUIRED]));
    }
    for of_the_leaf in [2, 3] {
        assert!(!operate(&[of_the_leaf | REQUIRED | STAPLED]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_certificates_get_a_verdict(input in vec(prop_oneof![0..16_u8, any::<u8>()], 1..100)) {
        operate(&input);
    }
}
