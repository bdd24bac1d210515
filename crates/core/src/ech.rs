//! Encrypted ClientHello (RFC 9849): configurations of servers, and the record in which clients find them.
//!
//! A TLS library selects by number what it supports. What it gets is a list with one configuration, so that the
//! public name is known to the verdict: a server that rejects is verified for that name.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::{DnsName, ServerName};

use crate::error::Error;
use crate::hello::{number, split};
use crate::host::HostName;
use crate::version::Version;

/// The argument and the field of configurations.
pub const FIELD: &str = "ech";

/// Why a library that has none refuses it.
pub const UNSUPPORTED: &str =
    "this implementation does not support Encrypted ClientHello; leave it None";

/// The field of servers.
pub const KEYS: &str = "ech_keys";

/// What a refusal of a certificate adds if the server has rejected.
pub const JUDGED: &str = "; the server rejected Encrypted ClientHello, so its certificate was verified for the \
                          public name";

/// The version of the RFC.
const VERSION: u16 = 0xfe0d;
/// The AEAD that encrypts nothing (RFC 9180 section 7.3).
const EXPORT_ONLY: u16 = 0xffff;
/// Bytes that an HPKE key takes at most: guards against work for nothing.
const LARGEST_KEY: usize = 4096;
/// Configurations that a message explains.
const EXPLAINED: usize = 4;
/// The parameter "ech" of an HTTPS record (RFC 9848 section 4).
const ECH_PARAMETER: u16 = 5;

/// What became of Encrypted ClientHello on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The server decrypted the inner ClientHello.
    Accepted,
    /// It did not, and the handshake failed.
    Rejected,
    /// Only a random extension was sent (RFC 9849 section 6.2).
    Grease,
}

impl Status {
    /// The name of the member in the public enumeration `ECHStatus`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
            Self::Grease => "GREASE",
        }
    }
}

/// A configuration that was chosen for one connection, in a form that only its library knows.
/// [`crate::ClientEngine::ech`] creates it.
#[derive(Clone)]
pub struct Ech(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Ech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ech")
    }
}

/// Algorithms by number, as HPKE's registries have them (RFC 9180 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The key encapsulation mechanism.
    pub kem: u16,
    /// The key derivation function.
    pub kdf: u16,
    /// The cipher.
    pub aead: u16,
}

/// A configuration that the library can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// A list with only this configuration.
    pub list: Vec<u8>,
    /// The name that the outer ClientHello asks for.
    pub public_name: ServerName<'static>,
}

/// Chooses the first configuration of `list` that can be used for a connection to `host`.
///
/// `versions`: those that the context allows. `usable`: whether the library can encrypt with a suite and a public key.
///
/// # Errors
///
/// [`Error::Configuration`] if the connection cannot have ECH, or nothing in the list can be used; it says why.
pub fn choose(
    list: &[u8],
    host: Option<&HostName>,
    versions: &[Version],
    usable: impl Fn(Suite, &[u8]) -> bool,
) -> Result<Chosen, Error> {
    if host.is_none_or(HostName::is_ip) {
        return refuse("Encrypted ClientHello needs a host name, and this connection has none");
    }
    require_tls13(FIELD, "context", versions)?;
    let configs = match configurations(list) {
        Ok(configs) => configs,
        Err(what) => {
            return refuse(format!(
                "the list of configurations is malformed (RFC 9849 section 4): {what}; pass the \
                 bytes of the parameter ech of an HTTPS record"
            ));
        }
    };
    let mut reasons = Vec::new();
    for config in &configs {
        match config.check(&usable) {
            Ok(public_name) => {
                let [.., high, low] = config.whole.len().to_be_bytes();
                return Ok(Chosen {
                    list: [&[high, low], config.whole].concat(),
                    public_name,
                });
            }
            Err(why) => reasons.push(why),
        }
    }
    let more = reasons.len().saturating_sub(EXPLAINED);
    reasons.truncate(EXPLAINED);
    let mut told: Vec<String> = reasons
        .into_iter()
        .enumerate()
        .map(|(index, why)| format!("configuration {}: {why}", index + 1))
        .collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    refuse(format!(
        "no configuration in the list can be used ({})",
        told.join("; ")
    ))
}

/// Whether a server's list for another attempt can be read (RFC 9849 section 6.1.6).
#[must_use]
pub fn is_well_formed(list: &[u8]) -> bool {
    configurations(list).is_ok()
}

/// The identifiers of the configurations in a server's own list.
///
/// # Errors
///
/// What is wrong with the list, or with the first configuration that cannot be used.
pub fn identifiers(list: &[u8], usable: impl Fn(Suite, &[u8]) -> bool) -> Result<Vec<u8>, String> {
    let configs = configurations(list)
        .map_err(|what| format!("the ECHCONFIG section is malformed: {what}"))?;
    let mut found = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        config
            .check(&usable)
            .map_err(|why| format!("configuration {} cannot be used: {why}", index + 1))?;
        found.extend(config.contents.first());
    }
    Ok(found)
}

/// Refuses `field` unless the versions that `what` allows include TLS 1.3.
///
/// # Errors
///
/// [`Error::Configuration`].
pub fn require_tls13(field: &'static str, what: &str, versions: &[Version]) -> Result<(), Error> {
    if versions.contains(&Version::Tls13) {
        return Ok(());
    }
    let message = format!(
        "Encrypted ClientHello requires TLS 1.3, and this {what} allows only TLS 1.2; set \
         highest_supported_version to TLSVersion.TLSv1_3"
    );
    Err(Error::configuration(field, message))
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::configuration(FIELD, message))
}

/// One of a list.
struct Configuration<'a> {
    version: u16,
    contents: &'a [u8],
    /// With its version and length.
    whole: &'a [u8],
}

/// The configurations in a list, or what is wrong with it.
fn configurations(list: &[u8]) -> Result<Vec<Configuration<'_>>, String> {
    let Some((mut rest, [])) = split::<2>(list) else {
        return Err(format!(
            "it has {} bytes, and its length field does not match",
            list.len()
        ));
    };
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let torn = || format!("configuration {} is incomplete", found.len() + 1);
        let (version, behind) = number(rest).ok_or_else(torn)?;
        let (contents, behind) = split::<2>(behind).ok_or_else(torn)?;
        let whole = &rest[..rest.len() - behind.len()];
        rest = behind;
        found.push(Configuration {
            version,
            contents,
            whole,
        });
    }
    Ok(found)
}

impl Configuration<'_> {
    /// The public name, if everything else is supported; otherwise why the configuration cannot be used.
    fn check(&self, usable: impl Fn(Suite, &[u8]) -> bool) -> Result<ServerName<'static>, String> {
        if self.version != VERSION {
            return Err(format!(
                "version 0x{:04x} is not supported, only 0x{VERSION:04x}",
                self.version
            ));
        }
        let parts = Contents::of(self.contents).ok_or("it is malformed")?;
        let public_name = public_name(parts.public_name)?;
        if let Some(what) = parts.extensions_at_fault() {
            return Err(what);
        }
        if parts.key.is_empty() || parts.key.len() > LARGEST_KEY {
            return Err(format!("its public key has {} bytes", parts.key.len()));
        }
        let encrypts = |suite: Suite| suite.aead != EXPORT_ONLY && usable(suite, parts.key);
        if !parts.suites().any(encrypts) {
            let suites: Vec<String> = parts
                .suites()
                .take(EXPLAINED)
                .map(|suite| format!("0x{:04x}/0x{:04x}", suite.kdf, suite.aead))
                .collect();
            return Err(format!(
                "its public key cannot be used, or its HPKE algorithms are not supported: KEM \
                 0x{:04x}, KDF and AEAD {}",
                parts.kem,
                suites.join(", ")
            ));
        }
        Ok(public_name)
    }
}

/// ECHConfigContents.
struct Contents<'a> {
    kem: u16,
    key: &'a [u8],
    suites: &'a [u8],
    public_name: &'a [u8],
    extensions: Vec<u16>,
}

impl<'a> Contents<'a> {
    fn of(contents: &'a [u8]) -> Option<Self> {
        let (_config_id, rest) = contents.split_first()?;
        let (kem, rest) = number(rest)?;
        let (key, rest) = split::<2>(rest)?;
        let (suites, rest) = split::<2>(rest)?;
        let (_maximum_name_length, rest) = rest.split_first()?;
        let (public_name, rest) = split::<1>(rest)?;
        let (mut listed, []) = split::<2>(rest)? else {
            return None;
        };
        let mut extensions = Vec::new();
        while !listed.is_empty() {
            let (kind, behind) = number(listed)?;
            extensions.push(kind);
            listed = split::<2>(behind)?.1;
        }
        (!suites.is_empty() && suites.len().is_multiple_of(4)).then_some(Self {
            kem,
            key,
            suites,
            public_name,
            extensions,
        })
    }

    fn suites(&self) -> impl Iterator<Item = Suite> {
        self.suites.chunks_exact(4).map(|pair| Suite {
            kem: self.kem,
            kdf: u16::from_be_bytes([pair[0], pair[1]]),
            aead: u16::from_be_bytes([pair[2], pair[3]]),
        })
    }

    /// A mandatory extension, which is unknown, as all are; or one that is there twice (RFC 9849 section 4.2).
    fn extensions_at_fault(&self) -> Option<String> {
        let mut seen = self.extensions.clone();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Some("it has an extension twice".to_owned());
        }
        let mandatory = seen.into_iter().find(|kind| kind & 0x8000 != 0)?;
        Some(format!(
            "its mandatory extension 0x{mandatory:04x} is unknown"
        ))
    }
}

/// RFC 9849 section 4.1: labels of letters, digits and hyphens, and nothing that is read as an address.
fn public_name(name: &[u8]) -> Result<ServerName<'static>, String> {
    let wrong = || {
        format!(
            "its public name is not a host name: {:?}",
            String::from_utf8_lossy(name)
        )
    };
    let text = std::str::from_utf8(name).map_err(|_| wrong())?;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !text.split('.').all(is_label) || is_number {
        return Err(wrong());
    }
    let name = DnsName::try_from(text.to_owned()).map_err(|_| wrong())?;
    Ok(ServerName::DnsName(name))
}

/// The value of the parameter "ech" in the data of an HTTPS or SVCB record (RFC 9460 section 2.2); `None` if the
/// record has none, such as an alias.
///
/// # Errors
///
/// What is wrong with the record.
pub fn of_record(record: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    const TORN: &str = "it is incomplete";
    let (priority, mut rest) = number(record).ok_or(TORN)?;
    // The target's name: labels, the last of which is empty. It is never compressed.
    loop {
        let (label, behind) = split::<1>(rest).ok_or(TORN)?;
        if label.len() > 63 {
            return Err("its target is not a host name");
        }
        rest = behind;
        if label.is_empty() {
            break;
        }
    }
    // RFC 9460 section 2.4.2: an alias has no parameters; they are ignored.
    if priority == 0 {
        return Ok(None);
    }
    let mut found = None;
    let mut before = None;
    while !rest.is_empty() {
        let (key, behind) = number(rest).ok_or(TORN)?;
        let (value, behind) = split::<2>(behind).ok_or(TORN)?;
        if before.is_some_and(|before| before >= key) {
            return Err("its parameters are not in ascending order");
        }
        before = Some(key);
        if key == ECH_PARAMETER {
            found = Some(value);
        }
        rest = behind;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: Suite = Suite {
        kem: 0x20,
        kdf: 1,
        aead: 1,
    };

    fn vector(bytes: &[u8]) -> Vec<u8> {
        let [.., high, low] = bytes.len().to_be_bytes();
        [&[high, low], bytes].concat()
    }

    fn config(version: u16, suite: Suite, name: &[u8], extensions: &[u8]) -> Vec<u8> {
        let mut contents = vec![7];
        contents.extend(suite.kem.to_be_bytes());
        contents.extend(vector(&[9; 32]));
        contents.extend(vector(
            &[suite.kdf.to_be_bytes(), suite.aead.to_be_bytes()].concat(),
        ));
        contents.push(0);
        contents.push(name.len().try_into().expect("a short name"));
        contents.extend(name);
        contents.extend(vector(extensions));
        [&version.to_be_bytes()[..], &vector(&contents)].concat()
    }

    fn good() -> Vec<u8> {
        config(VERSION, X25519, b"cover.example", &[])
    }

    fn chosen(list: &[u8]) -> Result<Chosen, String> {
        let host = HostName::parse("secret.example").expect("a name");
        let versions = [Version::Tls12, Version::Tls13];
        choose(list, Some(&host), &versions, |suite, _| suite == X25519)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_usable_configuration_is_chosen() {
        let other = config(
            VERSION,
            Suite {
                kem: 0x10,
                ..X25519
            },
            b"other.example",
            &[],
        );
        let unknown = [&[0xfe, 0x0a][..], &vector(&[1, 2, 3])].concat();
        let list = vector(&[unknown, other, good(), good()].concat());
        let chosen = chosen(&list).expect("a configuration");
        assert_eq!(chosen.list, vector(&good()));
        assert_eq!(chosen.public_name.to_str(), "cover.example");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |name: &[u8]| config(VERSION, X25519, name, &[]);
        for (config, expected) in [
            (config(0xfe0a, X25519, b"a.example", &[]), "0xfe0a"),
            (
                config(
                    VERSION,
                    Suite {
                        kem: 0x11,
                        ..X25519
                    },
                    b"a.example",
                    &[],
                ),
                "KEM 0x0011",
            ),
            (
                config(VERSION, Suite { aead: 9, ..X25519 }, b"a.example", &[]),
                "0x0001/0x0009",
            ),
            (
                config(VERSION, X25519, b"a.example", &[0x80, 1, 0, 0]),
                "mandatory extension 0x8001",
            ),
            (
                config(VERSION, X25519, b"a.example", &[0, 1, 0, 0, 0, 1, 0, 0]),
                "twice",
            ),
            (with(b""), "not a host name"),
            (with(b"a..example"), "not a host name"),
            (with(b"a.example."), "not a host name"),
            (with(b"-a.example"), "not a host name"),
            (with(b"a_b.example"), "not a host name"),
            (with(b"192.0.2.1"), "not a host name"),
            (with(b"a.0x7f"), "not a host name"),
            (with(b"a\xff.example"), "not a host name"),
        ] {
            let told = chosen(&vector(&config)).expect_err("cannot be used");
            assert!(told.starts_with("ech: no configuration"), "{told}");
            assert!(told.contains(expected), "{told}");
        }
        assert!(
            chosen(&vector(&config(
                VERSION,
                X25519,
                b"a.example",
                &[0, 1, 0, 0]
            )))
            .is_ok()
        );
        let many = chosen(&vector(&with(b"").repeat(7))).expect_err("cannot be used");
        assert!(many.ends_with("; and 3 more)"), "{many}");
    }

    #[test]
    fn malformed_lists_are_refused() {
        let list = vector(&good());
        assert!(is_well_formed(&list));
        for end in 0..list.len() {
            chosen(&list[..end]).expect_err("torn");
            assert!(!is_well_formed(&list[..end]));
            // Torn inside, with a length that fits.
            if let Some(inside) = list[..end].get(2..) {
                chosen(&vector(inside)).expect_err("torn");
            }
        }
        for (wrong, expected) in [
            (vec![], "0 bytes"),
            (vec![0, 0], "it is empty"),
            (good(), "does not match"),
            ([list.clone(), vec![0]].concat(), "does not match"),
            (
                vector(&[good(), vec![0xfe]].concat()),
                "configuration 2 is incomplete",
            ),
        ] {
            assert!(!is_well_formed(&wrong));
            let told = chosen(&wrong).expect_err("malformed");
            assert!(
                told.contains("malformed") && told.contains(expected),
                "{told}"
            );
        }
        for at in 0..list.len() {
            for flip in [1, 0x80, 0xff] {
                let mut garbled = list.clone();
                garbled[at] ^= flip;
                // Whatever it says, it does not panic.
                let _ = chosen(&garbled);
            }
        }
    }

    #[test]
    fn a_server_learns_what_is_wrong_with_its_own_list() {
        let told = |list: &[u8]| identifiers(list, |suite, _| suite == X25519);
        assert_eq!(told(&vector(&[good(), good()].concat())), Ok(vec![7, 7]));
        let other = config(VERSION, Suite { aead: 9, ..X25519 }, b"a.example", &[]);
        for (list, expected) in [
            (vec![], "malformed"),
            (good(), "malformed"),
            (vector(&other), "configuration 1 cannot be used"),
            (
                vector(&[good(), config(0xfe0a, X25519, b"a.example", &[])].concat()),
                "configuration 2 cannot be used: version 0xfe0a",
            ),
        ] {
            let told = told(&list).expect_err("wrong");
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn connections_without_a_name_or_tls13_have_none() {
        let list = vector(&good());
        let told = |host: Option<&str>, versions: &[Version]| {
            let host = host.map(|name| HostName::parse(name).expect("a name"));
            choose(&list, host.as_ref(), versions, |_, _| true).map_err(|error| error.to_string())
        };
        for host in [None, Some("192.0.2.1"), Some("::1")] {
            let told = told(host, &[Version::Tls13]).expect_err("no name");
            assert!(told.contains("needs a host name"), "{told}");
        }
        let old = told(Some("a.example"), &[Version::Tls12]).expect_err("too old");
        assert!(old.contains("requires TLS 1.3"), "{old}");
        assert!(told(Some("a.example"), &[Version::Tls13]).is_ok());
    }

    #[test]
    fn a_record_has_a_list_or_none() {
        let record = |parameters: &[u8]| [&[0, 1, 1, b'a', 0][..], parameters].concat();
        let ech = [0, 5, 0, 3, 7, 8, 9];
        let alpn = [0, 1, 0, 3, 2, b'h', b'2'];
        assert_eq!(of_record(&record(&[])), Ok(None));
        assert_eq!(of_record(&record(&alpn)), Ok(None));
        let both = record(&[alpn, ech].concat());
        assert_eq!(of_record(&both), Ok(Some(&[7, 8, 9][..])));
        // An alias.
        assert_eq!(of_record(&[0, 0, 1, b'a', 0]), Ok(None));
        for wrong in [
            record(&[ech, alpn].concat()),
            record(&[ech, ech].concat()),
            vec![0, 1, 0xc0, 12],
        ] {
            assert!(of_record(&wrong).is_err(), "{wrong:?}");
        }
        let whole_parameters = [5, 12, both.len()];
        for end in 0..both.len() {
            let torn = of_record(&both[..end]);
            assert_eq!(torn.is_err(), !whole_parameters.contains(&end), "{end}");
        }
    }
}
