//! Tickets that every server with the same secret can open, with no store between them (RFC 5077,
//! RFC 8446 section 4.6.1).
//!
//! ```text
//! root   = HKDF-Extract("polytls session tickets 1", secret)
//! bound  = HKDF-Expand(root, "bound" | binding)        what the server asks of clients (`Binding`)
//! epoch  = the time, divided by the rotation
//! key    = HKDF-Expand(bound, "ticket" | epoch | salt)  one for each ticket
//! ticket = epoch (8) | salt (20) | nonce (12) | AES-256-GCM(key, nonce, aad = epoch | salt,
//!                                                           issued (8) | session)
//! ```
//!
//! Nothing is kept but `bound`, so servers need no more in common than the secret and a clock that is
//! right within [`SKEW`]. Salt and nonce are random: no key seals two tickets, however many servers
//! there are. What does not open, is too old or comes from the future is no ticket: the handshake is
//! then a full one. When a ticket was issued is inside it, so its lifetime is exact whatever the
//! rotation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use polytls_core::Error;
use polytls_core::clock::Clock;
use polytls_core::config::{ServerConfig, TicketKeys};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::judge::sha256;

/// How far the clocks of servers may be apart.
const SKEW: u64 = 60;

const KEY: usize = 32;
const EPOCH: usize = 8;
const SALT: usize = 20;
const NONCE: usize = 12;
const HEADER: usize = EPOCH + SALT;
const ISSUED: usize = 8;

/// What a server asks of its clients, in one hash: a ticket of a server that asks something else does
/// not open here.
pub(crate) struct Binding([u8; 32]);

impl Binding {
    /// For a secret that only one context has: all who have it ask the same.
    pub(crate) const fn of_one_context() -> Self {
        Self([0; 32])
    }

    pub(crate) fn of(config: &ServerConfig) -> Result<Self, Error> {
        polytls_verdict::binding(config, sha256).map(Self)
    }
}

/// Seals and opens the tickets of a fleet.
pub(crate) struct FleetTicketer {
    /// The secret's key, then those of the secrets that are still accepted.
    bound: Vec<Prk>,
    rotation: u64,
    lifetime: u32,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for FleetTicketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetTicketer")
    }
}

/// What random bytes and key derivation cannot fail for, but for a machine that is broken.
fn broken(_: Unspecified) -> Error {
    Error::Internal("ticket keys cannot be derived".to_owned())
}

impl FleetTicketer {
    pub(crate) fn new(
        keys: &TicketKeys,
        binding: &Binding,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let lifetime = u32::try_from(keys.lifetime.as_secs()).unwrap_or(u32::MAX);
        if keys.rotation < Duration::from_secs(1) || keys.lifetime < Duration::from_secs(1) {
            return Err(Error::configuration(
                "ticket_keys",
                "rotation and lifetime must be at least 1 second",
            ));
        }
        let secrets = [Some(&keys.secret), keys.previous.as_ref()];
        let bound = secrets.into_iter().flatten().map(|secret| {
            let root = Salt::new(HKDF_SHA256, b"polytls session tickets 1").extract(secret.bytes());
            let mut bound = Zeroizing::new([0; KEY]);
            root.expand(&[b"bound", &binding.0], HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut *bound))
                .map_err(broken)?;
            Ok(Prk::new_less_safe(HKDF_SHA256, &*bound))
        });
        Ok(Self {
            bound: bound.collect::<Result<_, Error>>()?,
            rotation: keys.rotation.as_secs(),
            lifetime,
            clock,
        })
    }

    fn now(&self) -> Option<u64> {
        self.clock.now().map(|now| now.as_secs())
    }

    fn key(bound: &Prk, header: &[u8]) -> Result<LessSafeKey, Unspecified> {
        let mut key = Zeroizing::new([0; KEY]);
        bound
            .expand(&[b"ticket", header], HKDF_SHA256)?
            .fill(&mut *key)?;
        UnboundKey::new(&AES_256_GCM, &*key).map(LessSafeKey::new)
    }

    fn open(bound: &Prk, ticket: &[u8]) -> Option<Vec<u8>> {
        let (header, rest) = ticket.split_at_checked(HEADER)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let mut opened = sealed.to_vec();
        let key = Self::key(bound, header).ok()?;
        let length = key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(header),
                &mut opened,
            )
            .ok()?
            .len();
        opened.truncate(length);
        Some(opened)
    }
}

impl ProducesTickets for FleetTicketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let mut random = [0; SALT + NONCE];
        rand::fill(&mut random).ok()?;
        let (salt, nonce) = random.split_first_chunk::<SALT>()?;
        let nonce = nonce.first_chunk::<NONCE>()?;
        let mut ticket = [&(now / self.rotation).to_be_bytes()[..], salt].concat();
        let key = Self::key(self.bound.first()?, &ticket).ok()?;
        let mut sealed = [&now.to_be_bytes()[..], plain].concat();
        let aad = Aad::from(&ticket);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed)
            .ok()?;
        ticket.extend(nonce);
        ticket.extend(sealed);
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let opened = self
            .bound
            .iter()
            .find_map(|bound| Self::open(bound, cipher))?;
        let (issued, session) = opened.split_first_chunk::<ISSUED>()?;
        let issued = u64::from_be_bytes(*issued);
        let age = now.saturating_sub(issued);
        (issued <= now.saturating_add(SKEW) && age <= u64::from(self.lifetime))
            .then(|| session.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use polytls_conformance::cost;
    use polytls_core::clock::ManualClock;
    use polytls_core::config::{
        self, ClientAuthentication, Secret, Trust, TrustStore, Verification,
    };
    use polytls_core::pki_types::CertificateDer;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SESSION: &[u8] = b"what rustls wants to know again";

    /// SHA-256 over the items, each part behind its length.
    const RECORDED: [&str; 7] = [
        "50dd58b7556227affcc8a2e97ddcce1f736bf429ee2fb9989f578365f083ce1f",
        "ccac46fbe78a1b79e630c2b79628a98d8ba433c7d9796110758b166ac51b9a07",
        "ed867bb90e7a68215ff5f65990bc839537d376517bd31ed5f319298b779a0634",
        "f0789267b6dd8734aefc9ebb5bfa57a5023e693e1305362918f67484a85fabe4",
        "6a5a603d76a76106a9a471d16f700425228154412e1b2d7cf85e7e32db4edf53",
        "2a190c12538bef88e76db11dd1258c9e7dd23c9e52b759ca008ff6fc030ef62c",
        "809e233a515466bfd61e4daf8bdcf0b996b724e27609ca23ddd3271de6f8f600",
    ];

    fn ders(given: &[&[u8]]) -> Vec<CertificateDer<'static>> {
        let given = given.iter();
        given
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect()
    }

    fn config(asked: ClientAuthentication, trusted: &[&[u8]]) -> ServerConfig {
        ServerConfig {
            common: config::Common::default(),
            identities: Vec::new(),
            client_authentication: asked,
            trust: Some(Trust::given(ders(trusted))),
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: None,
        }
    }

    fn required(trusted: &[&[u8]]) -> ServerConfig {
        config(ClientAuthentication::Required, trusted)
    }

    /// A server with these secrets.
    struct Server {
        ticketer: FleetTicketer,
        clock: Arc<ManualClock>,
    }

    impl Server {
        fn new(secret: u8, previous: Option<u8>, config: &ServerConfig) -> Self {
            let bytes = |byte| Secret::new(vec![byte; 32]);
            let keys = TicketKeys {
                secret: bytes(secret),
                previous: previous.map(bytes),
                rotation: Duration::from_secs(3600),
                lifetime: Duration::from_secs(6 * 3600),
            };
            let clock = Arc::new(ManualClock::new(NOW));
            let binding = Binding::of(config).expect("trust that was given");
            let shown = Arc::clone(&clock) as Arc<dyn Clock>;
            let ticketer = FleetTicketer::new(&keys, &binding, shown).expect("keys");
            Self { ticketer, clock }
        }

        fn at(&self, seconds: i64) -> &Self {
            self.clock.set(NOW.saturating_add_signed(seconds));
            self
        }

        fn gives(&self) -> Vec<u8> {
            self.ticketer.encrypt(SESSION).expect("a ticket")
        }

        fn takes(&self, ticket: &[u8]) -> bool {
            let opened = self.ticketer.decrypt(ticket);
            assert!(opened.is_none() || opened.as_deref() == Some(SESSION));
            opened.is_some()
        }
    }

    fn server(secret: u8, previous: Option<u8>) -> Server {
        Server::new(secret, previous, &required(&[b"root"]))
    }

    #[test]
    fn servers_with_one_secret_open_each_others_tickets_and_no_others() {
        let [one, two, other] = [1, 1, 2].map(|secret| server(secret, None));
        assert!(one.takes(&two.gives()));
        assert!(two.takes(&one.gives()));
        assert!(!one.takes(&other.gives()));
        assert!(!other.takes(&one.gives()));
    }

    #[test]
    fn keys_rotate_and_old_ones_are_accepted_for_the_lifetime_exactly() {
        let server = server(1, None);
        let ticket = server.gives();
        let epochs: std::collections::HashSet<_> = (0..4)
            .map(|hour| server.at(hour * 3600).gives()[..EPOCH].to_vec())
            .collect();
        assert_eq!(epochs.len(), 4);
        for seconds in [0, 3600, 3 * 3600, 6 * 3600] {
            assert!(server.at(seconds).takes(&ticket), "{seconds}");
        }
        assert!(!server.at(6 * 3600 + 1).takes(&ticket));
    }

    #[test]
    fn clocks_may_step_but_not_far_into_the_past() {
        let server = server(1, None);
        let ticket = server.gives();
        for (seconds, taken) in [(-60, true), (-61, false), (-9 * 3600, false), (5, true)] {
            assert_eq!(server.at(seconds).takes(&ticket), taken, "{seconds}");
        }
        // Whatever the clock says, tickets that are given now are good now.
        for seconds in [-3600, 0, 7200, -7200] {
            let server = server.at(seconds);
            assert!(server.takes(&server.gives()));
        }
    }

    #[test]
    fn secrets_are_exchanged_without_a_ticket_lost() {
        let [old, both, new] = [(1, None), (2, Some(1)), (2, None)].map(|(a, b)| server(a, b));
        assert!(both.takes(&old.gives()));
        assert!(both.takes(&new.gives()));
        assert!(new.takes(&both.gives()));
        assert!(!old.takes(&both.gives()));
        assert!(!new.takes(&old.gives()));
    }

    #[test]
    fn a_ticket_is_good_where_the_same_is_asked_of_clients_alone() {
        let configs = [
            config(ClientAuthentication::None, &[]),
            config(ClientAuthentication::Optional, &[b"root"]),
            required(&[b"root"]),
            required(&[b"other root"]),
            required(&[b"root", b"other root"]),
            ServerConfig {
                verification: Verification::Nothing,
                ..required(&[b"root"])
            },
        ];
        let servers = configs.map(|config| Server::new(1, None, &config));
        for (i, giver) in servers.iter().enumerate() {
            for (j, taker) in servers.iter().enumerate() {
                assert_eq!(taker.takes(&giver.gives()), i == j, "{i} {j}");
            }
        }
        let order = [required(&[b"a", b"b"]), required(&[b"b", b"a"])];
        let [one, two] = order.map(|config| Server::new(1, None, &config));
        assert!(one.takes(&two.gives()), "the order of trust means nothing");
    }

    #[test]
    fn a_ticket_is_good_under_the_same_lists_pins_peers_and_extra_anchors_alone() {
        let crls = |lists: &[&[u8]]| {
            let mut config = required(&[b"root"]);
            config.common.crls = lists.iter().map(|list| list.to_vec().into()).collect();
            config
        };
        let trusting = |trust| ServerConfig {
            trust: Some(trust),
            ..required(&[])
        };
        let pinned = |certificates: &[&[u8]], spki_sha256: &[[u8; 32]]| {
            trusting(Trust::Pinned(config::Pins {
                certificates: ders(certificates),
                spki_sha256: spki_sha256.to_vec(),
                any_name: false,
            }))
        };
        let extra = |certificates: &[&[u8]]| {
            trusting(Trust::Store(TrustStore {
                system: true,
                certificates: ders(certificates),
                ..TrustStore::default()
            }))
        };
        let peers = |certificates: &[&[u8]], v1_authorities| {
            trusting(Trust::Store(TrustStore {
                certificates: ders(&[b"root"]),
                peers: ders(certificates),
                v1_authorities,
                ..TrustStore::default()
            }))
        };
        let make = || {
            [
                crls(&[]),
                crls(&[b"list"]),
                crls(&[b"other list"]),
                crls(&[b"list", b"other list"]),
                pinned(&[b"leaf"], &[]),
                pinned(&[b"other leaf"], &[]),
                pinned(&[], &[[1; 32]]),
                pinned(&[], &[[2; 32]]),
                extra(&[]),
                extra(&[b"root"]),
                extra(&[b"other root"]),
                peers(&[b"leaf"], false),
                peers(&[b"other leaf"], false),
                peers(&[b"leaf"], true),
            ]
            .map(|config| Server::new(1, None, &config))
        };
        let (givers, takers) = (make(), make());
        for (i, giver) in givers.iter().enumerate() {
            for (j, taker) in takers.iter().enumerate() {
                assert_eq!(taker.takes(&giver.gives()), i == j, "{i} {j}");
            }
        }
    }

    /// Servers of one fleet may be of several versions: what their keys are bound to stays as it is, byte by
    /// byte. A change here makes each version refuse the other's tickets while both are in use.
    #[test]
    fn what_keys_are_bound_to_is_recorded() {
        let hex = |config: &ServerConfig| {
            let binding = Binding::of(config).unwrap().0;
            binding.map(|byte| format!("{byte:02x}")).concat()
        };
        let mut configs = vec![
            config(ClientAuthentication::None, &[]),
            config(ClientAuthentication::Optional, &[b"root"]),
            required(&[b"root", b"other root"]),
        ];
        for verification in [Verification::AnyName, Verification::Nothing] {
            configs.push(ServerConfig {
                verification,
                ..required(&[b"root"])
            });
        }
        configs.push(ServerConfig {
            trust: Some(Trust::Pinned(config::Pins {
                certificates: ders(&[b"leaf"]),
                spki_sha256: vec![[7; 32]],
                any_name: false,
            })),
            ..required(&[])
        });
        let mut listed = ServerConfig {
            trust: Some(Trust::Store(TrustStore {
                certificates: ders(&[b"root"]),
                peers: ders(&[b"leaf"]),
                v1_authorities: true,
                ..TrustStore::default()
            })),
            ..required(&[])
        };
        listed.common.crls = vec![b"list".to_vec().into()];
        configs.push(listed);
        let found: Vec<String> = configs.iter().map(hex).collect();
        assert_eq!(found, RECORDED);
    }

    #[test]
    fn what_is_garbled_or_cut_is_no_ticket() {
        let server = server(1, Some(2));
        let ticket = server.gives();
        for end in 0..ticket.len() {
            assert!(!server.takes(&ticket[..end]));
        }
        for at in 0..ticket.len() {
            let mut garbled = ticket.clone();
            garbled[at] ^= 1;
            assert!(!server.takes(&garbled));
        }
        assert!(!server.takes(&[&ticket[..], b"more"].concat()));
        assert!(!server.takes(&[0; 1000]));
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_shows_its_session() {
        let server = server(1, None);
        let tickets: Vec<_> = (0..100).map(|_| server.gives()).collect();
        for (index, ticket) in tickets.iter().enumerate() {
            assert!(!tickets[..index].contains(ticket));
            assert!(
                !ticket
                    .windows(SESSION.len())
                    .any(|window| window == SESSION)
            );
        }
        assert_eq!(format!("{:?}", server.ticketer), "FleetTicketer");
    }

    #[test]
    #[ignore = "prints figures of docs/fleets.md, which says how to run it"]
    fn what_a_ticket_costs() {
        let both = server(1, Some(2));
        let [current, previous] = [1, 2].map(|secret| server(secret, None));
        let [own, old] = [&current, &previous].map(Server::gives);
        let header = &own[..HEADER];
        cost("rustls", "the secret's key, once for each context", || {
            server(1, None).ticketer.bound.len() == 1
        });
        cost("rustls", "a ticket's key", || {
            FleetTicketer::key(&both.ticketer.bound[0], header).is_ok()
        });
        cost("rustls", "making a ticket", || both.gives().len() > HEADER);
        cost("rustls", "opening a ticket", || both.takes(&own));
        cost("rustls", "opening a ticket of the previous secret", || {
            both.takes(&old)
        });
    }
}
