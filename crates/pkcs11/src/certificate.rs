//! Certificates in tokens.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};

use crate::error::{Error, failed};
use crate::login::{AskPin, Pin};
use crate::session::Session;
use crate::token::{Token, find_one};
use crate::uri::{ObjectType, Uri};
use std::sync::Arc;

/// How many issuers are followed.
const LONGEST_CHAIN: usize = 10;

/// The certificate that `uri` names, and behind it the issuers of each that the token has, the last root left
/// out; all in DER.
///
/// Certificates are public objects as a rule: the token is logged in to only where nothing is found without.
///
/// # Errors
///
/// [`Error`]: the token, the PIN, the certificate.
pub fn certificates(uri: &Uri, callback: Option<Arc<dyn AskPin>>) -> Result<Vec<Vec<u8>>, Error> {
    let token = Token::find(uri)?;
    let _calling = token.module.calling();
    let session = token.public_session()?;
    let found = match find_one(&session, &token, uri, ObjectType::Certificate) {
        Ok(found) => found,
        Err(error @ Error::Uri(_)) => return Err(error),
        Err(error) => {
            let pin = Pin {
                reference: uri.pin.clone(),
                callback,
            };
            if pin.reference.is_none() && pin.callback.is_none() {
                return Err(error);
            }
            token
                .module
                .log_in(&session, token.slot, &token.info, &pin)?;
            find_one(&session, &token, uri, ObjectType::Certificate)?
        }
    };
    let unreadable = |error: polytls_x509::Unreadable| Error::Unusable(error.to_string());
    let leaf = value(&session, found)?;
    let mut last = polytls_x509::summarize(&leaf).map_err(unreadable)?;
    let mut chain = vec![leaf];
    while !last.is_self_issued() && chain.len() < LONGEST_CHAIN {
        let template = [
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Subject(last.issuer_der.clone()),
        ];
        let issuers = session
            .find_objects(&template)
            .map_err(failed("search for objects"))?;
        let Some(issuer) = issuers.first() else { break };
        let der = value(&session, *issuer)?;
        last = polytls_x509::summarize(&der).map_err(unreadable)?;
        if last.is_self_issued() || chain.contains(&der) {
            break;
        }
        chain.push(der);
    }
    Ok(chain)
}

fn value(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, Error> {
    let values = session.get_attributes(object, &[AttributeType::Value]);
    match values.map_err(failed("read a certificate"))?.pop() {
        Some(Attribute::Value(der)) if !der.is_empty() => Ok(der),
        _ => Err(Error::Unusable(
            "the token has no contents for the certificate (CKA_VALUE is empty)".to_owned(),
        )),
    }
}
