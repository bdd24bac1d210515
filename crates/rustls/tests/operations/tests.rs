//! What the fuzz targets do, over fewer inputs, for each library that has such a test.

use polytls_conformance::Random;

use super::operate;

#[test]
fn what_is_not_edited_completes() {
    for how in 0..6 {
        assert!(operate(&[how]), "{how}");
        assert!(operate(&[how | 0x80]), "{how}, resumed");
    }
}

#[test]
fn edited_flights_get_a_verdict() {
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let length = 4 + random.size(60);
        let mut input = random.bytes(length);
        // Half of them at the front, where the lengths are.
        if seed % 2 == 0 {
            input[4] = 0;
        }
        operate(&input);
    }
}
