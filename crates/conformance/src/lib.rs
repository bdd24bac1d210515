//! What every backend must do, where Python cannot see it well: two sessions tied together in
//! memory ([`Pair`]), and a table of cases ([`cases`]) over them.
//!
//! A backend crate takes this as a dev-dependency, makes [`Credentials`] its own way, and runs
//! everything with one line, [`tests!`]: a test per case and choice of [`Versions`], each under
//! its own name.
//!
//! It knows no TLS library, no X.509, no socket, and no clock but for [`cost`]. How the public Python API behaves is
//! the business of the kit in `polytls.testing`. Rules:
//!
//! 1. A case that a library cannot pass stays in the table; the library's own tests say so.
//! 2. A case asserts what `docs` promise of every backend, never how one library words it.
//! 3. Randomness comes from a seed: what failed once fails again.
//! 4. A panic inside a session is an [`polytls_core::Error::Internal`], which no case accepts.

mod cases;
mod cost;
mod credentials;
mod input;
mod pair;
mod random;
mod records;
mod scene;

pub use cases::{Case, Deviation, cases, run, run_with};
pub use cost::cost;
pub use credentials::{ADDRESS, Credentials, DEVICE, EXACT_HOST, HOST, WILDCARD_HOST};
pub use input::Input;
pub use pair::{Cut, Outcome, Pair, other};
pub use random::Random;
pub use scene::Versions;

/// Makes a test of every case, in modules `tls12`, `tls13` and `both`.
///
/// ```ignore
/// polytls_conformance::tests!(MyBackend, credentials());
/// ```
///
/// The first expression is the backend, the second `&Credentials`; both are evaluated in each test. A third one,
/// `&[Deviation]`, says what the library cannot do: those cases must fail.
#[macro_export]
macro_rules! tests {
    ($backend:expr, $credentials:expr $(,)?) => {
        $crate::tests!($backend, $credentials, &[]);
    };
    ($backend:expr, $credentials:expr, $deviations:expr $(,)?) => {
        $crate::for_every_case! { [$crate::tests_of_cases] [$backend, $credentials, $deviations] }
    };
}

/// The second half of [`tests!`].
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_cases {
    (
        [$backend:expr, $credentials:expr, $deviations:expr]
        every { $($in_every:ident :: $every:ident)* }
        only12 { $($in_only12:ident :: $only12:ident)* }
        only13 { $($in_only13:ident :: $only13:ident)* }
        only_both { $($in_only_both:ident :: $only_both:ident)* }
    ) => {
        mod tls12 {
            use super::*;
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Tls12 $in_every::$every })*
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Tls12 $in_only12::$only12 })*
        }
        mod tls13 {
            use super::*;
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Tls13 $in_every::$every })*
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Tls13 $in_only13::$only13 })*
        }
        mod both {
            use super::*;
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Both $in_every::$every })*
            $($crate::tests_of_cases! { @test [$backend, $credentials, $deviations] Both $in_only13::$only13 })*
            $($crate::tests_of_cases! {
                @test [$backend, $credentials, $deviations] Both $in_only_both::$only_both
            })*
        }
    };
    (@test [$backend:expr, $credentials:expr, $deviations:expr] $versions:ident $module:ident :: $name:ident) => {
        #[test]
        fn $name() {
            $crate::run_with(
                $deviations,
                concat!(stringify!($module), "::", stringify!($name)),
                &$backend,
                $credentials,
                $crate::Versions::$versions,
            );
        }
    };
}
