//! Signatures of TLS by the mechanisms of PKCS#11: hashed here, and where a token can only do raw RSA
//! padded here too.

use std::ffi::c_ulong;

use aws_lc_rs::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};

use polytls_x509::der::element;

use crate::error::Error;

/// What kind of key it is, as far as signatures go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// ECDSA, with the size of the curve's order in bytes.
    Ec(EcCurve),
    /// RSA, with the size of the modulus in bits.
    Rsa(usize),
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EcCurve {
    P256,
    P384,
    P521,
}

impl EcCurve {
    /// By CKA_EC_PARAMS: a named curve's object identifier in DER.
    pub(crate) fn of(parameters: &[u8]) -> Option<Self> {
        const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
        const P521: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x23];
        match parameters {
            P256 => Some(Self::P256),
            P384 => Some(Self::P384),
            P521 => Some(Self::P521),
            _ => None,
        }
    }
}

/// One scheme of TLS (RFC 8446 section 4.2.3), and how the token does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// r and s, of a hash made here.
    Ecdsa(&'static Algorithm),
    /// The token pads.
    Pss(&'static Algorithm),
    /// We pad; the token does raw RSA.
    PaddedPss(&'static Algorithm),
    Pkcs1(&'static Algorithm),
    PaddedPkcs1(&'static Algorithm),
    Ed25519,
}

/// The schemes that a key can sign with, in order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Schemes {
    pub(crate) numbers: Vec<u16>,
    ways: Vec<Way>,
    modulus_bits: usize,
}

impl Schemes {
    /// Those of a key of that kind, on a token with these mechanisms.
    pub(crate) fn of(kind: KeyKind, has: impl Fn(MechanismType) -> bool) -> Result<Self, Error> {
        let lacks = |what: &str| {
            Error::Unusable(format!(
                "the token cannot sign with this key: it lacks the mechanism {what}"
            ))
        };
        let mut schemes = Self {
            numbers: Vec::new(),
            ways: Vec::new(),
            modulus_bits: 0,
        };
        match kind {
            KeyKind::Ec(curve) => {
                if !has(MechanismType::ECDSA) {
                    return Err(lacks("CKM_ECDSA"));
                }
                let (number, hash) = match curve {
                    EcCurve::P256 => (0x0403, &SHA256),
                    EcCurve::P384 => (0x0503, &SHA384),
                    EcCurve::P521 => (0x0603, &SHA512),
                };
                schemes.add(number, Way::Ecdsa(hash));
            }
            KeyKind::Ed25519 => {
                if !has(MechanismType::EDDSA) {
                    return Err(lacks("CKM_EDDSA"));
                }
                schemes.add(0x0807, Way::Ed25519);
            }
            KeyKind::Rsa(bits) => {
                schemes.modulus_bits = bits;
                let is_raw = has(MechanismType::RSA_X_509);
                let hashes: [(u16, &'static Algorithm); 3] =
                    [(0x04, &SHA256), (0x05, &SHA384), (0x06, &SHA512)];
                for (number, hash) in hashes {
                    // RFC 8017 section 9.1.1: hash, salt of its length, and two bytes.
                    if (bits - 1).div_ceil(8) < 2 * hash.output_len() + 2 {
                        continue;
                    }
                    if has(MechanismType::RSA_PKCS_PSS) {
                        schemes.add(0x0800 + number, Way::Pss(hash));
                    } else if is_raw {
                        schemes.add(0x0800 + number, Way::PaddedPss(hash));
                    }
                }
                for (number, hash) in hashes {
                    if has(MechanismType::RSA_PKCS) {
                        schemes.add(number << 8 | 1, Way::Pkcs1(hash));
                    } else if is_raw {
                        schemes.add(number << 8 | 1, Way::PaddedPkcs1(hash));
                    }
                }
                if schemes.numbers.is_empty() {
                    return Err(lacks("CKM_RSA_PKCS_PSS"));
                }
            }
        }
        Ok(schemes)
    }

    fn add(&mut self, number: u16, way: Way) {
        self.numbers.push(number);
        self.ways.push(way);
    }

    /// What the token is to do for a signature of `message` with `scheme`.
    pub(crate) fn task(&self, scheme: u16, message: &[u8]) -> Result<Task<'static>, Error> {
        let index = self.numbers.iter().position(|number| *number == scheme);
        let way = index
            .and_then(|index| self.ways.get(index))
            .ok_or_else(|| {
                Error::Unusable(format!("the key cannot sign with the scheme {scheme:#06x}"))
            })?;
        let hashed = |hash| digest::digest(hash, message).as_ref().to_vec();
        let length = self.modulus_bits.div_ceil(8);
        Ok(match way {
            Way::Ecdsa(hash) => Task {
                mechanism: Mechanism::Ecdsa,
                input: hashed(hash),
                is_raw_ecdsa: true,
            },
            Way::Ed25519 => Task::of(
                Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
                message.to_vec(),
            ),
            Way::Pss(hash) => Task::of(Mechanism::RsaPkcsPss(pss(hash)), hashed(hash)),
            Way::PaddedPss(hash) => Task::of(
                Mechanism::RsaX509,
                padded_pss(hash, &hashed(hash), self.modulus_bits)?,
            ),
            Way::Pkcs1(hash) => Task::of(Mechanism::RsaPkcs, digest_info(hash, &hashed(hash))),
            Way::PaddedPkcs1(hash) => Task::of(
                Mechanism::RsaX509,
                padded_pkcs1(&digest_info(hash, &hashed(hash)), length)?,
            ),
        })
    }
}

/// One signature, as the token is asked for it.
pub(crate) struct Task<'a> {
    pub(crate) mechanism: Mechanism<'a>,
    pub(crate) input: Vec<u8>,
    is_raw_ecdsa: bool,
}

impl<'a> Task<'a> {
    const fn of(mechanism: Mechanism<'a>, input: Vec<u8>) -> Self {
        Self {
            mechanism,
            input,
            is_raw_ecdsa: false,
        }
    }

    /// What the token made, as TLS has it.
    pub(crate) fn finish(&self, signature: Vec<u8>) -> Result<Vec<u8>, Error> {
        if !self.is_raw_ecdsa {
            return Ok(signature);
        }
        if signature.is_empty() || signature.len() > 2 * 66 || signature.len() % 2 == 1 {
            return Err(Error::Token {
                what: "sign",
                why: "its signature has an odd length".to_owned(),
            });
        }
        let (r, s) = signature.split_at(signature.len() / 2);
        Ok(element(
            0x30,
            &[crate::der::integer(r), crate::der::integer(s)].concat(),
        ))
    }
}

fn pss(hash: &'static Algorithm) -> PkcsPssParams {
    let (hash_alg, mgf, length): (_, _, c_ulong) = if *hash == SHA256 {
        (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32)
    } else if *hash == SHA384 {
        (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48)
    } else {
        (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64)
    };
    PkcsPssParams {
        hash_alg,
        mgf,
        s_len: length.into(),
    }
}

/// DigestInfo (RFC 8017 section 9.2, note 1).
fn digest_info(hash: &'static Algorithm, hashed: &[u8]) -> Vec<u8> {
    let last = if *hash == SHA256 {
        1
    } else if *hash == SHA384 {
        2
    } else {
        3
    };
    let identifier = [
        6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last, // the hash
        5, 0,
    ];
    let algorithm = element(0x30, &identifier);
    let octets = element(4, hashed);
    element(0x30, &[algorithm, octets].concat())
}

fn too_small() -> Error {
    Error::Unusable("the RSA key is too small for this scheme".to_owned())
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2).
fn padded_pkcs1(info: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let filling = length
        .checked_sub(info.len() + 3)
        .filter(|filling| *filling >= 8)
        .ok_or_else(too_small)?;
    let mut padded = vec![0, 1];
    padded.resize(2 + filling, 0xff);
    padded.push(0);
    padded.extend_from_slice(info);
    Ok(padded)
}

/// EMSA-PSS with MGF1 and a salt as long as the hash (RFC 8017 section 9.1.1), as long as the modulus.
fn padded_pss(
    hash: &'static Algorithm,
    hashed: &[u8],
    modulus_bits: usize,
) -> Result<Vec<u8>, Error> {
    let mut salt = vec![0; hash.output_len()];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::Token {
        what: "sign",
        why: "no random bytes".to_owned(),
    })?;
    padded_pss_with(hash, hashed, &salt, modulus_bits)
}

fn padded_pss_with(
    hash: &'static Algorithm,
    hashed: &[u8],
    salt: &[u8],
    modulus_bits: usize,
) -> Result<Vec<u8>, Error> {
    let bits = modulus_bits.checked_sub(1).ok_or_else(too_small)?;
    let length = bits.div_ceil(8);
    let size = hash.output_len();
    let filling = length
        .checked_sub(size + salt.len() + 2)
        .ok_or_else(too_small)?;
    let h = digest::digest(hash, &[&[0; 8], hashed, salt].concat());
    let mut block = vec![0; filling];
    block.push(1);
    block.extend_from_slice(salt);
    for (byte, mask) in block
        .iter_mut()
        .zip(mgf1(hash, h.as_ref(), length - size - 1))
    {
        *byte ^= mask;
    }
    if let Some(first) = block.first_mut() {
        *first &= 0xff >> (8 * length - bits);
    }
    block.extend_from_slice(h.as_ref());
    block.push(0xbc);
    // A modulus of 8k + 1 bits is a byte longer than what is encoded.
    let mut padded = vec![0; modulus_bits.div_ceil(8) - length];
    padded.append(&mut block);
    Ok(padded)
}

fn mgf1(hash: &'static Algorithm, seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(length + hash.output_len());
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        let block = digest::digest(hash, &[seed, &counter.to_be_bytes()].concat());
        mask.extend_from_slice(block.as_ref());
    }
    mask.truncate(length);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_all(_: MechanismType) -> bool {
        true
    }

    #[test]
    fn rsa_signs_pss_first_and_leaves_out_what_does_not_fit() {
        let schemes = Schemes::of(KeyKind::Rsa(2048), has_all).unwrap();
        assert_eq!(
            schemes.numbers,
            [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]
        );
        let small = Schemes::of(KeyKind::Rsa(1024), has_all).unwrap();
        assert_eq!(small.numbers, [0x0804, 0x0805, 0x0401, 0x0501, 0x0601]);
    }

    #[test]
    fn what_a_token_lacks_is_padded_here_or_refused() {
        let raw = |mechanism| mechanism == MechanismType::RSA_X_509;
        let schemes = Schemes::of(KeyKind::Rsa(2048), raw).unwrap();
        let task = schemes.task(0x0804, b"message").unwrap();
        assert!(matches!(task.mechanism, Mechanism::RsaX509));
        assert_eq!((task.input.len(), task.input[255]), (256, 0xbc));
        let task = schemes.task(0x0401, b"message").unwrap();
        assert_eq!(task.input[..3], [0, 1, 0xff]);
        assert!(Schemes::of(KeyKind::Rsa(2048), |_| false).is_err());
        assert!(Schemes::of(KeyKind::Ec(EcCurve::P256), |_| false).is_err());
        assert!(schemes.task(0x0403, b"message").is_err());
    }

    #[test]
    fn r_and_s_become_a_sequence_of_integers() {
        let schemes = Schemes::of(KeyKind::Ec(EcCurve::P256), has_all).unwrap();
        let task = schemes.task(0x0403, b"message").unwrap();
        assert_eq!(
            task.finish(vec![0x80, 0x01]).unwrap(),
            [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]
        );
        assert_eq!(
            task.finish(vec![0, 5, 0, 0]).unwrap(),
            [0x30, 6, 2, 1, 5, 2, 1, 0]
        );
        assert!(task.finish(vec![1, 2, 3]).is_err());
        assert!(task.finish(Vec::new()).is_err());
    }
}
