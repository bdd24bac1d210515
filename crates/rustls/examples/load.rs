//! A load of TLS connections for the servers of `benches/fleet`: rustls alone, many clients at a time.
//!
//! `load PORT AUTHORITY HOST full|resumed CLIENTS CONNECTIONS` connects to PORT on loopback until CONNECTIONS
//! connections were made and standard input has ended. AUTHORITY is a PEM file. Each client is a thread. It connects,
//! does a handshake of TLS 1.3 (X25519, TLS_AES_256_GCM_SHA384, certificates verified), sends a request of HTTP, reads
//! the response until the server's close_notify, and begins again. The body of a response is the number of the process
//! that has sent it.
//!
//! With `resumed`, each client offers its newest ticket, once; a connection that is not counted fetches its first. With
//! `full`, no client keeps any.
//!
//! It prints a line for each of these: `seconds`; `full` and `resumed`, how many handshakes of each kind there were;
//! `elsewhere`, how many of the resumed were at another process than the one whose ticket it was; `failed`; `process
//! NUMBER COUNT` for each process; and `failure REASON`, the first, if there was one.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, Stream};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What one call of a socket may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [port, authority, host, kind, clients, connections] = *words.as_slice() else {
        return Err("load PORT AUTHORITY HOST full|resumed CLIENTS CONNECTIONS".into());
    };
    let resumes = match kind {
        "full" => false,
        "resumed" => true,
        _ => return Err(format!("no such handshake: {kind:?}").into()),
    };
    let (port, host) = (port.parse()?, ServerName::try_from(host.to_owned())?);
    let mut clients = (0..clients.parse()?)
        .map(|_| Client::new(port, authority, host.clone(), resumes))
        .collect::<Outcome<Vec<_>>>()?;
    let plan = Plan {
        left: AtomicU64::new(connections.parse()?),
        told_to_end: AtomicBool::new(false),
        begin: Barrier::new(clients.len() + 1),
    };
    let seconds = thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.run(&plan)))
            .collect();
        scope.spawn(|| {
            // Whatever comes, an error too, is the end.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            plan.told_to_end.store(true, Relaxed);
        });
        plan.begin.wait();
        let began = Instant::now();
        for client in running {
            client.join().map_err(|_| "a thread panicked")?;
        }
        Outcome::Ok(began.elapsed().as_secs_f64())
    })?;
    let mut tally = Tally::default();
    for client in clients {
        tally.add(client.tally);
    }
    tally.print(seconds)
}

/// What all clients have in common.
struct Plan {
    left: AtomicU64,
    told_to_end: AtomicBool,
    begin: Barrier,
}

impl Plan {
    /// Whether there is another connection to make.
    fn another(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Relaxed, Relaxed, take).is_ok() || !self.told_to_end.load(Relaxed)
    }
}

/// What was found.
#[derive(Default)]
struct Tally {
    full: u64,
    resumed: u64,
    elsewhere: u64,
    failed: u64,
    failure: Option<String>,
    processes: BTreeMap<u32, u64>,
}

impl Tally {
    fn count(&mut self, outcome: Outcome<Connected>) {
        match outcome {
            Ok(connected) => {
                *self.processes.entry(connected.process).or_default() += 1;
                if connected.resumed {
                    self.resumed += 1;
                    self.elsewhere += u64::from(connected.offered != Some(connected.process));
                } else {
                    self.full += 1;
                }
            }
            Err(error) => {
                self.failed += 1;
                self.failure.get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.full += other.full;
        self.resumed += other.resumed;
        self.elsewhere += other.elsewhere;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        for (process, count) in other.processes {
            *self.processes.entry(process).or_default() += count;
        }
    }

    fn print(&self, seconds: f64) -> Outcome<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "seconds {seconds:.6}")?;
        writeln!(out, "full {}\nresumed {}", self.full, self.resumed)?;
        writeln!(out, "elsewhere {}\nfailed {}", self.elsewhere, self.failed)?;
        for (process, count) in &self.processes {
            writeln!(out, "process {process} {count}")?;
        }
        if let Some(failure) = &self.failure {
            writeln!(out, "failure {}", failure.replace('\n', " "))?;
        }
        Ok(())
    }
}

/// One connection that came to its end.
struct Connected {
    /// The process that has answered.
    process: u32,
    resumed: bool,
    /// The process whose ticket was offered.
    offered: Option<u32>,
}

/// One client, with a store of its own.
struct Client {
    port: u16,
    host: ServerName<'static>,
    config: Arc<ClientConfig>,
    /// Where the configuration keeps tickets; `None` if it keeps none.
    newest: Option<Arc<Newest>>,
    tally: Tally,
}

impl Client {
    fn new(port: u16, authority: &str, host: ServerName<'static>, resumes: bool) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let mut provider = provider::default_provider();
        provider.cipher_suites = vec![provider::cipher_suite::TLS13_AES_256_GCM_SHA384];
        provider.kx_groups = vec![provider::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let newest = resumes.then(Arc::<Newest>::default);
        config.resumption = match &newest {
            Some(newest) => Resumption::store(Arc::clone(newest) as _),
            None => Resumption::disabled(),
        };
        Ok(Self {
            port,
            host,
            config: Arc::new(config),
            newest,
            tally: Tally::default(),
        })
    }

    fn run(&mut self, plan: &Plan) {
        if self.newest.is_some()
            && let Err(error) = self.connect()
        {
            self.tally.count(Err(error));
        }
        plan.begin.wait();
        while plan.another() {
            let outcome = self.connect();
            self.tally.count(outcome);
        }
    }

    fn connect(&self) -> Outcome<Connected> {
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.host.clone())?;
        let mut response = String::new();
        let mut stream = Stream::new(&mut tls, &mut tcp);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut response)?;
        let body = response.rsplit("\r\n\r\n").next().unwrap_or_default();
        if !response.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the response is {response:?}").into());
        }
        let process = body.trim_end().parse()?;
        Ok(Connected {
            process,
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            offered: self.newest.as_ref().and_then(|it| it.answered_by(process)),
        })
    }
}

/// A client's newest ticket: its connections follow one another.
#[derive(Debug, Default)]
struct Newest(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    ticket: Option<Tls13ClientSessionValue>,
    /// The process whose ticket it is: that of the last connection.
    of: Option<u32>,
    /// The process whose ticket was offered on this connection.
    offered: Option<u32>,
}

impl Newest {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has ended: what it has received is of this process. Returns whose ticket it had offered.
    fn answered_by(&self, process: u32) -> Option<u32> {
        let mut held = self.held();
        if held.ticket.is_some() {
            held.of = Some(process);
        }
        held.offered.take()
    }
}

impl ClientSessionStore for Newest {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.held().ticket = Some(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut held = self.held();
        let ticket = held.ticket.take();
        held.offered = held.of.take();
        ticket
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}
