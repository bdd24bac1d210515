//! Tells the crate which versions of rustls and aws-lc-rs the lock file pins, so that what is
//! shown to people is what was built.

use std::{env, fs, path::PathBuf};

fn main() {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let lock = manifest.join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(&lock).expect("the lock file is part of the source");
    for (package, variable) in [
        ("rustls", "POLYTLS_RUSTLS_VERSION"),
        ("aws-lc-rs", "POLYTLS_AWS_LC_RS_VERSION"),
    ] {
        let version = text
            .split("[[package]]")
            .find(|entry| entry.contains(&format!("\nname = \"{package}\"\n")))
            .and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next())
            .expect("a dependency of this crate is in the lock file");
        println!("cargo::rustc-env={variable}={version}");
    }
}
