//! Signatures of handshakes, also by the key of a certificate that webpki cannot read, such as one of
//! version 1, or whose curve is given by its numbers. The verdict accepts such a leaf where it was given itself
//! or nothing is verified; its key is then read by our own reader, which the verdict was made by, too.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use webpki::RawPublicKeyEntity;

pub(crate) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let by_webpki = || verify_tls12_signature(message, certificate, signed, algorithms);
    by_either(certificate, by_webpki, |key| {
        verify_by_key(key, signed.scheme, message, signed.signature(), algorithms)
            .map(|()| HandshakeSignatureValid::assertion())
    })
}

pub(crate) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let by_webpki = || verify_tls13_signature(message, certificate, signed, algorithms);
    by_either(certificate, by_webpki, |key| {
        verify_tls13_signature_with_raw_key(message, key, signed, algorithms)
    })
}

/// By webpki, or, where it cannot read the certificate or use its key as it is there, by the key only.
fn by_either(
    certificate: &CertificateDer<'_>,
    by_webpki: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    by_key: impl FnOnce(&SubjectPublicKeyInfoDer<'_>) -> Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    let is_read = webpki::EndEntityCert::try_from(certificate).is_ok();
    if is_read {
        match by_webpki() {
            Err(Error::InvalidCertificate(
                CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            )) => {}
            decided => return decided,
        }
    }
    let read = polytls_x509::summarize(certificate).map_err(|_| CertificateError::BadEncoding)?;
    by_key(&key_of(read.spki))
}

/// A key as webpki reads it: its curve by name, where it was given by its numbers.
pub(crate) fn key_of(spki: Vec<u8>) -> SubjectPublicKeyInfoDer<'static> {
    polytls_x509::with_named_curve(&spki).unwrap_or(spki).into()
}

/// Whether `key` has signed `message` by a scheme of TLS 1.2, which names no curve (RFC 5246 section 7.4.1.4.1).
pub(crate) fn verify_by_key(
    key: &SubjectPublicKeyInfoDer<'_>,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let key = RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(known, _)| *known == scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // Which of them fits depends on the curve of the key.
    candidates
        .iter()
        .find_map(|algorithm| key.verify_signature(*algorithm, message, signature).ok())
        .ok_or_else(|| CertificateError::BadSignature.into())
}
