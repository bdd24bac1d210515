//! Handshakes whose flights are edited on their way, as arbitrary bytes say. Whoever includes this has the
//! function `backend` beside it.

use std::sync::{Arc, LazyLock};

use polytls_conformance::{HOST, Input, Pair};
use polytls_core::clock::ManualClock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, ServerConfig, Trust, Verification, Version,
};
use polytls_core::{Backend as _, ClientEngine, Error, HostName, Parameters, Role, ServerEngine};

use super::backend;
use super::credentials::{CREDENTIALS, NOW};

#[cfg(test)]
mod tests;

type Engines = (Arc<dyn ClientEngine>, Arc<dyn ServerEngine>);

/// With TLS 1.2, TLS 1.3 and both, each with servers that ask for certificates and others.
static ENGINES: LazyLock<Vec<Engines>> = LazyLock::new(|| {
    let versions = [
        vec![Version::Tls12],
        vec![Version::Tls13],
        vec![Version::Tls12, Version::Tls13],
    ];
    versions
        .into_iter()
        .flat_map(|versions| [engines(&versions, false), engines(&versions, true)])
        .collect()
});

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Of a record, and of a handshake message.
const HEADERS: (usize, usize) = (5, 4);

fn engines(versions: &[Version], asks: bool) -> Engines {
    let common = Common {
        versions: versions.to_vec(),
        clock: Arc::new(ManualClock::new(NOW)),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        ..Common::default()
    };
    let trust = Trust::given(vec![CREDENTIALS.root.clone()]);
    let client = backend().client(&ClientConfig {
        common: common.clone(),
        identities: vec![CREDENTIALS.client.clone()],
        trust: trust.clone(),
        verification: Verification::Full,
        ech_grease: false,
    });
    let server = backend().server(&ServerConfig {
        common,
        identities: vec![CREDENTIALS.server.clone()],
        client_authentication: if asks {
            ClientAuthentication::Required
        } else {
            ClientAuthentication::None
        },
        trust: asks.then_some(trust),
        verification: Verification::Full,
        ticket_keys: None,
        ech_keys: Vec::new(),
        tickets: None,
    });
    (client.expect("a client"), server.expect("a server"))
}

fn pair((client, server): &Engines) -> Pair {
    let parameters = Parameters {
        host: Some(HostName::parse(HOST).expect("a host name")),
        ..Parameters::default()
    };
    Pair::new(
        client.session(&parameters).expect("a client session"),
        server.session().expect("a server session"),
    )
}

/// Does what `input` says, and checks the contract: both sides complete the handshake or say whose fault it
/// is, and go on saying so; nothing panics and nothing goes on without end; who finds a fault tells the peer,
/// by an alert that is the last it sends. Returns whether both sides completed it.
pub(crate) fn operate(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let how = usize::from(input.byte().unwrap_or(0));
    let engines = &ENGINES[how % ENGINES.len()];
    if how & 0x80 != 0 {
        // The handshake that is edited resumes this one's session.
        let mut first = pair(engines).connected();
        first
            .read_all(Role::Client)
            .expect("session tickets, and no data");
    }
    let mut pair = pair(engines);
    // The type of the last record that each has sent.
    let mut last = [None, None];
    let mut left = input.byte().unwrap_or(0) % 4;
    let outcome = pair.handshake_through(&mut |from, mut flight| {
        last[from as usize] = types(&flight).last().copied();
        while left > 0 {
            left -= 1;
            let edited = match input.byte() {
                // The next flight is edited.
                Some(kind) if kind % 4 == 0 => break,
                Some(kind) if kind % 4 == 1 => input.edit(&mut flight),
                Some(_) => edit_message(&mut flight, &mut input),
                None => None,
            };
            if edited.is_none() {
                left = 0;
            }
        }
        flight
    });
    let mut is_complete = true;
    for (role, verdict) in [
        (Role::Client, outcome.client),
        (Role::Server, outcome.server),
    ] {
        is_complete &= verdict.is_ok();
        match verdict {
            Ok(()) | Err(Error::WantRead) => {}
            Err(
                error @ (Error::PeerMisbehaved(_)
                | Error::PeerIncompatible(_)
                | Error::Certificate(_)
                | Error::NotTls(_)
                | Error::AlertReceived(_)),
            ) => {
                assert_eq!(
                    pair.side(role).do_handshake(),
                    Err(error.clone()),
                    "it is latched"
                );
                if matches!(
                    error,
                    Error::PeerMisbehaved(_) | Error::PeerIncompatible(_) | Error::Certificate(_)
                ) {
                    assert!(
                        matches!(last[role as usize], Some(ALERT | APPLICATION_DATA)),
                        "{role:?} says {error:?} to its caller, and its peer hears nothing: {last:?}"
                    );
                }
            }
            Err(error) => panic!("{role:?} says {error:?} of what its peer has done"),
        }
    }
    is_complete
}

/// The types of the records of a flight.
fn types(mut flight: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = flight {
        types.push(*kind);
        flight = &rest[usize::from(u16::from_be_bytes([*high, *low])).min(rest.len())..];
    }
    types
}

/// Edits what is inside the first record, and mends its length; that of the message too, if it is a handshake
/// message that fills the record.
fn edit_message(flight: &mut Vec<u8>, input: &mut Input<'_>) -> Option<()> {
    let (record, message) = HEADERS;
    let [kind, _, _, high, low, ..] = **flight else {
        return input.edit(flight);
    };
    let end = record + usize::from(u16::from_be_bytes([high, low]));
    if end > flight.len() {
        return input.edit(flight);
    }
    let behind = flight.split_off(end);
    let mut content = flight.split_off(record);
    let is_message = kind == HANDSHAKE
        && content.len() > message
        && content[1..message] == u24(content.len() - message);
    if is_message {
        let mut body = content.split_off(message);
        input.edit(&mut body)?;
        content[1..].copy_from_slice(&u24(body.len()));
        content.extend(body);
    } else {
        input.edit(&mut content)?;
    }
    flight[3..].copy_from_slice(&u24(content.len())[1..]);
    flight.extend(content);
    flight.extend(behind);
    Some(())
}

fn u24(length: usize) -> [u8; 3] {
    let [.., high, middle, low] = length.to_be_bytes();
    [high, middle, low]
}
