//! Suites, groups and signature schemes: their numbers and OpenSSL's names, and which of them this OpenSSL
//! offers.
//!
//! The system's configuration (openssl.cnf, crypto-policies) says what OpenSSL offers by itself. That cannot
//! be asked, so a ClientHello is made with a context that nothing was changed in, and read. It is the upper
//! bound of what a configuration can have.

use std::ffi::{CStr, CString, c_int, c_long};
use std::ptr;

use polytls_core::capabilities::{Capabilities, ChannelBinding, CipherChoice, Source};
use polytls_core::config::{Common, Version};
use polytls_core::names::{
    OPENSSL_GROUPS, SIGNATURE_SCHEMES, group_of_openssl, group_serves, name, version_of_suite,
};
use polytls_core::{Effective, Error, Outbound};

use crate::api::{self, SSL_CIPHER};
use crate::hello::Hello;
use crate::library::Library;
use crate::scope::Scope;
use crate::wire::Wire;

/// The group's bit in what `SSL_get_negotiated_group` tells where there is no NID.
const UNKNOWN_NID: c_long = 0x0100_0000;

/// Suites of TLS 1.2 that are forward secret and authenticate what they encrypt.
const TLS12_SUITES: [u16; 6] = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];

/// Whether a suite of TLS 1.2 needs a key for ECDSA (or EdDSA); otherwise one for RSA.
pub(crate) const fn signs_with_ecdsa(suite: u16) -> bool {
    matches!(suite, 0xc02b | 0xc02c | 0xcca9)
}

/// The numbers that `table` has a name for; of groups those of finite fields have none.
fn known(table: &[(u16, &'static str)], mut numbers: Vec<u16>) -> Vec<u16> {
    numbers.retain(|number| name(table, *number).is_some());
    numbers
}

/// What OpenSSL offers by itself, each in its order.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    /// Suites with OpenSSL's names.
    suites: Vec<(u16, CString)>,
    groups: Vec<u16>,
    schemes: Vec<u16>,
    versions: Vec<Version>,
    /// Whether clients can encrypt ClientHello.
    ech: bool,
    ech_keys: bool,
    compression: bool,
}

impl Offered {
    /// Nothing, if this OpenSSL cannot make a ClientHello as it is configured.
    pub(crate) fn find(library: &Scope) -> Self {
        library.clean();
        // SAFETY: a context and a connection of it, which are freed below; no data of ours is theirs.
        let found = unsafe {
            let context = library.new_context();
            if context.is_null() {
                return Self::default();
            }
            let ssl = library.SSL_new(context);
            let found = (!ssl.is_null()).then(|| {
                let wire = Wire::new();
                let bio = library.transport.bio(library, &raw const wire);
                library.SSL_set_bio(ssl, bio, bio);
                library.SSL_set_connect_state(ssl);
                let mut flight = Outbound::default();
                wire.during(&[], &mut flight, || library.SSL_do_handshake(ssl));
                let ciphers = library.SSL_CTX_get_ciphers(context);
                let names: Vec<(u16, CString)> = (0..library.OPENSSL_sk_num(ciphers))
                    .map(|index| {
                        let cipher: *const SSL_CIPHER =
                            library.OPENSSL_sk_value(ciphers, index).cast();
                        let name = CStr::from_ptr(library.SSL_CIPHER_get_name(cipher));
                        (library.SSL_CIPHER_get_protocol_id(cipher), name.to_owned())
                    })
                    .collect();
                library.SSL_free(ssl);
                (flight, names)
            });
            library.SSL_CTX_free(context);
            found
        };
        library.clean();
        let Some((flight, names)) = found else {
            return Self::default();
        };
        // A record's header comes first.
        let message = flight.since(0).get(5..).unwrap_or_default();
        let Some(hello) = Hello::read(message) else {
            return Self::default();
        };
        let usable = |suite: &u16| {
            version_of_suite(*suite) == Version::Tls13 || TLS12_SUITES.contains(suite)
        };
        let suites: Vec<(u16, CString)> = hello
            .suites
            .iter()
            .filter(|suite| usable(suite))
            .filter_map(|suite| names.iter().find(|(number, _)| number == suite).cloned())
            .collect();
        let mut versions = vec![Version::Tls12, Version::Tls13];
        versions.retain(|version| {
            suites
                .iter()
                .any(|(suite, _)| version_of_suite(*suite) == *version)
        });
        Self {
            suites,
            versions,
            groups: known(OPENSSL_GROUPS, hello.groups),
            schemes: known(SIGNATURE_SCHEMES, hello.schemes),
            ech: crate::ech::is_supported(library),
            ech_keys: crate::ech_keys::is_supported(library),
            compression: crate::compression::is_supported(library),
        }
    }

    /// What OpenSSL can do with them.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            trust_sources: [Source::System, Source::Buffer, Source::File, Source::Pins].into(),
            certificate_sources: [Source::Buffer, Source::File, Source::Id].into(),
            key_sources: [Source::Buffer, Source::File, Source::Id, Source::Signer].into(),
            versions: self.versions.clone(),
            cipher_suites: self.suites.iter().map(|(suite, _)| *suite).collect(),
            cipher_choice: CipherChoice::Exact,
            groups: self.groups.clone(),
            client_authentication: true,
            sni_selection: true,
            resumption: true,
            exporter: true,
            channel_bindings: ChannelBinding::ALL.into(),
            key_log: true,
            crl: true,
            peers: true,
            ticket_keys: true,
            ocsp_stapling: true,
            staple_verification: true,
            client_chain_selection: true,
            peer_verifier: true,
            early_data: true,
            named_sessions: true,
            ech: self.ech,
            ech_keys: self.ech_keys,
            clock: true,
            certificate_compression: self.compression,
            max_fragment: true,
            certificate_authorities: true,
            signature_schemes: self.schemes.clone(),
            events: true,
        }
    }
}

/// What the contexts of a configuration are to have.
pub(crate) struct Selection {
    pub(crate) effective: Effective,
    /// Lists as OpenSSL takes them.
    pub(crate) tls13_suites: CString,
    pub(crate) tls12_suites: CString,
    pub(crate) groups: CString,
    schemes: Vec<u16>,
}

impl Selection {
    /// What `common` comes to, by the judgement of [`Capabilities::negotiable`].
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`].
    pub(crate) fn new(library: &'static Scope, common: &Common) -> Result<Self, Error> {
        let offered = library.offered();
        let capabilities = offered.capabilities();
        let effective = capabilities.negotiable(
            &common.versions,
            common.cipher_suites.as_deref(),
            common.groups.as_deref(),
        )?;
        let suites = &effective.cipher_suites;
        let names_of = |version: Version| {
            let of_version = suites
                .iter()
                .filter(|suite| version_of_suite(**suite) == version);
            list(of_version.filter_map(|suite| {
                let mut known = offered.suites.iter();
                let (_, name) = known.find(|(number, _)| number == suite)?;
                name.to_str().ok().map(str::to_owned)
            }))
        };
        Ok(Self {
            tls13_suites: names_of(Version::Tls13)?,
            tls12_suites: names_of(Version::Tls12)?,
            groups: list(group_names(library, &effective.groups).into_iter())?,
            schemes: capabilities
                .schemes(&effective.versions, common.signature_schemes.as_deref())?,
            effective,
        })
    }

    /// The signature schemes that handshakes may use.
    pub(crate) fn signature_schemes(&self) -> &[u16] {
        &self.schemes
    }

    /// The signature schemes that are `wanted`, as OpenSSL takes them.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub(crate) fn schemes(&self, wanted: impl Fn(u16) -> bool) -> Result<CString, Error> {
        let wanted = self.schemes.iter().filter(|number| wanted(**number));
        let names = wanted.filter_map(|number| name(SIGNATURE_SCHEMES, *number));
        list(names.map(str::to_owned))
    }
}

/// The groups by OpenSSL's names. Key shares are sent of the first one, and of the next that is no hybrid if
/// that is one: many servers know no hybrids.
fn group_names(library: &Library, groups: &[u16]) -> Vec<String> {
    let in_tls12 = |number: &u16| group_serves(*number, Version::Tls12);
    let second = groups
        .first()
        .filter(|first| !in_tls12(first))
        .and_then(|_| groups.iter().position(in_tls12));
    let marked = |index: usize| library.marks_key_shares() && (index == 0 || Some(index) == second);
    let named = groups.iter().enumerate().filter_map(|(index, number)| {
        let mark = if marked(index) { "*" } else { "" };
        Some(format!("{mark}{}", name(OPENSSL_GROUPS, *number)?))
    });
    named.collect()
}

fn list(names: impl Iterator<Item = String>) -> Result<CString, Error> {
    let names: Vec<String> = names.collect();
    CString::new(names.join(":")).map_err(|error| Error::Internal(error.to_string()))
}

/// The version of a connection as on the wire.
pub(crate) fn version_number(told: c_int) -> u16 {
    u16::try_from(told).unwrap_or(0)
}

/// What `SSL_ctrl` is given where it takes no pointer.
pub(crate) const fn nothing() -> *mut std::ffi::c_void {
    ptr::null_mut()
}

/// The group of a connection; `None` if OpenSSL does not tell.
pub(crate) fn negotiated_group(library: &Library, ssl: *mut api::SSL) -> Option<u16> {
    // SAFETY: the connection is there, and its handshake done; the text is the connection's, or for ever.
    unsafe {
        let told = library.SSL_ctrl(ssl, api::CTRL_GET_NEGOTIATED_GROUP, 0, nothing());
        if told & UNKNOWN_NID != 0 {
            return u16::try_from(told & 0xffff).ok();
        }
        let name = match library.SSL_get0_group_name {
            Some(name) => name(ssl),
            None => library.OBJ_nid2sn(c_int::try_from(told).ok()?),
        };
        if name.is_null() {
            return None;
        }
        group_of_openssl(&CStr::from_ptr(name).to_string_lossy())
    }
}
