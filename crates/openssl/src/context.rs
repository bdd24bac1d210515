//! What the connections of one configuration share: an `SSL_CTX`, and what its callbacks need.

use std::ffi::{CStr, CString, c_int, c_long};
use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, KeyLog, ServerConfig, Verification, Version,
};
use polytls_core::events::Tracer;
use polytls_core::{Counters, Effective, Error, MAX_FRAGMENT};
use polytls_verdict::{Judge, Policy, SystemTrust, binding};

use crate::api;
use crate::blame::Fault;
use crate::callbacks::{self, A_WEEK};
use crate::compression;
use crate::ech_keys;
use crate::identity::Identities;
use crate::objects::{SslContext, names};
use crate::remembered::{ClientSessions, limit};
use crate::scope::Scope;
use crate::seen::Last;
use crate::store::{self, Store};
use crate::strength::Level;
use crate::tables::{Selection, nothing};
use crate::tickets::{self, Tickets};

/// How much early data a server takes: a record's worth.
const EARLY_DATA: u32 = 16_384;

/// See the module.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) library: &'static Scope,
    pub(crate) ctx: SslContext,
    pub(crate) is_server: bool,
    pub(crate) effective: Effective,
    pub(crate) identities: Identities,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who judges peers; `None` where they present nothing.
    pub(crate) judge: Option<Judge>,
    pub(crate) names_are_checked: bool,
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
    /// Who is told what happens on connections.
    pub(crate) tracer: Option<Arc<dyn Tracer>>,
    pub(crate) counters: Counters,
    /// What the last peer has presented, and the path that was verified.
    pub(crate) last: Last,
    pub(crate) early_data: bool,
    /// How much plaintext a record that is sent holds at most.
    pub(crate) max_fragment: usize,
    /// Whether GREASE of Encrypted ClientHello is sent.
    pub(crate) ech_grease: bool,
    /// Whether a server has keys to decrypt ClientHello with.
    pub(crate) decrypts_hello: bool,
    /// What a client remembers.
    pub(crate) sessions: Option<Arc<ClientSessions>>,
    /// What a server's tickets are sealed with; `None`: there are none.
    pub(crate) tickets: Option<Tickets>,
    /// What a server keeps itself.
    pub(crate) store: Option<Store>,
}

impl Context {
    pub(crate) fn client(library: &'static Scope, config: &ClientConfig) -> Result<Self, Error> {
        let common = &config.common;
        let policy = Policy {
            trust: Some(&config.trust),
            verification: config.verification,
            common,
            peer_is_server: true,
        };
        let selection = Selection::new(library, common)?;
        let mut identities = Identities::new(library, &config.identities)?;
        let ctx = begin(library, &selection, common, &mut identities, false)?;
        let judge = judge(library, &ctx, &policy)?;
        let sessions = match common.sessions {
            None => None,
            Some(capacity) => Some(Arc::new(ClientSessions::new(limit(capacity)?))),
        };
        let set = Setter { library, ctx: &ctx };
        if common.alpn.is_empty() {
            library.clean();
        } else {
            set.offered_alpn(&common.alpn)?;
        }
        // SAFETY: the context is ours, and not used yet.
        unsafe {
            library.SSL_CTX_set_verify(ctx.as_ptr(), api::VERIFY_PEER, nothing());
            if config.ech_grease {
                library.SSL_CTX_set_options(ctx.as_ptr(), api::OP_ECH_GREASE);
            }
            let mode = if sessions.is_some() {
                library.SSL_CTX_sess_set_new_cb(ctx.as_ptr(), callbacks::received_session);
                api::SESS_CACHE_CLIENT | api::SESS_CACHE_NO_INTERNAL
            } else {
                library.SSL_CTX_set_options(ctx.as_ptr(), api::OP_NO_TICKET);
                api::SESS_CACHE_OFF
            };
            set.number(api::CTRL_SET_SESS_CACHE_MODE, mode);
            if judge.heeds_staples() {
                let command = api::CTRL_SET_TLSEXT_STATUS_REQ_CB;
                library.SSL_CTX_callback_ctrl(ctx.as_ptr(), command, callbacks::stapled);
            }
        }
        Ok(Self {
            library,
            ctx,
            is_server: false,
            effective: selection.effective,
            identities,
            alpn: common.alpn.clone(),
            clock: Arc::clone(&common.clock),
            judge: Some(judge),
            names_are_checked: config.verification == Verification::Full,
            key_log: common.key_log.clone(),
            tracer: common.tracer.clone(),
            counters: Counters::default(),
            last: Last::default(),
            early_data: common.early_data,
            max_fragment: common.max_fragment,
            ech_grease: config.ech_grease,
            decrypts_hello: false,
            sessions,
            tickets: None,
            store: None,
        })
    }

    pub(crate) fn server(library: &'static Scope, config: &ServerConfig) -> Result<Self, Error> {
        let common = &config.common;
        if config.identities.is_empty() {
            return Err(Error::configuration(
                "certificate_chain",
                "a server needs at least one signing chain",
            ));
        }
        let selection = Selection::new(library, common)?;
        let mut identities = Identities::new(library, &config.identities)?;
        let ctx = begin(library, &selection, common, &mut identities, true)?;
        let judge = if config.client_authentication == ClientAuthentication::None {
            None
        } else {
            let policy = Policy {
                trust: config.trust.as_ref(),
                verification: config.verification,
                common,
                peer_is_server: false,
            };
            Some(judge(library, &ctx, &policy)?)
        };
        let (tickets, store) = resumption(library, config)?;
        let set = Setter { library, ctx: &ctx };
        let verify = match config.client_authentication {
            ClientAuthentication::None => api::VERIFY_NONE,
            ClientAuthentication::Optional => api::VERIFY_PEER,
            ClientAuthentication::Required => api::VERIFY_PEER | api::VERIFY_FAIL_IF_NO_PEER_CERT,
        };
        let has_staples = config
            .identities
            .iter()
            .any(|one| one.ocsp_response.is_some());
        let raw = ctx.as_ptr();
        // SAFETY: the context is ours, and not used yet.
        unsafe {
            library.SSL_CTX_set_verify(raw, verify, nothing());
            library.SSL_CTX_set_session_id_context(raw, c"polytls".as_ptr().cast(), 7);
            if !common.alpn.is_empty() {
                library.SSL_CTX_set_alpn_select_cb(raw, callbacks::select_alpn, nothing());
            }
            if common.cipher_suites.is_some() {
                // An order that was asked for is kept.
                library.SSL_CTX_set_options(raw, api::OP_CIPHER_SERVER_PREFERENCE);
            }
            if has_staples {
                let command = api::CTRL_SET_TLSEXT_STATUS_REQ_CB;
                library.SSL_CTX_callback_ctrl(raw, command, callbacks::staple);
            }
            if store.is_some() {
                library.SSL_CTX_sess_set_new_cb(raw, store::put);
                library.SSL_CTX_sess_set_get_cb(raw, store::get);
                library.SSL_CTX_set_session_ticket_cb(raw, tickets::made, tickets::read, nothing());
                let mode = api::SESS_CACHE_SERVER | api::SESS_CACHE_NO_INTERNAL;
                set.number(api::CTRL_SET_SESS_CACHE_MODE, mode);
                if let Some(tickets) = config.tickets {
                    library.SSL_CTX_set_num_tickets(raw, tickets);
                }
            } else {
                set.number(api::CTRL_SET_SESS_CACHE_MODE, api::SESS_CACHE_OFF);
                library.SSL_CTX_set_num_tickets(raw, 0);
            }
            let lifetime = match &tickets {
                Some(tickets) => {
                    library.SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, tickets::keys);
                    tickets.lifetime.min(A_WEEK)
                }
                None => {
                    library.SSL_CTX_set_options(raw, api::OP_NO_TICKET);
                    A_WEEK
                }
            };
            library.SSL_CTX_set_timeout(raw, c_long::try_from(lifetime).unwrap_or(c_long::MAX));
            if common.early_data && store.is_some() {
                library.SSL_CTX_set_max_early_data(raw, EARLY_DATA);
                // Its own guard is a cache, which is not used: `store` gives each session once.
                library.SSL_CTX_set_options(raw, api::OP_NO_ANTI_REPLAY);
            }
        }
        ech_keys::set(library, &ctx, &config.ech_keys)?;
        library.clean();
        Ok(Self {
            library,
            ctx,
            is_server: true,
            effective: selection.effective,
            identities,
            alpn: common.alpn.clone(),
            clock: Arc::clone(&common.clock),
            judge,
            names_are_checked: false,
            key_log: common.key_log.clone(),
            tracer: common.tracer.clone(),
            counters: Counters::default(),
            last: Last::default(),
            early_data: common.early_data,
            max_fragment: common.max_fragment,
            ech_grease: false,
            decrypts_hello: !config.ech_keys.is_empty(),
            sessions: None,
            tickets,
            store,
        })
    }
}

/// The judge of a context's peers, who holds them to its security level too.
fn judge(library: &'static Scope, ctx: &SslContext, policy: &Policy<'_>) -> Result<Judge, Error> {
    // SAFETY: the context is ours.
    let level = unsafe { library.SSL_CTX_get_security_level(ctx.as_ptr()) };
    let judge = Judge::new(policy, library.crypto()?, SystemTrust::Read)?;
    // SAFETY: the context is ours, and takes the list over.
    unsafe { library.SSL_CTX_set0_CA_list(ctx.as_ptr(), names(library, &judge.hints())) };
    Ok(match Level::new(library, level) {
        Some(level) => judge.with_rule(Arc::new(level)),
        None => judge,
    })
}

/// Resumption on servers: where early data is taken, from a store of this context, which gives each session
/// once; otherwise by tickets under keys of this context only or, if it shares them, of those that ask the
/// same of their clients; and from a store for TLS 1.2 clients without tickets. So no session made under other
/// settings is ever accepted.
fn resumption(
    library: &'static Scope,
    config: &ServerConfig,
) -> Result<(Option<Tickets>, Option<Store>), Error> {
    let Some(capacity) = config.common.sessions else {
        return Ok((None, None));
    };
    let store = Store::new(limit(capacity)?);
    if config.common.early_data {
        return Ok((None, Some(store)));
    }
    let keys = config.ticket_keys.as_ref();
    let keys = keys.map(|keys| Ok::<_, Error>((keys, binding(config, library.crypto()?.sha256)?)));
    let tickets = Tickets::new(library, keys.transpose()?)?;
    Ok((Some(tickets), Some(store)))
}

/// A context that is being made.
struct Setter<'a> {
    library: &'static Scope,
    ctx: &'a SslContext,
}

impl Setter<'_> {
    fn number(&self, command: c_int, number: c_long) -> c_long {
        // SAFETY: the context is ours, and not used yet; these commands take only a number.
        unsafe {
            self.library
                .SSL_CTX_ctrl(self.ctx.as_ptr(), command, number, nothing())
        }
    }

    fn text(&self, command: c_int, text: &CStr) -> c_long {
        let text = text.as_ptr().cast_mut().cast();
        // SAFETY: as above; these take a text, which they copy.
        unsafe {
            self.library
                .SSL_CTX_ctrl(self.ctx.as_ptr(), command, 0, text)
        }
    }

    /// Protocols of 1 to 255 bytes each, as `Capabilities::check` sees to.
    fn offered_alpn(&self, protocols: &[Vec<u8>]) -> Result<(), Error> {
        let mut list = Vec::new();
        for protocol in protocols {
            list.push(u8::try_from(protocol.len()).unwrap_or(0));
            list.extend(protocol);
        }
        let size = list.len().try_into().unwrap_or(u32::MAX);
        // SAFETY: as above; it copies so many bytes. It answers 0 for success.
        let set = unsafe {
            let ctx = self.ctx.as_ptr();
            self.library
                .SSL_CTX_set_alpn_protos(ctx, list.as_ptr(), size)
        };
        if set == 0 {
            Ok(())
        } else {
            Err(self.refused("inner_protocols"))
        }
    }

    /// The error for a list that OpenSSL does not take.
    fn refused(&self, field: &'static str) -> Error {
        let fault = Fault::take(self.library);
        let approval = self.library.approval();
        let message = format!("OpenSSL rejects them: {}{approval}", fault.said());
        Error::configuration(field, message)
    }
}

/// What clients and servers have in common.
fn begin(
    library: &'static Scope,
    selection: &Selection,
    common: &Common,
    identities: &mut Identities,
    is_server: bool,
) -> Result<SslContext, Error> {
    library.clean();
    let raw = library.new_context();
    let ctx = SslContext::new(library, raw).ok_or_else(|| {
        let fault = Fault::take(library);
        Error::Internal(format!("OpenSSL cannot create a context: {}", fault.said()))
    })?;
    let set = Setter { library, ctx: &ctx };
    let versions = &selection.effective.versions;
    let wire = |version: Option<&Version>| version.map_or(0, |version| version.wire().into());
    set.number(api::CTRL_SET_MIN_PROTO_VERSION, wire(versions.first()));
    set.number(api::CTRL_SET_MAX_PROTO_VERSION, wire(versions.last()));
    set.number(
        api::CTRL_MODE,
        api::MODE_RELEASE_BUFFERS
            | api::MODE_ACCEPT_MOVING_WRITE_BUFFER
            | api::MODE_AUTO_RETRY
            | api::MODE_NO_AUTO_CHAIN,
    );
    if common.max_fragment < MAX_FRAGMENT {
        let most = c_long::try_from(common.max_fragment).unwrap_or(c_long::MAX);
        if set.number(api::CTRL_SET_MAX_SEND_FRAGMENT, most) != 1 {
            return Err(set.refused("max_fragment"));
        }
    }
    // As far as `wire` lets it.
    set.number(api::CTRL_SET_READ_AHEAD, 1);
    let is_empty = |list: &CString| list.as_bytes().is_empty();
    // SAFETY: the context is ours, and not used yet; lists are copied, and callbacks have the types asked for.
    unsafe {
        library.SSL_CTX_set_options(raw, api::OP_NO_RENEGOTIATION | api::OP_NO_COMPRESSION);
        if !common.certificate_compression {
            library.SSL_CTX_set_options(raw, api::OP_NO_CERTIFICATE_COMPRESSION);
        }
        let (new, old) = (&selection.tls13_suites, &selection.tls12_suites);
        if library.SSL_CTX_set_ciphersuites(raw, new.as_ptr()) != 1
            || (!is_empty(old) && library.SSL_CTX_set_cipher_list(raw, old.as_ptr()) != 1)
        {
            return Err(set.refused("ciphers"));
        }
        if common.signature_schemes.is_some() {
            // Otherwise the peer's order is followed. That of suites goes with it.
            library.SSL_CTX_set_options(raw, api::OP_CIPHER_SERVER_PREFERENCE);
        }
        library.SSL_CTX_set_cert_verify_callback(raw, callbacks::verify, nothing());
        if !identities.all().is_empty() {
            library.SSL_CTX_set_cert_cb(raw, callbacks::choose, nothing());
        }
        if common.key_log.is_some() {
            library.SSL_CTX_set_keylog_callback(raw, callbacks::log_key);
        }
        // OpenSSL has the last word on each, for instance by the security level.
        for one in identities.all_mut() {
            let (leaf, key, chain) = (one.leaf.as_ptr(), one.key.as_ptr(), one.chain.as_ptr());
            if library.SSL_CTX_use_cert_and_key(raw, leaf, key, chain, 1) != 1 {
                return Err(set.refused("certificate_chain"));
            }
            if common.certificate_compression && is_server && one.ocsp_response.is_none() {
                one.compressed = compression::of_chain(library, &ctx)?;
            }
        }
        library.SSL_CTX_set_msg_callback(raw, Some(callbacks::message));
    }
    if set.text(api::CTRL_SET_GROUPS_LIST, &selection.groups) != 1 {
        return Err(set.refused("groups"));
    }
    // What servers sign by, and what clients do: each is the own list of one side, and what the other asks for.
    for (command, of_server) in [
        (api::CTRL_SET_SIGALGS_LIST, true),
        (api::CTRL_SET_CLIENT_SIGALGS_LIST, false),
    ] {
        let own = of_server == is_server;
        let schemes = selection.schemes(|scheme| !own || identities.may_sign(scheme))?;
        if own && common.signature_schemes.is_some() && !identities.all_sign(selection) {
            return Err(Error::configuration(
                "signature_schemes",
                "a private key of certificate_chain signs with none of these schemes",
            ));
        }
        if !is_empty(&schemes) && set.text(command, &schemes) != 1 {
            return Err(set.refused("ciphers"));
        }
    }
    library.clean();
    Ok(ctx)
}
