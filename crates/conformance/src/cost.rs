//! What a part of a backend costs, for figures in `docs`: printed, never asserted.

use std::time::Instant;

/// Prints how many microseconds of `library`'s time `what` takes: the least of 400 attempts, each short, as the
/// machine may be busy with something else. Panics if `once` returns `false`: what did not work costs nothing.
pub fn cost(library: &str, what: &str, mut once: impl FnMut() -> bool) {
    const TIMES: u32 = 500;
    let least = (0..400)
        .map(|_| {
            let began = Instant::now();
            assert!((0..TIMES).all(|_| once()), "{library}: {what}");
            began.elapsed()
        })
        .min()
        .unwrap_or_default();
    let each = least.as_secs_f64() * 1e6 / f64::from(TIMES);
    println!("{library}: {what}: {each:.2} us");
}
