//! HKDF (RFC 5869) for TLS 1.3 on aws-lc-rs's HMAC, with the key of each secret prepared once.
//!
//! rustls's own way through aws-lc-rs prepares it anew for each of the up to five values that are
//! derived from a secret, which is half of the work: as much as a tenth of a handshake on both sides. The
//! steps of HKDF themselves are rustls's ([`HkdfUsingHmac`]); here is the adapter to HMAC.

use aws_lc_rs::hmac::{Algorithm, Context, HMAC_SHA256, HMAC_SHA384, Key};
use rustls::Tls13CipherSuite;
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::hmac::{self, Hmac, Tag};
use rustls::crypto::tls13::{Hkdf, HkdfUsingHmac};

struct AwsLcHmac(Algorithm);

impl Hmac for AwsLcHmac {
    fn with_key(&self, key: &[u8]) -> Box<dyn hmac::Key> {
        Box::new(AwsLcKey(Key::new(self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.tag_len()
    }
}

struct AwsLcKey(Key);

impl hmac::Key for AwsLcKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().tag_len()
    }
}

static SHA256: HkdfUsingHmac<'_> = HkdfUsingHmac(&AwsLcHmac(HMAC_SHA256));
static SHA384: HkdfUsingHmac<'_> = HkdfUsingHmac(&AwsLcHmac(HMAC_SHA384));

/// The HKDF for a suite; rustls's own where its hash is not known here.
pub(crate) fn of_suite(suite: &Tls13CipherSuite) -> &'static dyn Hkdf {
    match suite.common.hash_provider.algorithm() {
        HashAlgorithm::SHA256 => &SHA256,
        HashAlgorithm::SHA384 => &SHA384,
        _ => suite.hkdf_provider,
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
    use rustls::crypto::tls13::{HkdfExpander, OkmBlock};

    use crate::suites::suites;

    fn expanded(expander: &dyn HkdfExpander) -> Vec<Vec<u8>> {
        let info: [&[u8]; 4] = [b"\0\x20", b"tls13 ", b"", b"label"];
        let mut found = vec![expander.expand_block(&info).as_ref().to_vec()];
        for length in [1, 12, 16, 32, 48, 100, 255 * expander.hash_len()] {
            let mut into = vec![0; length];
            expander.expand_slice(&info, &mut into).unwrap();
            found.push(into);
        }
        let mut too_long = vec![0; 255 * expander.hash_len() + 1];
        assert!(expander.expand_slice(&info, &mut too_long).is_err());
        found
    }

    #[test]
    fn what_is_derived_is_what_rustls_derives() {
        let secret = OkmBlock::new(&[7; 48]);
        let mut compared = 0;
        for (ours, theirs) in suites().iter().zip(ALL_CIPHER_SUITES) {
            assert_eq!(ours, theirs);
            let (Some(ours), Some(theirs)) = (ours.tls13(), theirs.tls13()) else {
                continue;
            };
            compared += 1;
            let (ours, theirs) = (ours.hkdf_provider, theirs.hkdf_provider);
            assert!(!std::ptr::addr_eq(ours, theirs));
            for salt in [None, Some(&b"salt"[..]), Some(&[9; 200])] {
                assert_eq!(
                    expanded(&*ours.extract_from_zero_ikm(salt)),
                    expanded(&*theirs.extract_from_zero_ikm(salt)),
                );
                assert_eq!(
                    expanded(&*ours.extract_from_secret(salt, b"a shared secret")),
                    expanded(&*theirs.extract_from_secret(salt, b"a shared secret")),
                );
            }
            assert_eq!(
                expanded(&*ours.expander_for_okm(&secret)),
                expanded(&*theirs.expander_for_okm(&secret)),
            );
            assert_eq!(
                ours.hmac_sign(&secret, b"message").as_ref(),
                theirs.hmac_sign(&secret, b"message").as_ref(),
            );
        }
        assert_eq!(compared, 3);
    }
}
