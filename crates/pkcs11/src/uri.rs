//! `pkcs11:` URIs (RFC 7512).
//!
//! The grammar is kept to the letter: an attribute that the RFC does not know is refused where it would
//! narrow what is meant (the path), and told as a warning where it says how to get there (the query, RFC
//! 7512 section 2.4). What may be secret, the PIN, is wiped, and in no message.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Error;

/// What kind of object a URI names (`type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// `cert`
    Certificate,
    /// `data`
    Data,
    /// `private`
    PrivateKey,
    /// `public`
    PublicKey,
    /// `secret-key`
    SecretKey,
}

impl ObjectType {
    const ALL: [Self; 5] = [
        Self::Certificate,
        Self::Data,
        Self::PrivateKey,
        Self::PublicKey,
        Self::SecretKey,
    ];

    /// As a URI has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "cert",
            Self::Data => "data",
            Self::PrivateKey => "private",
            Self::PublicKey => "public",
            Self::SecretKey => "secret-key",
        }
    }
}

/// Where the module is, in a URI's query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleReference {
    /// `module-path`
    Path(PathBuf),
    /// `module-name`: without a directory and without `.so`.
    Name(String),
}

/// Where the PIN is, in a URI's query.
#[derive(Clone, PartialEq, Eq)]
pub enum PinReference {
    /// `pin-value`
    Value(Zeroizing<Vec<u8>>),
    /// `pin-source`: a file.
    File(PathBuf),
}

impl fmt::Debug for PinReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What a `pkcs11:` URI says. Path attributes that are `None` match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// `token`: the label of the token.
    pub token: Option<Vec<u8>>,
    /// `manufacturer` of the token.
    pub manufacturer: Option<Vec<u8>>,
    /// `serial` number of the token.
    pub serial: Option<Vec<u8>>,
    /// `model` of the token.
    pub model: Option<Vec<u8>>,
    /// `library-manufacturer`
    pub library_manufacturer: Option<Vec<u8>>,
    /// `library-description`
    pub library_description: Option<Vec<u8>>,
    /// `library-version`, major and minor.
    pub library_version: Option<(u8, u8)>,
    /// `slot-manufacturer`
    pub slot_manufacturer: Option<Vec<u8>>,
    /// `slot-description`
    pub slot_description: Option<Vec<u8>>,
    /// `slot-id`
    pub slot_id: Option<u64>,
    /// `object`: CKA_LABEL.
    pub object: Option<Vec<u8>>,
    /// `type`: CKA_CLASS.
    pub object_type: Option<ObjectType>,
    /// `id`: CKA_ID.
    pub id: Option<Vec<u8>>,
    /// The module that the query names.
    pub module: Option<ModuleReference>,
    /// The PIN that the query names.
    pub pin: Option<PinReference>,
    /// The names of query attributes that are not known here, and were passed over.
    pub ignored: Vec<String>,
}

const SCHEME: &[u8] = b"pkcs11:";

impl Uri {
    /// Whether `id` has the scheme of these URIs.
    #[must_use]
    pub fn is_one(id: &[u8]) -> bool {
        id.get(..SCHEME.len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// [`Error::Uri`], which names the attribute.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if !Self::is_one(text) {
            return Err(wrong("the URI must begin with \"pkcs11:\" (RFC 7512)"));
        }
        let rest = &text[SCHEME.len()..];
        let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let mut uri = Self::default();
        for attribute in attributes(path, b';', is_path_character)? {
            uri.set_path(&attribute)?;
        }
        for attribute in attributes(query.unwrap_or_default(), b'&', is_query_character)? {
            uri.set_query(attribute)?;
        }
        Ok(uri)
    }

    /// As it is written, with the module that its query names, and without the PIN.
    #[must_use]
    pub fn with_module(&self) -> String {
        let (name, value) = match &self.module {
            None => return self.to_string(),
            Some(ModuleReference::Path(path)) => {
                ("module-path", path.to_string_lossy().into_owned())
            }
            Some(ModuleReference::Name(name)) => ("module-name", name.clone()),
        };
        let mut uri = format!("{self}?{name}=");
        for byte in value.bytes() {
            push(&mut uri, byte, is_query_character(byte));
        }
        uri
    }

    fn set_path(&mut self, attribute: &Attribute) -> Result<(), Error> {
        let Attribute { name, value } = attribute;
        let field = match &**name {
            "token" => &mut self.token,
            "manufacturer" => &mut self.manufacturer,
            "serial" => &mut self.serial,
            "model" => &mut self.model,
            "library-manufacturer" => &mut self.library_manufacturer,
            "library-description" => &mut self.library_description,
            "slot-manufacturer" => &mut self.slot_manufacturer,
            "slot-description" => &mut self.slot_description,
            "object" => &mut self.object,
            "id" => &mut self.id,
            "library-version" => {
                let version = version(value)
                    .ok_or_else(|| wrong("library-version must be a version such as 3 or 2.40"))?;
                return once(&mut self.library_version, name, version);
            }
            "slot-id" => {
                let number =
                    decimal(value).ok_or_else(|| wrong("slot-id must be a decimal number"))?;
                return once(&mut self.slot_id, name, number);
            }
            "type" => {
                let known = ObjectType::ALL
                    .into_iter()
                    .find(|kind| kind.name().as_bytes() == &***value)
                    .ok_or_else(|| {
                        wrong("type must be cert, data, private, public or secret-key")
                    })?;
                return once(&mut self.object_type, name, known);
            }
            "pin-value" | "pin-source" | "module-name" | "module-path" => {
                return Err(wrong(format!(
                    "{name} is a query attribute: put it after \"?\""
                )));
            }
            _ => return Err(wrong(format!("unknown path attribute {name:?}"))),
        };
        once(field, name, value.to_vec())
    }

    fn set_query(&mut self, attribute: Attribute) -> Result<(), Error> {
        let Attribute { name, value } = attribute;
        match &*name {
            "pin-value" => self.set_pin(PinReference::Value(value)),
            "pin-source" => {
                let file = pin_file(&value)?;
                self.set_pin(PinReference::File(file))
            }
            "module-path" => {
                let path =
                    path_of(&value).ok_or_else(|| wrong("module-path must be an absolute path"))?;
                self.set_module(ModuleReference::Path(path))
            }
            "module-name" => {
                let name = std::str::from_utf8(&value)
                    .ok()
                    .filter(|name| !name.is_empty() && !name.contains('/'))
                    .ok_or_else(|| {
                        wrong("module-name must be a name; use module-path for a path")
                    })?;
                self.set_module(ModuleReference::Name(name.to_owned()))
            }
            _ => {
                self.ignored.push(name);
                Ok(())
            }
        }
    }

    fn set_pin(&mut self, pin: PinReference) -> Result<(), Error> {
        if self.pin.is_some() {
            return Err(wrong("give one of pin-value and pin-source, once"));
        }
        self.pin = Some(pin);
        Ok(())
    }

    fn set_module(&mut self, module: ModuleReference) -> Result<(), Error> {
        if self.module.is_some() {
            return Err(wrong("give one of module-path and module-name, once"));
        }
        self.module = Some(module);
        Ok(())
    }
}

/// The path attributes, without the query: it may hold a PIN.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self
            .library_version
            .map(|(major, minor)| format!("{major}.{minor}"));
        let slot = self.slot_id.map(|id| id.to_string());
        let parts: [(&str, Option<&[u8]>); 13] = [
            ("token", self.token.as_deref()),
            ("manufacturer", self.manufacturer.as_deref()),
            ("serial", self.serial.as_deref()),
            ("model", self.model.as_deref()),
            ("library-manufacturer", self.library_manufacturer.as_deref()),
            ("library-description", self.library_description.as_deref()),
            ("library-version", version.as_deref().map(str::as_bytes)),
            ("slot-manufacturer", self.slot_manufacturer.as_deref()),
            ("slot-description", self.slot_description.as_deref()),
            ("slot-id", slot.as_deref().map(str::as_bytes)),
            ("object", self.object.as_deref()),
            ("id", self.id.as_deref()),
            ("type", self.object_type.map(|kind| kind.name().as_bytes())),
        ];
        let mut uri = "pkcs11:".to_owned();
        let given = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        for (index, (name, value)) in given.enumerate() {
            if index > 0 {
                uri.push(';');
            }
            uri += name;
            uri.push('=');
            for byte in value {
                // An id is bytes, even where they happen to be letters.
                push(&mut uri, *byte, is_path_character(*byte) && name != "id");
            }
        }
        f.write_str(&uri)
    }
}

/// One byte of a value, as it is or percent-encoded.
fn push(uri: &mut String, byte: u8, as_it_is: bool) {
    if as_it_is {
        uri.push(char::from(byte));
    } else {
        *uri += &format!("%{byte:02X}");
    }
}

struct Attribute {
    name: String,
    value: Zeroizing<Vec<u8>>,
}

fn wrong(why: impl Into<String>) -> Error {
    Error::Uri(why.into())
}

fn once<T>(field: &mut Option<T>, name: &str, value: T) -> Result<(), Error> {
    if field.replace(value).is_some() {
        return Err(wrong(format!("{name} is given twice")));
    }
    Ok(())
}

fn attributes(
    text: &[u8],
    separator: u8,
    is_character: fn(u8) -> bool,
) -> Result<Vec<Attribute>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(|byte| *byte == separator)
        .map(|part| {
            let at = part.iter().position(|byte| *byte == b'=');
            let at = at.ok_or_else(|| wrong("an attribute has no \"=\""))?;
            let name = &part[..at];
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || !name.iter().all(is_name) {
                return Err(wrong(
                    "the name of an attribute must be letters, digits, \"-\" and \"_\"",
                ));
            }
            let name = String::from_utf8_lossy(name).into_owned();
            let value = decoded(&part[at + 1..], is_character)
                .map_err(|why| wrong(format!("{name}: {why}")))?;
            Ok(Attribute { name, value })
        })
        .collect()
}

/// Undoes percent-encoding. What is wrong is told without its value: it may be a PIN.
fn decoded(text: &[u8], is_character: fn(u8) -> bool) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        if *first != b'%' {
            if !is_character(*first) {
                return Err("a character must be percent-encoded (RFC 7512 section 2.3)");
            }
            value.push(*first);
            rest = behind;
            continue;
        }
        let digits = behind.get(..2).and_then(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
        });
        value.push(digits.ok_or("\"%\" must be followed by two hexadecimal digits")?);
        rest = &behind[2..];
    }
    Ok(value)
}

/// What path and query may both have without encoding it.
const fn is_common_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b':' | b'[' | b']' | b'@' | b'!' | b'$' | b'\'')
        || matches!(byte, b'(' | b')' | b'*' | b'+' | b',' | b'=')
}

/// `pk11-pchar` without what is encoded.
const fn is_path_character(byte: u8) -> bool {
    is_common_character(byte) || byte == b'&'
}

/// `pk11-qchar` without what is encoded. "|" stands for itself in examples of the RFC.
const fn is_query_character(byte: u8) -> bool {
    is_common_character(byte) || matches!(byte, b'/' | b'?' | b'|')
}

fn decimal(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

fn version(value: &[u8]) -> Option<(u8, u8)> {
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let part = |part: &[u8]| u8::try_from(decimal(part)?).ok();
    let major = part(parts.next()?)?;
    let minor = parts.next().map_or(Some(0), part)?;
    Some((major, minor))
}

/// The file of `pin-source`: an absolute path, or a URI of the scheme `file` (RFC 8089).
fn pin_file(value: &[u8]) -> Result<PathBuf, Error> {
    if value.first() == Some(&b'|') {
        return Err(wrong(
            "pin-source names a command, which polytls does not run; use a file, or a PIN callback",
        ));
    }
    let path = match value.strip_prefix(b"file:") {
        Some(rest) => rest
            .strip_prefix(b"//localhost")
            .or_else(|| rest.strip_prefix(b"//"))
            .unwrap_or(rest),
        None => value,
    };
    path_of(path).ok_or_else(|| wrong("pin-source must be an absolute path, or file:/path"))
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    (path.is_absolute() && !bytes.contains(&0)).then_some(path)
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::str::from_utf8(bytes).ok()?);
    (path.is_absolute() && !bytes.contains(&0)).then_some(path)
}
