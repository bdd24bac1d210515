//! Any certificate and revocation list gets a verdict: what `fuzz/fuzz_targets/certificates.rs` does, over fewer inputs.

mod operations;

use operations::operate;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn what_is_not_edited_is_accepted() {
    for how in 0..16 {
        assert!(operate(&[how]), "{how}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_certificates_get_a_verdict(input in vec(prop_oneof![0..16_u8, any::<u8>()], 1..100)) {
        operate(&input);
    }
}
