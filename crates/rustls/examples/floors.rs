//! What this machine can do without Python and without us, for `make bench` to divide by: raw AEAD,
//! plain copying, and handshakes of rustls by itself.
//!
//! It stays in one process for a whole run, so that the benchmark can ask in every round, on the
//! core of its choice. A request is a line on standard input, the answer a line with the seconds it
//! took:
//!
//! - `aead SIZE COUNT`: seal and open `COUNT` records of `SIZE` bytes with AES-256-GCM, from and to
//!   warm buffers, as TLS 1.3 does (RFC 8446 section 5.2), with nothing around it.
//! - `copy SIZE COUNT`: copy `SIZE` bytes `COUNT` times between warm buffers.
//! - `handshake x25519|default full|resumed COUNT`: handshakes of rustls with itself, both sides on
//!   this thread, TLS_AES_256_GCM_SHA384, ECDSA P-256, certificates verified. Each is checked to
//!   have been what was asked for.
//! - `twice` and one of these: it is done on two threads at once, `COUNT` times on each.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SideData,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TAG: usize = 16;
const HOST: &str = "localhost";

fn main() -> Outcome<()> {
    let authority = Authority::new()?;
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let took = match words.as_slice() {
            ["twice", words @ ..] => twice(&authority, words)?,
            words => once(&authority, words)?,
        };
        writeln!(answers, "{:.9}", took.as_secs_f64())?;
        answers.flush()?;
    }
    Ok(())
}

fn once(authority: &Authority, words: &[&str]) -> Outcome<Duration> {
    match *words {
        ["aead", size, count] => aead(size.parse()?, count.parse()?),
        ["copy", size, count] => Ok(copy(size.parse()?, count.parse()?)),
        ["handshake", groups, kind, count] => authority.pair(groups, kind)?.run(count.parse()?),
        _ => Err(format!("no such request: {words:?}").into()),
    }
}

/// The longer of both times: they begin together.
fn twice(authority: &Authority, words: &[&str]) -> Outcome<Duration> {
    let together = Barrier::new(2);
    let work = || {
        together.wait();
        once(authority, words).map_err(|error| error.to_string())
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(work);
        (work(), other.join())
    });
    let other = other.map_err(|_| "a thread panicked")?;
    Ok(one?.max(other?))
}

/// The nonce of record `number`; the key is used for nothing else.
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn aead(size: usize, count: u64) -> Outcome<Duration> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
    let header = [23, 3, 3, 64, 17];
    let plaintext = vec![1; size];
    let mut sealed = vec![0; size + 1 + TAG];
    let mut opened = vec![0; size + 1];
    let began = Instant::now();
    for number in 0..count {
        let (ciphertext, kind_and_tag) = sealed.split_at_mut(size);
        key.seal_out_of_place_scatter(
            nonce(number),
            Aad::from(header),
            &plaintext,
            ciphertext,
            &[23],
            kind_and_tag,
        )?;
        let (ciphertext, tag) = sealed.split_at(size + 1);
        key.open_separate_gather(
            nonce(number),
            Aad::from(header),
            ciphertext,
            tag,
            &mut opened,
        )?;
        black_box(&opened);
    }
    let took = began.elapsed();
    if opened[..size] != plaintext {
        return Err("what was opened is not what was sealed".into());
    }
    Ok(took)
}

fn copy(size: usize, count: u64) -> Duration {
    let from = vec![1_u8; size];
    let mut to = vec![0_u8; size];
    let began = Instant::now();
    for _ in 0..count {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
    }
    began.elapsed()
}

/// An issuer and a leaf, both ECDSA P-256.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    leaf: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Outcome<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
        Ok(Self { issuer, leaf, key })
    }

    fn pair(&self, groups: &str, kind: &str) -> Outcome<Pair> {
        let mut provider = provider::default_provider();
        provider.cipher_suites = vec![provider::cipher_suite::TLS13_AES_256_GCM_SHA384];
        match groups {
            "x25519" => provider.kx_groups = vec![provider::kx_group::X25519],
            "default" => {}
            _ => return Err(format!("no such groups: {groups:?}").into()),
        }
        let resumed = match kind {
            "full" => false,
            "resumed" => true,
            _ => return Err(format!("no such handshake: {kind:?}").into()),
        };
        let provider = Arc::new(provider);
        let versions = [&rustls::version::TLS13];
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = PrivateKeyDer::try_from(self.key.serialize_der())?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_single_cert(vec![self.leaf.der().clone()], key)?;
        if resumed {
            server.ticketer = provider::Ticketer::new()?;
        } else {
            client.resumption = Resumption::disabled();
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(Pair {
            client: Arc::new(client),
            server: Arc::new(server),
            resumed,
        })
    }
}

/// The two configurations of one kind of handshake.
struct Pair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    resumed: bool,
}

impl Pair {
    fn run(&self, count: u64) -> Outcome<Duration> {
        if self.resumed {
            // The first one fetches tickets.
            self.handshake()?;
        }
        let kind = if self.resumed {
            HandshakeKind::Resumed
        } else {
            HandshakeKind::Full
        };
        let began = Instant::now();
        for _ in 0..count {
            let found = self.handshake()?;
            if found != Some(kind) {
                return Err(format!("a handshake was {found:?}, not {kind:?}").into());
            }
        }
        Ok(began.elapsed())
    }

    fn handshake(&self) -> Outcome<Option<HandshakeKind>> {
        let name = ServerName::try_from(HOST)?;
        let mut client = ClientConnection::new(Arc::clone(&self.client), name)?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut wire = Vec::with_capacity(4096);
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server, &mut wire)?;
            carry(&mut server, &mut client, &mut wire)?;
        }
        Ok(client.handshake_kind())
    }
}

/// Takes what one side has to send to the other.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
    wire: &mut Vec<u8>,
) -> Outcome<()> {
    wire.clear();
    while from.wants_write() {
        from.write_tls(wire)?;
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    Ok(())
}
