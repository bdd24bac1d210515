//! The verdict's cryptography, done by OpenSSL: signatures of certificates and revocation lists, hashes, and
//! what ticket keys are derived by.

use std::ffi::{CStr, c_int};
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lru::LruCache;
use polytls_core::fork::PerProcess;
use polytls_verdict::Crypto;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use crate::api::{self, EVP_CIPHER, EVP_MD};
use crate::library::{Library, loaded};
use crate::objects::PrivateKey;

/// Sizes of RSA keys whose signatures are accepted.
const RSA_BITS: std::ops::RangeInclusive<i32> = 2048..=8192;

/// An algorithm that was looked up once, for ever.
struct Fetched<T>(*const T);

// SAFETY: what is fetched is not changed, and never freed.
unsafe impl<T> Send for Fetched<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Fetched<T> {}

/// The digests of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// By any of the names that OpenSSL has for it.
    pub(crate) fn named(name: &CStr) -> Option<Self> {
        Some(match name.to_bytes() {
            b"SHA256" | b"SHA2-256" | b"SHA-256" => Self::Sha256,
            b"SHA384" | b"SHA2-384" | b"SHA-384" => Self::Sha384,
            b"SHA512" | b"SHA2-512" | b"SHA-512" => Self::Sha512,
            _ => return None,
        })
    }

    /// How many bytes it has.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Null if OpenSSL does not have it, as it is configured.
    fn fetched(self, library: &Library) -> *const EVP_MD {
        static FETCHED: [OnceLock<Fetched<EVP_MD>>; 3] = [const { OnceLock::new() }; 3];
        let name: &CStr = match self {
            Self::Sha256 => c"SHA2-256",
            Self::Sha384 => c"SHA2-384",
            Self::Sha512 => c"SHA2-512",
        };
        let fetched = FETCHED[self as usize].get_or_init(|| {
            // SAFETY: from the default context, without further properties.
            Fetched(unsafe { library.EVP_MD_fetch(ptr::null_mut(), name.as_ptr(), ptr::null()) })
        });
        fetched.0
    }
}

/// AES-256-CBC, which tickets are encrypted with; null if OpenSSL does not have it, as it is configured.
pub(crate) fn aes_256_cbc(library: &Library) -> *const EVP_CIPHER {
    static FETCHED: OnceLock<Fetched<EVP_CIPHER>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(|| {
        let name = c"AES-256-CBC".as_ptr();
        // SAFETY: as in `Digest::fetched`.
        Fetched(unsafe { library.EVP_CIPHER_fetch(ptr::null_mut(), name, ptr::null()) })
    });
    fetched.0
}

/// SHA-256. All zeros would do harm as the hash of a pin, so there is no way on without it.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let done = loaded().is_some_and(|library| {
        let digest = Digest::Sha256.fetched(library);
        // SAFETY: `data` is read, and a hash has 32 bytes.
        !digest.is_null()
            && unsafe {
                library.EVP_Digest(
                    data.as_ptr().cast(),
                    data.len(),
                    hash.as_mut_ptr(),
                    ptr::null_mut(),
                    digest,
                    ptr::null_mut(),
                )
            } == 1
    });
    assert!(done, "OpenSSL has no SHA-256 as it is configured");
    hash
}

/// HMAC-SHA256; `None` if OpenSSL refuses.
pub(crate) fn hmac(library: &Library, key: &[u8], data: &[u8]) -> Option<[u8; 32]> {
    let mut mac = [0; 32];
    let digest = Digest::Sha256.fetched(library);
    // SAFETY: both are read, and a MAC has 32 bytes.
    let made = unsafe {
        library.HMAC(
            digest,
            key.as_ptr().cast(),
            c_int::try_from(key.len()).ok()?,
            data.as_ptr(),
            data.len(),
            mac.as_mut_ptr(),
            ptr::null_mut(),
        )
    };
    (!digest.is_null() && !made.is_null()).then_some(mac)
}

/// Fills it with random bytes; `false` if there are none.
#[must_use]
pub(crate) fn random(library: &Library, into: &mut [u8]) -> bool {
    let Ok(length) = c_int::try_from(into.len()) else {
        return false;
    };
    // SAFETY: as many bytes are ours.
    unsafe { library.RAND_bytes(into.as_mut_ptr(), length) == 1 }
}

/// How a kind of key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Ecdsa(Digest),
    Pkcs1(Digest),
    Pss(Digest),
    /// The algorithm hashes by itself.
    Whole,
}

impl Way {
    /// The signature scheme of TLS that a key signs so by (RFC 8446 section 4.2.3); ECDSA with the curve that goes
    /// with the digest, Ed25519 where the whole message is signed.
    pub(crate) const fn scheme(self) -> u16 {
        match self {
            Self::Pkcs1(Digest::Sha256) => 0x0401,
            Self::Pkcs1(Digest::Sha384) => 0x0501,
            Self::Pkcs1(Digest::Sha512) => 0x0601,
            Self::Ecdsa(Digest::Sha256) => 0x0403,
            Self::Ecdsa(Digest::Sha384) => 0x0503,
            Self::Ecdsa(Digest::Sha512) => 0x0603,
            Self::Pss(Digest::Sha256) => 0x0804,
            Self::Pss(Digest::Sha384) => 0x0805,
            Self::Pss(Digest::Sha512) => 0x0806,
            Self::Whole => 0x0807,
        }
    }

    /// Whether `key` has signed `message` so.
    pub(crate) fn verifies(
        self,
        library: &Library,
        key: &PrivateKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let digest = match self {
            Self::Ecdsa(digest) | Self::Pkcs1(digest) | Self::Pss(digest) => {
                digest.fetched(library)
            }
            Self::Whole => ptr::null(),
        };
        if digest.is_null() && self != Self::Whole {
            return false;
        }
        // SAFETY: the context is ours, and freed; the context of the key is a part of it; what is read is lent.
        unsafe {
            let context = library.EVP_MD_CTX_new();
            let mut of_key = ptr::null_mut();
            let verified = !context.is_null()
                && library.EVP_DigestVerifyInit(
                    context,
                    &raw mut of_key,
                    digest,
                    ptr::null_mut(),
                    key.as_ptr(),
                ) == 1
                && (!matches!(self, Self::Pss(_))
                    || (library.EVP_PKEY_CTX_set_rsa_padding(of_key, api::RSA_PKCS1_PSS_PADDING)
                        == 1
                        && library.EVP_PKEY_CTX_set_rsa_mgf1_md(of_key, digest) == 1
                        && library.EVP_PKEY_CTX_set_rsa_pss_saltlen(
                            of_key,
                            api::RSA_PSS_SALTLEN_DIGEST,
                        ) == 1))
                && library.EVP_DigestVerify(
                    context,
                    signature.as_ptr(),
                    signature.len(),
                    message.as_ptr(),
                    message.len(),
                ) == 1;
            library.EVP_MD_CTX_free(context);
            verified
        }
    }
}

#[derive(Debug)]
struct Algorithm {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    way: Way,
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let library = loaded().ok_or(InvalidSignature)?;
        let verified = self.verify(library, public_key, message, signature);
        library.clean();
        verified.ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl Algorithm {
    fn verify(
        &self,
        library: &'static Library,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<()> {
        // OpenSSL reads the hybrid form of points too, which RFC 5480 section 2.2 forbids.
        if matches!(self.way, Way::Ecdsa(_)) && !matches!(public_key.first(), Some(2..=4)) {
            return None;
        }
        let key = read(library, key_info(self.key.as_ref(), public_key))?;
        if matches!(self.way, Way::Pkcs1(_) | Way::Pss(_)) && !RSA_BITS.contains(&key.bits()) {
            return None;
        }
        self.way
            .verifies(library, &key, message, signature)
            .then_some(())
    }
}

/// How many keys are kept as OpenSSL has read them, which takes it longer than to verify by them: those of
/// issuers come again and again.
const KEYS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

type Keys = LruCache<Vec<u8>, Arc<PrivateKey>>;

/// The key of a SubjectPublicKeyInfo.
fn read(library: &'static Library, info: Vec<u8>) -> Option<Arc<PrivateKey>> {
    static READ: OnceLock<PerProcess<Mutex<Keys>>> = OnceLock::new();
    let none = || Mutex::new(LruCache::new(KEYS));
    let keys = READ.get_or_init(|| PerProcess::new(none())).get(|_| none());
    let lock = || keys.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(&info).cloned();
    if known.is_some() {
        return known;
    }
    let key = Arc::new(PrivateKey::read_public(library, &info)?);
    lock().put(info, Arc::clone(&key));
    Some(key)
}

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): `algorithm` is what is inside of its first element.
fn key_info(algorithm: &[u8], public_key: &[u8]) -> Vec<u8> {
    let bits = [&[0], public_key].concat();
    element(
        0x30,
        &[element(0x30, algorithm), element(0x03, &bits)].concat(),
    )
}

/// An element of DER.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let short = content.len() < 0x80;
    let from = length.iter().position(|byte| *byte != 0);
    let digits = &length[from.unwrap_or(length.len() - 1)..];
    let mut all = vec![tag];
    if !short {
        // At most eight of them.
        all.push(0x80 | digits.len() as u8);
    }
    all.extend(digits);
    all.extend(content);
    all
}

/// sha256WithRSAEncryption and its like without parameters, which are accepted too (RFC 4055 section 5).
macro_rules! without_parameters {
    ($last:literal) => {
        AlgorithmIdentifier::from_slice(&[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, $last,
        ])
    };
}

macro_rules! algorithms {
    ($($key:expr, $signature:expr, $way:expr;)*) => {
        &[$(&Algorithm { key: $key, signature: $signature, way: $way } as &dyn SignatureVerificationAlgorithm,)*]
    };
}

use Digest::{Sha256, Sha384, Sha512};
use Way::{Ecdsa, Pkcs1, Pss, Whole};

static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = algorithms! {
    alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, Ecdsa(Sha256);
    alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, Ecdsa(Sha384);
    alg_id::ECDSA_P256, alg_id::ECDSA_SHA512, Ecdsa(Sha512);
    alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, Ecdsa(Sha256);
    alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, Ecdsa(Sha384);
    alg_id::ECDSA_P384, alg_id::ECDSA_SHA512, Ecdsa(Sha512);
    alg_id::ECDSA_P521, alg_id::ECDSA_SHA256, Ecdsa(Sha256);
    alg_id::ECDSA_P521, alg_id::ECDSA_SHA384, Ecdsa(Sha384);
    alg_id::ECDSA_P521, alg_id::ECDSA_SHA512, Ecdsa(Sha512);
    alg_id::ED25519, alg_id::ED25519, Whole;
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, Pss(Sha256);
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, Pss(Sha384);
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, Pss(Sha512);
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, Pkcs1(Sha256);
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, Pkcs1(Sha384);
    alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, Pkcs1(Sha512);
    alg_id::RSA_ENCRYPTION, without_parameters!(11), Pkcs1(Sha256);
    alg_id::RSA_ENCRYPTION, without_parameters!(12), Pkcs1(Sha384);
    alg_id::RSA_ENCRYPTION, without_parameters!(13), Pkcs1(Sha512);
};

/// Those of OpenSSL 3.5.
static NEWER: &[&dyn SignatureVerificationAlgorithm] = algorithms! {
    alg_id::ML_DSA_44, alg_id::ML_DSA_44, Whole;
    alg_id::ML_DSA_65, alg_id::ML_DSA_65, Whole;
    alg_id::ML_DSA_87, alg_id::ML_DSA_87, Whole;
};

/// What the judge is given.
pub(crate) fn crypto(library: &Library) -> Crypto {
    static ALL: OnceLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = OnceLock::new();
    let algorithms = if library.has_ml_dsa() {
        ALL.get_or_init(|| [ALGORITHMS, NEWER].concat())
    } else {
        ALGORITHMS
    };
    Crypto { algorithms, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_as_short_as_can_be() {
        for (length, header) in [
            (0, &[4, 0][..]),
            (0x7f, &[4, 0x7f]),
            (0x80, &[4, 0x81, 0x80]),
            (0x100, &[4, 0x82, 1, 0]),
            (0x1_0000, &[4, 0x83, 1, 0, 0]),
        ] {
            let made = element(4, &vec![7; length]);
            assert_eq!(&made[..header.len()], header);
            assert_eq!(made.len(), header.len() + length);
        }
    }

    #[test]
    fn hashes_are_those_of_fips_180() {
        crate::library::load().expect("OpenSSL");
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(sha256(b"abc"), expected);
    }
}
