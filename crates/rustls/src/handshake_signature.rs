//! Signatures of handshakes, also by the key of a certificate that webpki cannot read, such as one of
//! version 1. The verdict accepts such a leaf where it was given itself; its key is then read by our own
//! reader, which the verdict was made by, too.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use webpki::RawPublicKeyEntity;

pub(crate) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let Some(key) = key_of(certificate)? else {
        return verify_tls12_signature(message, certificate, signed, algorithms);
    };
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // Which of them fits depends on the curve of the key.
    candidates
        .iter()
        .find_map(|algorithm| {
            key.verify_signature(*algorithm, message, signed.signature())
                .ok()
        })
        .map(|()| HandshakeSignatureValid::assertion())
        .ok_or_else(|| CertificateError::BadSignature.into())
}

pub(crate) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match key_of(certificate)? {
        Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
        None => verify_tls13_signature(message, certificate, signed, algorithms),
    }
}

/// The key of a certificate that webpki cannot read; `None` for one that it can.
fn key_of(
    certificate: &CertificateDer<'_>,
) -> Result<Option<SubjectPublicKeyInfoDer<'static>>, Error> {
    if webpki::EndEntityCert::try_from(certificate).is_ok() {
        return Ok(None);
    }
    let read = polytls_x509::summarize(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(Some(read.spki.into()))
}
