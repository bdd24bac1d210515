//! Finding a token, and what is in it.

use std::sync::Arc;

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{Error, failed};
use crate::login::Pin;
use crate::module::Module;
use crate::session::Session;
use crate::uri::{ObjectType, Uri};

/// One token of a module.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) module: Arc<Module>,
    pub(crate) slot: Slot,
    pub(crate) info: TokenInfo,
}

impl Token {
    /// The one that `uri` names.
    pub(crate) fn find(uri: &Uri) -> Result<Self, Error> {
        let (module, tokens) = Module::of(uri)?.with_tokens()?;
        let mut found = Vec::new();
        for (slot, info) in &tokens {
            if is_meant(uri, &module, *slot, info)? {
                found.push((*slot, info.clone()));
            }
        }
        let listed = |infos: &mut dyn Iterator<Item = &TokenInfo>| {
            let each: Vec<String> = infos.map(|info| uri_of(info).to_string()).collect();
            each.join(", ")
        };
        if found.len() > 1 {
            return Err(Error::Match {
                several: true,
                why: format!(
                    "{} tokens match {uri}: {}; add the serial number to the URI",
                    found.len(),
                    listed(&mut found.iter().map(|(_, info)| info))
                ),
            });
        }
        let Some((slot, info)) = found.pop() else {
            let there = if tokens.is_empty() {
                "it has no token".to_owned()
            } else {
                format!(
                    "it has {}",
                    listed(&mut tokens.iter().map(|(_, info)| info))
                )
            };
            return Err(Error::Match {
                several: false,
                why: format!(
                    "no token of the module {} matches {uri}: {there}",
                    module.path.display()
                ),
            });
        };
        Ok(Self { module, slot, info })
    }

    /// A session that can see what is private, if there is a PIN for it.
    pub(crate) fn open(&self, pin: &Pin) -> Result<Session, Error> {
        let session = self.public_session()?;
        self.module.log_in(&session, self.slot, &self.info, pin)?;
        Ok(session)
    }

    pub(crate) fn public_session(&self) -> Result<Session, Error> {
        let session = self.module.pkcs11.open_ro_session(self.slot);
        let session = session.map_err(failed("open a session"))?;
        Ok(Session::new(session, Arc::clone(&self.module)))
    }
}

fn is_meant(uri: &Uri, module: &Module, slot: Slot, info: &TokenInfo) -> Result<bool, Error> {
    let is = |wanted: &Option<Vec<u8>>, value: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted == value.as_bytes())
    };
    let is_token = is(&uri.token, info.label())
        && is(&uri.manufacturer, info.manufacturer_id())
        && is(&uri.serial, info.serial_number())
        && is(&uri.model, info.model())
        && uri.slot_id.is_none_or(|id| id == slot.id());
    if !is_token {
        return Ok(false);
    }
    if uri.slot_manufacturer.is_some() || uri.slot_description.is_some() {
        let slot = module
            .pkcs11
            .get_slot_info(slot)
            .map_err(failed("describe its slot"))?;
        if !is(&uri.slot_manufacturer, slot.manufacturer_id())
            || !is(&uri.slot_description, slot.slot_description())
        {
            return Ok(false);
        }
    }
    if uri.library_manufacturer.is_some()
        || uri.library_description.is_some()
        || uri.library_version.is_some()
    {
        let library = module
            .pkcs11
            .get_library_info()
            .map_err(failed("describe its module"))?;
        let version = library.library_version();
        return Ok(is(&uri.library_manufacturer, library.manufacturer_id())
            && is(&uri.library_description, library.library_description())
            && uri
                .library_version
                .is_none_or(|wanted| wanted == (version.major(), version.minor())));
    }
    Ok(true)
}

/// The attributes that tell one token from others.
pub(crate) fn uri_of(info: &TokenInfo) -> Uri {
    let text = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
    Uri {
        token: text(info.label()),
        manufacturer: text(info.manufacturer_id()),
        serial: text(info.serial_number()),
        model: text(info.model()),
        ..Uri::default()
    }
}

/// Label and id of an object.
pub(crate) fn label_and_id(
    session: &Session,
    object: ObjectHandle,
) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let attributes = session
        .get_attributes(object, &[AttributeType::Label, AttributeType::Id])
        .map_err(failed("describe an object"))?;
    let mut named = (Vec::new(), Vec::new());
    for attribute in attributes {
        match attribute {
            Attribute::Label(label) => named.0 = label,
            Attribute::Id(id) => named.1 = id,
            _ => {}
        }
    }
    Ok(named)
}

fn template(uri: &Uri, class: ObjectClass) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(class)];
    if class == ObjectClass::CERTIFICATE {
        template.push(Attribute::CertificateType(CertificateType::X_509));
    }
    template.extend(uri.object.clone().map(Attribute::Label));
    template.extend(uri.id.clone().map(Attribute::Id));
    template
}

/// The one object of that kind that `uri` names, or why there is not one.
pub(crate) fn find_one(
    session: &Session,
    token: &Token,
    uri: &Uri,
    kind: ObjectType,
) -> Result<ObjectHandle, Error> {
    let (class, what) = match kind {
        ObjectType::Certificate => (ObjectClass::CERTIFICATE, "certificate"),
        ObjectType::PublicKey => (ObjectClass::PUBLIC_KEY, "public key"),
        _ => (ObjectClass::PRIVATE_KEY, "private key"),
    };
    if let Some(named) = uri.object_type
        && named != kind
    {
        return Err(Error::Uri(format!(
            "it names an object of type {}, expected a {what} (type={})",
            named.name(),
            kind.name()
        )));
    }
    let find = |template: &[Attribute]| -> Result<Vec<ObjectHandle>, CryptokiError> {
        session.find_objects(template)
    };
    let found = find(&template(uri, class)).map_err(failed("search for objects"))?;
    if let [one] = found[..] {
        return Ok(one);
    }
    let all = if found.is_empty() {
        find(&template(&Uri::default(), class)).map_err(failed("search for objects"))?
    } else {
        found.clone()
    };
    let mut listed = Vec::new();
    for object in all.iter().take(LISTED) {
        let (label, id) = label_and_id(session, *object)?;
        let shown = Uri {
            object: Some(label).filter(|label| !label.is_empty()),
            id: Some(id).filter(|id| !id.is_empty()),
            object_type: Some(kind),
            ..Uri::default()
        };
        listed.push(shown.to_string());
    }
    listed.sort();
    if all.len() > LISTED {
        listed.push(format!("and {} more", all.len() - LISTED));
    }
    let listed = listed.join(", ");
    let token = token.info.label();
    let why = if found.is_empty() && all.is_empty() {
        format!("the token {token:?} has no {what} visible to this login")
    } else if found.is_empty() {
        format!("no {what} of the token {token:?} matches {uri}; it has {listed}")
    } else {
        format!(
            "{} {what}s of the token {token:?} match {uri}: {listed}; add object or id to the URI",
            found.len()
        )
    };
    Err(Error::Match {
        why,
        several: !found.is_empty(),
    })
}

/// How many objects a message lists.
const LISTED: usize = 8;
