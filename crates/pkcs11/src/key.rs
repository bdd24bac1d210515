//! A private key in a token, which signs there.
//!
//! Sessions are pooled with the handle of the key in each, as a session does one thing at a time. Whatever fails
//! in a pooled session is tried once more in a new one: the token may have been pulled and put back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use polytls_core::SignerFailure;
use polytls_core::config::Signer;
use polytls_core::fork::PerProcess;
use polytls_x509::der::element;

use crate::der;
use crate::error::{Error, failed, is_stale};
use crate::login::{AskPin, Pin};
use crate::one_shot;
use crate::session::Session;
use crate::signing::{EcCurve, KeyKind, Schemes, Task};
use crate::token::{Token, find_one};
use crate::uri::{ObjectType, Uri};

/// How many sessions are kept open for later signatures.
const POOLED: usize = 16;

type Pool = Mutex<Vec<(Session, ObjectHandle)>>;

/// See the module.
pub struct TokenKey {
    uri: Uri,
    pin: Pin,
    public_key: Vec<u8>,
    schemes: Schemes,
    /// Whether the PIN is wanted for each signature.
    always_authenticate: bool,
    pool: PerProcess<Pool>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKey")
            .field(&self.uri.to_string())
            .finish()
    }
}

impl TokenKey {
    /// Finds the key that `uri` names, and signs once with it, so that what is wrong shows now.
    ///
    /// `certificate`: the certificate that it is for, in DER, whose public key is taken where the token does not
    /// tell its own. `callback` is asked for the PIN where the URI names none.
    ///
    /// # Errors
    ///
    /// [`Error`]: the token, the PIN, the key.
    pub fn open(
        uri: Uri,
        callback: Option<Arc<dyn AskPin>>,
        certificate: Option<&[u8]>,
    ) -> Result<Arc<Self>, Error> {
        let pin = Pin {
            reference: uri.pin.clone(),
            callback,
        };
        let token = Token::find(&uri)?;
        let _calling = token.module.calling();
        let session = token.open(&pin)?;
        let handle = find_one(&session, &token, &uri, ObjectType::PrivateKey)?;
        let description = Description::of(&session, handle)?;
        let mechanisms = token.module.pkcs11.get_mechanism_list(token.slot);
        let mechanisms = mechanisms.map_err(failed("list its mechanisms"))?;
        let allowed = description.allowed_mechanisms.as_deref();
        let has = |mechanism: MechanismType| {
            let signs = || {
                let info = token
                    .module
                    .pkcs11
                    .get_mechanism_info(token.slot, mechanism);
                info.is_ok_and(|info| info.sign())
            };
            mechanisms.contains(&mechanism)
                && allowed.is_none_or(|allowed| allowed.contains(&mechanism))
                && signs()
        };
        let schemes = Schemes::of(description.kind, has)?;
        let own = description.public_key(&session)?;
        let leaf = certificate.map(polytls_x509::summarize).transpose();
        let leaf = leaf.map_err(|error| Error::Unusable(error.to_string()))?;
        let public_key = own.or_else(|| leaf.map(|leaf| leaf.spki)).ok_or_else(|| {
            Error::Unusable(
                "the token does not provide the public key of this private key; pass the \
                 certificate with it"
                    .to_owned(),
            )
        })?;
        let key = Self {
            uri,
            pin,
            public_key,
            schemes,
            always_authenticate: description.always_authenticate,
            pool: PerProcess::new(Mutex::new(vec![(session, handle)])),
        };
        key.try_out()?;
        Ok(Arc::new(key))
    }

    /// Signs once, and verifies it.
    fn try_out(&self) -> Result<(), Error> {
        const MESSAGE: &[u8] = b"polytls: does this private key belong to that public key?";
        let scheme = self.schemes.numbers[0];
        let signature = self.signature(MESSAGE, scheme)?;
        if crate::verify::verifies(&self.public_key, scheme, MESSAGE, &signature) {
            return Ok(());
        }
        Err(Error::Unusable(format!(
            "the private key {} does not match the certificate, or the public key in the token",
            self.uri
        )))
    }

    /// Like [`Signer::sign`].
    ///
    /// # Errors
    ///
    /// [`Error`]: the token, the PIN.
    pub fn signature(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, Error> {
        let task = self.schemes.task(scheme, message)?;
        let pool = self.pool.get(|_| Mutex::default());
        let pooled = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some((session, handle)) = pooled
            && session.is_known()
        {
            let module = Arc::clone(&session.module);
            let _calling = module.calling();
            match self.sign_in(&session, handle, &task)? {
                Ok(signature) => return self.done(session, handle, &task, signature),
                Err(error) if is_stale(&error) => {
                    // Those left in the pool have met the same: they are not tried one by one.
                    let stale =
                        std::mem::take(&mut *pool.lock().unwrap_or_else(PoisonError::into_inner));
                    drop(stale);
                }
                Err(error) => return Err(failed("sign")(error)),
            }
        }
        let token = Token::find(&self.uri)?;
        let _calling = token.module.calling();
        let session = token.open(&self.pin)?;
        let handle = find_one(&session, &token, &self.uri, ObjectType::PrivateKey)?;
        let signature = self
            .sign_in(&session, handle, &task)?
            .map_err(failed("sign"))?;
        self.done(session, handle, &task, signature)
    }

    fn done(
        &self,
        session: Session,
        handle: ObjectHandle,
        task: &Task<'_>,
        signature: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let pool = self.pool.get(|_| Mutex::default());
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = if pool.len() < POOLED {
            pool.push((session, handle));
            None
        } else {
            Some(session)
        };
        drop(pool);
        drop(surplus);
        task.finish(signature)
    }

    /// The outer error is final, the inner one is the token's.
    fn sign_in(
        &self,
        session: &Session,
        handle: ObjectHandle,
        task: &Task<'_>,
    ) -> Result<Result<Vec<u8>, CryptokiError>, Error> {
        if !self.always_authenticate {
            return Ok(session.sign(&task.mechanism, handle, &task.input));
        }
        let slot = session.get_session_info().map(|now| now.slot_id());
        let info = slot.and_then(|slot| session.module.pkcs11.get_token_info(slot));
        let info = match info {
            Ok(info) => info,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = session.sign_init(&task.mechanism, handle) {
            return Ok(Err(error));
        }
        let module = &session.module;
        module.log_in_for_signature(session, &info, &self.pin)?;
        one_shot::sign(&module.path, session, &task.input).map(Ok)
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn schemes(&self) -> &[u16] {
        &self.schemes.numbers
    }

    fn sign(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, SignerFailure> {
        Ok(self.signature(message, scheme)?)
    }
}

/// What a token says of a private key.
struct Description {
    kind: KeyKind,
    id: Option<Vec<u8>>,
    label: Option<Vec<u8>>,
    public_key_info: Option<Vec<u8>>,
    modulus: Option<Vec<u8>>,
    public_exponent: Option<Vec<u8>>,
    parameters: Option<Vec<u8>>,
    always_authenticate: bool,
    allowed_mechanisms: Option<Vec<MechanismType>>,
}

impl Description {
    fn of(session: &Session, handle: ObjectHandle) -> Result<Self, Error> {
        let wanted = [
            AttributeType::KeyType,
            AttributeType::Id,
            AttributeType::Label,
            AttributeType::PublicKeyInfo,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::EcParams,
            AttributeType::AlwaysAuthenticate,
            AttributeType::AllowedMechanisms,
            AttributeType::Sign,
        ];
        let (mut key_type, mut signs) = (None, true);
        let mut description = Self {
            kind: KeyKind::Ed25519,
            id: None,
            label: None,
            public_key_info: None,
            modulus: None,
            public_exponent: None,
            parameters: None,
            always_authenticate: false,
            allowed_mechanisms: None,
        };
        // One at a time: some modules fail where one of several is not there.
        for attribute in wanted {
            let Ok(values) = session.get_attributes(handle, &[attribute]) else {
                continue;
            };
            let some = |bytes: Vec<u8>| Some(bytes).filter(|bytes| !bytes.is_empty());
            for value in values {
                match value {
                    Attribute::KeyType(kind) => key_type = Some(kind),
                    Attribute::Id(id) => description.id = some(id),
                    Attribute::Label(label) => description.label = some(label),
                    Attribute::PublicKeyInfo(info) => description.public_key_info = some(info),
                    Attribute::Modulus(modulus) => description.modulus = some(modulus),
                    Attribute::PublicExponent(exponent) => {
                        description.public_exponent = some(exponent);
                    }
                    Attribute::EcParams(parameters) => description.parameters = some(parameters),
                    Attribute::AlwaysAuthenticate(always) => {
                        description.always_authenticate = always;
                    }
                    Attribute::AllowedMechanisms(allowed) => {
                        description.allowed_mechanisms =
                            Some(allowed).filter(|allowed| !allowed.is_empty());
                    }
                    Attribute::Sign(sign) => signs = sign,
                    _ => {}
                }
            }
        }
        if !signs {
            return Err(Error::Unusable(
                "the key may not be used for signatures (CKA_SIGN is false)".to_owned(),
            ));
        }
        description.kind = match key_type {
            Some(KeyType::RSA) => {
                let modulus = description.modulus.as_deref().unwrap_or_default();
                let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
                let leading = modulus
                    .first()
                    .map_or(0, |first| first.leading_zeros() as usize);
                let bits = modulus.len() * 8 - leading;
                if bits < 1024 {
                    return Err(Error::Unusable(
                        "the token does not provide the modulus of this RSA key, or the modulus \
                         has less than 1024 bits"
                            .to_owned(),
                    ));
                }
                KeyKind::Rsa(bits)
            }
            Some(KeyType::EC) => {
                let parameters = description.parameters.as_deref().unwrap_or_default();
                let curve = EcCurve::of(parameters).ok_or_else(|| {
                    Error::Unusable(
                        "the key is on a curve that TLS 1.3 has no signature scheme for; P-256, P-384 and \
                         P-521 are supported (RFC 8446 section 4.2.3)"
                            .to_owned(),
                    )
                })?;
                KeyKind::Ec(curve)
            }
            Some(KeyType::EC_EDWARDS) => KeyKind::Ed25519,
            _ => {
                return Err(Error::Unusable(
                    "the key is not an RSA, ECDSA or Ed25519 key".to_owned(),
                ));
            }
        };
        Ok(description)
    }

    /// SubjectPublicKeyInfo, by CKA_PUBLIC_KEY_INFO or by the public key of the same id.
    fn public_key(&self, session: &Session) -> Result<Option<Vec<u8>>, Error> {
        if let Some(info) = &self.public_key_info {
            return Ok(Some(info.clone()));
        }
        if let (KeyKind::Rsa(_), Some(modulus), Some(exponent)) =
            (self.kind, &self.modulus, &self.public_exponent)
        {
            return Ok(Some(rsa_key(modulus, exponent)));
        }
        let name = match (&self.id, &self.label) {
            (Some(id), _) => Attribute::Id(id.clone()),
            (None, Some(label)) => Attribute::Label(label.clone()),
            (None, None) => return Ok(None),
        };
        let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), name];
        let found = session
            .find_objects(&template)
            .map_err(failed("search for objects"))?;
        let [public] = found[..] else {
            return Ok(None);
        };
        let values = session.get_attributes(public, &[AttributeType::EcPoint]);
        let point = values.ok().and_then(|values| match &values[..] {
            [Attribute::EcPoint(point)] if !point.is_empty() => Some(point.clone()),
            _ => None,
        });
        let Some(point) = point else {
            return Ok(None);
        };
        let algorithm = match (self.kind, &self.parameters) {
            (KeyKind::Ec(_), Some(parameters)) => {
                // id-ecPublicKey (RFC 5480 section 2.1.1)
                [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], parameters].concat()
            }
            // id-Ed25519 (RFC 8410 section 3)
            (KeyKind::Ed25519, _) => vec![6, 3, 0x2b, 0x65, 0x70],
            _ => return Ok(None),
        };
        Ok(Some(element(
            0x30,
            &[element(0x30, &algorithm), der::bits(der::octets(&point))].concat(),
        )))
    }
}

/// RFC 3279 section 2.3.1.
fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = [
        6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, // rsaEncryption
        5, 0,
    ];
    let key = element(
        0x30,
        &[der::integer(modulus), der::integer(exponent)].concat(),
    );
    element(0x30, &[element(0x30, &algorithm), der::bits(&key)].concat())
}
