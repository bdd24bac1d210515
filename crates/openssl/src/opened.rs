//! A key that a provider of OpenSSL's has, in a token or a TPM, as a [`Signer`].
//!
//! OpenSSL would look for the signature algorithm in the default provider first, which gets the public half of such
//! a key, if that is what its provider exports, and then cannot sign (do_sigver_init in m_sigver.c). Here the key's
//! own provider is asked, and no other; the rest of TLS stays where it is.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr;

use polytls_core::SignerFailure;
use polytls_core::config::Signer;

use crate::crypto::{Digest, Way};
use crate::objects::{KeyContext, PrivateKey};
use crate::scope::Scope;
use crate::ui::Silence;

/// See the module.
pub(crate) struct Opened {
    scope: &'static Scope,
    key: PrivateKey,
    /// The provider, as a property query.
    properties: CString,
    public_key: Vec<u8>,
    schemes: Vec<u16>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.properties).finish()
    }
}

/// The name of the provider that has a key; `None`: one without a name.
pub(crate) fn provider(scope: &Scope, key: &PrivateKey) -> Option<CString> {
    // SAFETY: the key is ours; its provider and the name live as long.
    unsafe {
        let provider = scope.EVP_PKEY_get0_provider(key.as_ptr());
        if provider.is_null() {
            return None;
        }
        let name = scope.OSSL_PROVIDER_get0_name(provider);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_owned())
    }
}

impl Opened {
    /// `schemes`: those that it is to be tried with, by [`Opened::tried`].
    pub(crate) fn new(
        scope: &'static Scope,
        key: PrivateKey,
        provider: &CStr,
        public_key: Vec<u8>,
        schemes: Vec<u16>,
    ) -> Option<Self> {
        let properties = [b"provider=", provider.to_bytes()].concat();
        Some(Self {
            scope,
            key,
            properties: CString::new(properties).ok()?,
            public_key,
            schemes,
        })
    }

    /// Signs once by each scheme, and keeps those by which it has signed what `public` verifies. Whether it is to
    /// go on after a failure, `goes_on` says: a token may lock itself.
    pub(crate) fn tried(mut self, public: &PrivateKey, goes_on: impl Fn() -> bool) -> Self {
        const MESSAGE: &[u8] = b"polytls: does this private key belong to that certificate?";
        let scope = self.scope;
        let mut given_up = false;
        let signs = |scheme: &u16| {
            let Some(way) = Way::of_scheme(*scheme).filter(|_| !given_up) else {
                return false;
            };
            let Some(signature) = self.signature(MESSAGE, way) else {
                given_up = !goes_on();
                return false;
            };
            let verified = way.verifies(scope, public, MESSAGE, &signature);
            scope.clean();
            verified
        };
        let schemes = self.schemes.iter().copied();
        self.schemes = schemes.filter(signs).collect();
        self
    }

    fn signature(&self, message: &[u8], way: Way) -> Option<Vec<u8>> {
        let scope = self.scope;
        let _silence = Silence::new(scope)?;
        let digest = match way {
            Way::Ecdsa(digest) | Way::Pkcs1(digest) | Way::Pss(digest) => Some(digest),
            Way::Whole => None,
        };
        let name = digest.map_or(ptr::null(), |digest| Digest::name(digest).as_ptr());
        // SAFETY: the key is ours, and the contexts, which are freed; texts and the message are read; there is so much
        // room, and a place for the length.
        unsafe {
            let key = self.key.as_ptr();
            let of_key =
                scope.EVP_PKEY_CTX_new_from_pkey(scope.context, key, self.properties.as_ptr());
            let of_key = KeyContext::new(scope, of_key)?;
            let context = scope.EVP_MD_CTX_new();
            if context.is_null() {
                return None;
            }
            // It is not the owner then.
            scope.EVP_MD_CTX_set_pkey_ctx(context, of_key.as_ptr());
            let of_key = of_key.as_ptr();
            let mut signature = vec![0; self.key.longest_signature()];
            let mut length = signature.len();
            let signed = scope.EVP_DigestSignInit_ex(
                context,
                ptr::null_mut(),
                name,
                scope.context,
                ptr::null(),
                key,
                ptr::null(),
            ) == 1
                && way.padded(scope, of_key)
                && scope.EVP_DigestSign(
                    context,
                    signature.as_mut_ptr(),
                    &raw mut length,
                    message.as_ptr(),
                    message.len(),
                ) == 1;
            scope.EVP_MD_CTX_free(context);
            signature.truncate(length);
            signed.then_some(signature)
        }
    }
}

impl Signer for Opened {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn schemes(&self) -> &[u16] {
        &self.schemes
    }

    fn sign(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, SignerFailure> {
        self.scope.clean();
        let way = Way::of_scheme(scheme);
        let signed = way.and_then(|way| self.signature(message, way));
        signed.ok_or_else(|| SignerFailure {
            message: format!(
                "OpenSSL's {} says: {}",
                self.properties.to_string_lossy().replace('=', " "),
                self.scope.first_error()
            ),
            cause: None,
        })
    }
}
