//! The verdict's cryptography, done by OpenSSL: signatures of certificates and CRLs, hashes, and
//! what ticket keys are derived by.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lru::LruCache;
use polytls_core::fork::PerProcess;
use polytls_verdict::Crypto;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use crate::api::{self, EVP_CIPHER, EVP_MD, EVP_PKEY_CTX};
use crate::objects::PrivateKey;
use crate::scope::Scope;

/// Sizes of RSA keys whose signatures are accepted.
const RSA_BITS: std::ops::RangeInclusive<i32> = 2048..=8192;

/// An algorithm that was looked up once, for ever.
struct Found<T>(*const T);

// SAFETY: what is fetched is not changed, and never freed.
unsafe impl<T> Send for Found<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Found<T> {}

/// What is looked up in a scope, each once.
pub(crate) struct Fetched {
    digests: [OnceLock<Found<EVP_MD>>; 3],
    sha1: OnceLock<Found<EVP_MD>>,
    cipher: OnceLock<Found<EVP_CIPHER>>,
    crypto: OnceLock<Crypto>,
    keys: PerProcess<Mutex<Keys>>,
    /// The hashes of signatures that were verified, with their keys and messages.
    verified: PerProcess<Mutex<Verified>>,
}

impl Default for Fetched {
    fn default() -> Self {
        Self {
            digests: [const { OnceLock::new() }; 3],
            sha1: OnceLock::new(),
            cipher: OnceLock::new(),
            crypto: OnceLock::new(),
            keys: PerProcess::new(Mutex::new(LruCache::new(KEYS))),
            verified: PerProcess::new(Mutex::new(LruCache::new(SIGNATURES))),
        }
    }
}

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

    /// What OpenSSL calls it.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Sha256 => c"SHA2-256",
            Self::Sha384 => c"SHA2-384",
            Self::Sha512 => c"SHA2-512",
        }
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
    fn fetched(self, scope: &Scope) -> *const EVP_MD {
        let fetched = scope.fetched.digests[self as usize].get_or_init(|| {
            let name = self.name().as_ptr();
            // SAFETY: from the scope's context; the name is read.
            Found(unsafe { scope.EVP_MD_fetch(scope.context, name, scope.properties()) })
        });
        fetched.0
    }
}

impl Scope {
    /// AES-256-CBC, which tickets are encrypted with; null if OpenSSL does not have it, as it is configured.
    pub(crate) fn aes_256_cbc(&self) -> *const EVP_CIPHER {
        let fetched = self.fetched.cipher.get_or_init(|| {
            let name = c"AES-256-CBC".as_ptr();
            // SAFETY: as in `Digest::fetched`.
            Found(unsafe { self.EVP_CIPHER_fetch(self.context, name, self.properties()) })
        });
        fetched.0
    }

    /// SHA-256, if OpenSSL has it.
    pub(crate) fn sha256(&self) -> Option<impl Fn(&[u8]) -> [u8; 32] + Send + Sync + '_> {
        let digest = Found(Digest::Sha256.fetched(self));
        (!digest.0.is_null()).then_some(move |data: &[u8]| {
            let digest = &digest;
            // SAFETY: it is SHA-256.
            unsafe { self.hash(digest.0, data) }
        })
    }

    /// SHA-1; `None` if OpenSSL does not have it, as it is configured.
    fn sha1(&self, data: &[u8]) -> Option<[u8; 20]> {
        let digest = self.fetched.sha1.get_or_init(|| {
            let name = c"SHA1".as_ptr();
            // SAFETY: as in `Digest::fetched`.
            Found(unsafe { self.EVP_MD_fetch(self.context, name, self.properties()) })
        });
        self.clean();
        // SAFETY: it is SHA-1.
        (!digest.0.is_null()).then(|| unsafe { self.hash(digest.0, data) })
    }

    /// # Safety
    ///
    /// The hashes of `digest` have `SIZE` bytes.
    unsafe fn hash<const SIZE: usize>(&self, digest: *const EVP_MD, data: &[u8]) -> [u8; SIZE] {
        let mut hash = [0; SIZE];
        // SAFETY: `data` is read, and there is room for the hash.
        let done = unsafe {
            self.EVP_Digest(
                data.as_ptr().cast(),
                data.len(),
                hash.as_mut_ptr(),
                ptr::null_mut(),
                digest,
                ptr::null_mut(),
            )
        };
        // All zeros would do harm as the hash of a pin.
        assert_eq!(done, 1, "OpenSSL has no memory for a hash");
        hash
    }

    /// HMAC-SHA256; `None` if OpenSSL refuses.
    pub(crate) fn hmac(&self, key: &[u8], data: &[u8]) -> Option<[u8; 32]> {
        let mut mac = [0; 32];
        let (mut length, digest) = (0, Digest::Sha256.name());
        // SAFETY: texts, key and data are read, a MAC has 32 bytes, and there is a place for the length.
        let made = unsafe {
            self.EVP_Q_mac(
                self.context,
                c"HMAC".as_ptr(),
                self.properties(),
                digest.as_ptr(),
                ptr::null(),
                key.as_ptr().cast(),
                key.len(),
                data.as_ptr(),
                data.len(),
                mac.as_mut_ptr(),
                mac.len(),
                &raw mut length,
            )
        };
        (!made.is_null() && length == mac.len()).then_some(mac)
    }

    /// Fills it with random bytes; `false` if there are none.
    #[must_use]
    pub(crate) fn random(&self, into: &mut [u8]) -> bool {
        /// As much as the generator gives by itself.
        const STRENGTH: std::ffi::c_uint = 0;
        // SAFETY: as many bytes are ours.
        unsafe { self.RAND_bytes_ex(self.context, into.as_mut_ptr(), into.len(), STRENGTH) == 1 }
    }

    /// What the judge is given.
    pub(crate) fn crypto(&'static self) -> Result<Crypto, polytls_core::Error> {
        if let Some(crypto) = self.fetched.crypto.get() {
            return Ok(*crypto);
        }
        let sha256 = self.sha256().ok_or_else(|| {
            polytls_core::Error::Internal(
                "OpenSSL's configuration does not provide \
                                           SHA-256"
                    .to_owned(),
            )
        })?;
        let newer = if self.has_ml_dsa() { NEWER } else { &[] };
        let made = self.fetched.crypto.get_or_init(|| {
            let algorithms = ALGORITHMS.iter().chain(newer);
            let algorithms = algorithms.map(|(key, signature, way)| {
                let algorithm: &'static dyn SignatureVerificationAlgorithm =
                    Box::leak(Box::new(Algorithm {
                        scope: self,
                        key: *key,
                        signature: *signature,
                        way: *way,
                    }));
                algorithm
            });
            // Once for each scope, which is there for ever.
            Crypto {
                algorithms: Vec::leak(algorithms.collect()),
                sha1: Box::leak(Box::new(|data: &[u8]| self.sha1(data))),
                sha256: Box::leak(Box::new(sha256)),
            }
        });
        Ok(*made)
    }
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

    /// The way of a signature scheme, of those above.
    pub(crate) fn of_scheme(scheme: u16) -> Option<Self> {
        let digests = [Digest::Sha256, Digest::Sha384, Digest::Sha512];
        let of_digest = |digest| [Self::Pkcs1(digest), Self::Ecdsa(digest), Self::Pss(digest)];
        let mut ways = digests.into_iter().flat_map(of_digest).chain([Self::Whole]);
        ways.find(|way| way.scheme() == scheme)
    }

    /// Asks for the padding, which differs from OpenSSL's own only for RSA-PSS. The digest of MGF1 is the
    /// other one by itself.
    ///
    /// # Safety
    ///
    /// A signature has begun with `of_key`.
    pub(crate) unsafe fn padded(self, scope: &Scope, of_key: *mut EVP_PKEY_CTX) -> bool {
        let (padding, salt) = (api::RSA_PKCS1_PSS_PADDING, api::RSA_PSS_SALTLEN_DIGEST);
        // SAFETY: the caller's.
        unsafe {
            !matches!(self, Self::Pss(_))
                || (scope.EVP_PKEY_CTX_set_rsa_padding(of_key, padding) == 1
                    && scope.EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, salt) == 1)
        }
    }

    /// Whether `key` has signed `message` so.
    pub(crate) fn verifies(
        self,
        scope: &Scope,
        key: &PrivateKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let digest = match self {
            Self::Ecdsa(digest) | Self::Pkcs1(digest) | Self::Pss(digest) => digest.name().as_ptr(),
            Self::Whole => ptr::null(),
        };
        // SAFETY: the context is ours, and freed; the context of the key is a part of it; what is read is lent.
        unsafe {
            let context = scope.EVP_MD_CTX_new();
            let mut of_key = ptr::null_mut();
            let verified = !context.is_null()
                && scope.EVP_DigestVerifyInit_ex(
                    context,
                    &raw mut of_key,
                    digest,
                    scope.context,
                    scope.properties(),
                    key.as_ptr(),
                    ptr::null(),
                ) == 1
                && self.padded(scope, of_key)
                && scope.EVP_DigestVerify(
                    context,
                    signature.as_ptr(),
                    signature.len(),
                    message.as_ptr(),
                    message.len(),
                ) == 1;
            scope.EVP_MD_CTX_free(context);
            verified
        }
    }
}

#[derive(Debug)]
struct Algorithm {
    scope: &'static Scope,
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
        let verified = self.verify(public_key, message, signature);
        self.scope.clean();
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
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
        let scope = self.scope;
        // OpenSSL reads the hybrid form of points too, which RFC 5480 section 2.2 forbids.
        if matches!(self.way, Way::Ecdsa(_)) && !matches!(public_key.first(), Some(2..=4)) {
            return None;
        }
        let key = read(scope, key_info(self.key.as_ref(), public_key))?;
        if matches!(self.way, Way::Pkcs1(_) | Way::Pss(_)) && !RSA_BITS.contains(&key.bits()) {
            return None;
        }
        let seen = self.hash(public_key, message, signature);
        if seen.is_some_and(|hash| scope.fetched.has_verified(&hash)) {
            return Some(());
        }
        if !self.way.verifies(scope, &key, message, signature) {
            return None;
        }
        if let Some(hash) = seen {
            scope.fetched.note_verified(hash);
        }
        Some(())
    }
}

impl Algorithm {
    /// A hash of all that says whether a signature is right. `None` where nothing is remembered: with FIPS each
    /// is verified by the provider.
    fn hash(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Option<[u8; 32]> {
        if self.scope.fips.is_some() {
            return None;
        }
        let parts = [
            self.key.as_ref(),
            self.signature.as_ref(),
            public_key,
            message,
            signature,
        ];
        let mut all = Vec::with_capacity(message.len() + 1024);
        for part in parts {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
        self.scope.sha256().map(|sha256| sha256(&all))
    }
}

/// How many signatures are known to be right: those of servers that one connects to come again and again, and
/// whether a signature is right depends on nothing else.
const SIGNATURES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

type Verified = LruCache<[u8; 32], ()>;

impl Fetched {
    fn verified(&self) -> std::sync::MutexGuard<'_, Verified> {
        let verified = self.verified.get(|_| Mutex::new(LruCache::new(SIGNATURES)));
        verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_verified(&self, hash: &[u8; 32]) -> bool {
        self.verified().get(hash).is_some()
    }

    fn note_verified(&self, hash: [u8; 32]) {
        self.verified().put(hash, ());
    }
}

/// How many keys are kept as OpenSSL has read them, which takes it longer than to verify by them: those of
/// issuers come again and again.
const KEYS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

type Keys = LruCache<Vec<u8>, Arc<PrivateKey>>;

/// The key of a SubjectPublicKeyInfo.
fn read(scope: &'static Scope, info: Vec<u8>) -> Option<Arc<PrivateKey>> {
    let keys = scope.fetched.keys.get(|_| Mutex::new(LruCache::new(KEYS)));
    let lock = || keys.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(&info).cloned();
    if known.is_some() {
        return known;
    }
    let key = Arc::new(PrivateKey::read_public(scope, &info)?);
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

type Row = (AlgorithmIdentifier, AlgorithmIdentifier, Way);

use Digest::{Sha256, Sha384, Sha512};
use Way::{Ecdsa, Pkcs1, Pss, Whole};

/// The algorithm of the key, that of the signature, and how it is verified.
static ALGORITHMS: &[Row] = &[
    (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, Ecdsa(Sha256)),
    (alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, Ecdsa(Sha384)),
    (alg_id::ECDSA_P256, alg_id::ECDSA_SHA512, Ecdsa(Sha512)),
    (alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, Ecdsa(Sha256)),
    (alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, Ecdsa(Sha384)),
    (alg_id::ECDSA_P384, alg_id::ECDSA_SHA512, Ecdsa(Sha512)),
    (alg_id::ECDSA_P521, alg_id::ECDSA_SHA256, Ecdsa(Sha256)),
    (alg_id::ECDSA_P521, alg_id::ECDSA_SHA384, Ecdsa(Sha384)),
    (alg_id::ECDSA_P521, alg_id::ECDSA_SHA512, Ecdsa(Sha512)),
    (alg_id::ED25519, alg_id::ED25519, Whole),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, Pss(Sha256)),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, Pss(Sha384)),
    (alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, Pss(Sha512)),
    (
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA256,
        Pkcs1(Sha256),
    ),
    (
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA384,
        Pkcs1(Sha384),
    ),
    (
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA512,
        Pkcs1(Sha512),
    ),
    (
        alg_id::RSA_ENCRYPTION,
        without_parameters!(11),
        Pkcs1(Sha256),
    ),
    (
        alg_id::RSA_ENCRYPTION,
        without_parameters!(12),
        Pkcs1(Sha384),
    ),
    (
        alg_id::RSA_ENCRYPTION,
        without_parameters!(13),
        Pkcs1(Sha512),
    ),
];

/// Those of OpenSSL 3.5.
static NEWER: &[Row] = &[
    (alg_id::ML_DSA_44, alg_id::ML_DSA_44, Whole),
    (alg_id::ML_DSA_65, alg_id::ML_DSA_65, Whole),
    (alg_id::ML_DSA_87, alg_id::ML_DSA_87, Whole),
];

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
    fn what_was_verified_is_known_for_that_key_message_and_signature_alone() {
        let library = crate::library::load().expect("OpenSSL");
        let scope = Scope::of(library, &crate::Options::default()).expect("a scope");
        let [one, other] = [
            (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, Ecdsa(Sha256)),
            (alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, Ecdsa(Sha384)),
        ]
        .map(|(key, signature, way)| Algorithm {
            scope,
            key,
            signature,
            way,
        });
        let cases = [
            one.hash(b"key", b"message", b"signature"),
            one.hash(b"key", b"messages", b"ignature"),
            one.hash(b"keym", b"essage", b"signature"),
            one.hash(b"other", b"message", b"signature"),
            other.hash(b"key", b"message", b"signature"),
        ];
        let hashes: std::collections::BTreeSet<_> = cases.into_iter().flatten().collect();
        assert_eq!(hashes.len(), 5);
        for hash in hashes {
            assert!(!scope.fetched.has_verified(&hash));
            scope.fetched.note_verified(hash);
            assert!(scope.fetched.has_verified(&hash));
        }
        // Bytes that are not a signature are verified each time, and always refused.
        for _ in 0..2 {
            let verified = one.verify_signature(&[4; 65], b"message", b"no signature");
            assert!(verified.is_err());
        }
    }

    #[test]
    fn hashes_are_those_of_fips_180() {
        let library = crate::library::load().expect("OpenSSL");
        let scope = Scope::of(library, &crate::Options::default()).expect("a scope");
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(scope.sha256().expect("SHA-256")(b"abc"), expected);
    }
}
