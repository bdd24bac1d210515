//! What the tokens of a module hold, with the URI of each.

use std::path::Path;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::error::{Error, failed};
use crate::login::{AskPin, Pin};
use crate::module::Module;
use crate::token::{Token, label_and_id, uri_of};
use crate::uri::{ModuleReference, ObjectType, Uri};
use std::sync::Arc;

/// One token, and what can be seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenListing {
    /// Its URI.
    pub uri: Uri,
    /// Whether private objects need a PIN.
    pub needs_pin: bool,
    /// Its certificates and keys, each by its URI.
    pub objects: Vec<Uri>,
}

/// The tokens of the module in that file, of p11-kit's proxy without one. Private keys are seen where `callback`
/// gives the PIN.
///
/// # Errors
///
/// [`Error`]: the module, a token, a PIN.
pub fn list(
    module: Option<&Path>,
    callback: Option<&Arc<dyn AskPin>>,
) -> Result<Vec<TokenListing>, Error> {
    let reference = module.map(|path| ModuleReference::Path(path.to_owned()));
    let any = Uri {
        module: reference.clone(),
        ..Uri::default()
    };
    let (module, tokens) = Module::of(&any)?.with_tokens()?;
    let _calling = module.calling();
    let mut listings = Vec::new();
    for (slot, info) in tokens {
        let token = Token {
            module: Arc::clone(&module),
            slot,
            info,
        };
        let session = match callback {
            Some(callback) => token.open(&Pin {
                reference: None,
                callback: Some(Arc::clone(callback)),
            })?,
            None => token.public_session()?,
        };
        let named = Uri {
            module: reference.clone(),
            ..uri_of(&token.info)
        };
        let mut objects = Vec::new();
        for object in session
            .find_objects(&[])
            .map_err(failed("search for objects"))?
        {
            let class = session.get_attributes(object, &[AttributeType::Class]);
            let kind = match class.ok().and_then(|mut values| values.pop()) {
                Some(Attribute::Class(ObjectClass::CERTIFICATE)) => ObjectType::Certificate,
                Some(Attribute::Class(ObjectClass::PRIVATE_KEY)) => ObjectType::PrivateKey,
                Some(Attribute::Class(ObjectClass::PUBLIC_KEY)) => ObjectType::PublicKey,
                _ => continue,
            };
            let (label, id) = label_and_id(&session, object)?;
            objects.push(Uri {
                object: Some(label).filter(|label| !label.is_empty()),
                id: Some(id).filter(|id| !id.is_empty()),
                object_type: Some(kind),
                ..named.clone()
            });
        }
        objects.sort_by_key(|uri| {
            (
                uri.object_type.map(ObjectType::name),
                uri.object.clone(),
                uri.id.clone(),
            )
        });
        listings.push(TokenListing {
            needs_pin: token.info.login_required(),
            uri: named,
            objects,
        });
    }
    Ok(listings)
}
