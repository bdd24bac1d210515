//! Certificate compression (RFC 8879): OpenSSL has it since 3.2, with what it was built with.
//!
//! A server's chains are compressed once, when its context is created. OpenSSL leaves out the extensions of a
//! Certificate message then (`ssl3_output_cert_chain`), so a chain with an OCSP response is sent as it is. A client
//! compresses at each handshake.
//!
//! What a peer sends is decompressed into as many bytes as it has declared, which `max_cert_list` limits: 100 KiB.
//! Versions that do not look at that limit before they allocate memory (CVE-2025-66199) do not get it.

use std::ffi::{c_int, c_uchar, c_ulong};
use std::ptr;

use polytls_core::Error;

use crate::api::SSL;
use crate::blame::Fault;
use crate::library::Library;
use crate::objects::SslContext;
use crate::scope::Scope;

/// zlib, brotli and zstd (RFC 8879 section 7.3).
const ALGORITHMS: [c_int; 3] = [1, 2, 3];

/// A Certificate message, compressed.
#[derive(Debug)]
pub(crate) struct Compressed {
    algorithm: c_int,
    data: Vec<u8>,
    /// The length of the message.
    length: usize,
}

/// Whether this OpenSSL was built with any of the algorithms, and is bomb-safe.
pub(crate) fn is_supported(library: &Library) -> bool {
    limits_memory(library.version)
        && library.SSL_CTX_get1_compressed_cert.is_some()
        && library.SSL_set1_compressed_cert.is_some()
        && ALGORITHMS.iter().any(|one| has(library, *one))
}

/// Whether what is declared is held against the limit before memory is allocated.
const fn limits_memory(version: c_ulong) -> bool {
    match version >> 20 {
        0x303 => version >= 0x3030_0060,
        0x304 => version >= 0x3040_0040,
        0x305 => version >= 0x3050_0050,
        0x306 => version >= 0x3060_0010,
        later => later > 0x306,
    }
}

fn has(library: &Library, algorithm: c_int) -> bool {
    let method = match algorithm {
        1 => library.COMP_zlib_oneshot,
        2 => library.COMP_brotli_oneshot,
        _ => library.COMP_zstd_oneshot,
    };
    // SAFETY: it may be called at any time; null: it was built without.
    method.is_some_and(|method| unsafe { !method().is_null() })
}

/// The chain that `context`, a server's, was given last, in every form that is shorter.
pub(crate) fn of_chain(library: &Scope, context: &SslContext) -> Result<Vec<Compressed>, Error> {
    let Some(compress) = library.SSL_CTX_get1_compressed_cert else {
        return Ok(Vec::new());
    };
    let mut forms = Vec::new();
    for algorithm in ALGORITHMS {
        if !has(library, algorithm) {
            continue;
        }
        let (mut data, mut length) = (ptr::null_mut::<c_uchar>(), 0);
        // SAFETY: the context is ours and has a chain; what comes back is so many bytes, which are freed.
        let form = unsafe {
            let size = compress(context.as_ptr(), algorithm, &raw mut data, &raw mut length);
            if size == 0 || data.is_null() {
                let fault = Fault::take(library);
                let said = format!("OpenSSL cannot compress a chain: {}", fault.said());
                return Err(Error::Internal(said));
            }
            let form = std::slice::from_raw_parts(data, size).to_vec();
            library.CRYPTO_free(data.cast(), c"polytls".as_ptr(), 0);
            form
        };
        if form.len() < length {
            forms.push(Compressed {
                algorithm,
                data: form,
                length,
            });
        }
    }
    Ok(forms)
}

/// Gives `ssl`, a server's, the forms of the chain that it presents. Whether they are set.
///
/// # Safety
///
/// It has that chain.
pub(crate) unsafe fn present(library: &Library, ssl: *mut SSL, forms: &[Compressed]) -> bool {
    forms.iter().all(|form| {
        let (data, size) = (form.data.as_ptr().cast_mut(), form.data.len());
        // SAFETY: the caller's; the bytes are copied.
        library
            .SSL_set1_compressed_cert
            .is_some_and(|set| unsafe { set(ssl, form.algorithm, data, size, form.length) == 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::limits_memory;

    #[test]
    fn versions_without_the_limit_do_not_compress() {
        for (safe, version) in [
            (false, 0x3000_0130),
            (false, 0x3020_0060),
            (false, 0x3030_0050),
            (true, 0x3030_0060),
            (false, 0x3040_0030),
            (true, 0x3040_0040),
            (false, 0x3050_0040),
            (true, 0x3050_0090),
            (false, 0x3060_0000),
            (true, 0x3060_0010),
            (true, 0x4000_0000),
        ] {
            assert_eq!(limits_memory(version), safe, "{version:#x}");
        }
    }
}
