//! Where the system's certificates are read from: SSL_CERT_FILE and SSL_CERT_DIR choose, as for the
//! platform's own tools, and an empty value is as if the variable were not set.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use polytls_core::Error;
use polytls_core::config::TrustSource;
use polytls_core::pki_types::CertificateDer;
use polytls_core::pki_types::pem::PemObject as _;
use rustls_native_certs::{CertificateResult, ErrorKind};

/// The variables that choose.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What the variables say, `None` for what is unset or empty.
pub(crate) type Chosen = [Option<OsString>; 2];

pub(crate) fn chosen() -> Chosen {
    VARIABLES.map(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

/// The variables that choose, in words; `None` if none does.
pub(crate) fn described(chosen: &Chosen) -> Option<String> {
    let set: Vec<String> = VARIABLES
        .iter()
        .zip(chosen)
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?.display())))
        .collect();
    (!set.is_empty()).then(|| format!("chosen by {}", set.join(" and ")))
}

/// The source with the variables that choose it, where the system has such.
pub(crate) fn with_variables(source: TrustSource) -> TrustSource {
    match source {
        TrustSource::System { has_more, .. }
            if cfg!(not(any(windows, target_vendor = "apple"))) =>
        {
            TrustSource::System {
                has_more,
                chosen: described(&chosen()),
            }
        }
        other => other,
    }
}

/// Reads the certificates of a file and of folders: those that are chosen, or else the system's.
///
/// # Errors
///
/// [`Error::Configuration`], with the variable: it names what cannot be read. Of several folders one
/// will do, and none is needed where there is a file.
pub(crate) fn load([file, folders]: &Chosen) -> Result<CertificateResult, Error> {
    if file.is_none() && folders.is_none() {
        return Ok(of_the_system());
    }
    let mut found = CertificateResult::default();
    if let Some(file) = file {
        let path = Path::new(file);
        // Read once: what is named may be a pipe.
        let data = fs::read(path).map_err(|error| unreadable(VARIABLES[0], path, &error))?;
        for certificate in CertificateDer::pem_slice_iter(&data) {
            match certificate {
                Ok(certificate) => found.certs.push(certificate),
                Err(error) => found.errors.push(rustls_native_certs::Error {
                    context: "a certificate that cannot be read",
                    kind: ErrorKind::Pem(error),
                }),
            }
        }
    }
    if let Some(folders) = folders {
        let folders: Vec<PathBuf> = env::split_paths(folders)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        let readable = |folder: &PathBuf| fs::read_dir(folder).map(drop);
        let failures: Vec<_> = folders.iter().map(readable).collect();
        if let (Some(first), Some(Err(error))) = (folders.first(), failures.first())
            && file.is_none()
            && failures.iter().all(Result::is_err)
        {
            return Err(unreadable(VARIABLES[1], first, error));
        }
        for folder in &folders {
            add(&mut found, None, Some(folder));
        }
    }
    Ok(found)
}

fn unreadable(variable: &str, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::configuration(
        "trust_store",
        format!(
            "{variable} names {path}, which cannot be read ({error}); correct the variable, or \
             unset it to use the system's default store"
        ),
    )
}

fn add(found: &mut CertificateResult, file: Option<&Path>, folder: Option<&Path>) {
    let more = rustls_native_certs::load_certs_from_paths(file, folder);
    found.certs.extend(more.certs);
    found.errors.extend(more.errors);
}

/// Where the system's own are: a file, and a folder; `None` where there is none, or another kind of store.
#[must_use]
pub fn system_places() -> (Option<PathBuf>, Option<PathBuf>) {
    #[cfg(all(unix, not(target_vendor = "apple")))]
    {
        let places = openssl_probe::probe();
        (places.cert_file, places.cert_dir.into_iter().next())
    }
    #[cfg(not(all(unix, not(target_vendor = "apple"))))]
    (None, None)
}

/// The system's own. `load_native_certs` would take an empty variable for a path.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn of_the_system() -> CertificateResult {
    let places = openssl_probe::probe();
    let mut found = CertificateResult::default();
    if let Some(file) = &places.cert_file {
        add(&mut found, Some(file), None);
    }
    for folder in &places.cert_dir {
        add(&mut found, None, Some(folder));
    }
    // A bundle and a folder of the same certificates are the rule.
    found
        .certs
        .sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.certs.dedup();
    found
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn of_the_system() -> CertificateResult {
    rustls_native_certs::load_native_certs()
}
