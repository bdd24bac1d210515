//! A session without cryptography: the shapes of TLS 1.3 (a handshake of three flights, records,
//! alerts, close_notify, a ticket, key updates), nothing hidden. A key is a number that is added to
//! each byte of data, 0 at first: data that is opened with another key than it was sealed with shows.

use std::time::Duration;

use polytls_core::config::Version;
use polytls_core::{Alert, Error, Facts, Inbound, MAX_FRAGMENT, Outbound, Progress, Session, Sink};

pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;
pub(crate) const ALERT: u8 = 21;

const HELLO: &[u8] = b"hello";
const FINISHED: &[u8] = b"finished";
const TICKET: &[u8] = b"ticket";
/// A key update, without and with a request for another one.
const UPDATE: &[u8] = b"update";
const UPDATE_BOTH: &[u8] = b"update both";

/// Data at which a session panics.
pub(crate) const PANIC: &[u8] = b"please panic";

/// One record.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut record = vec![kind, 3, 3, length[0], length[1]];
    record.extend_from_slice(payload);
    record
}

pub(crate) fn hello() -> Vec<u8> {
    record(HANDSHAKE, HELLO)
}

pub(crate) fn finished() -> Vec<u8> {
    record(HANDSHAKE, FINISHED)
}

pub(crate) fn close_notify() -> Vec<u8> {
    record(ALERT, &[1, 0])
}

pub(crate) fn fatal_alert(alert: Alert) -> Vec<u8> {
    record(ALERT, &[2, alert.0])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// A client that has not begun.
    Nothing,
    Hello,
    Finished,
    Data,
}

#[derive(Debug)]
pub(crate) struct Plain {
    client: bool,
    awaits: Awaits,
    /// The alert by which this server refuses every client at the end of the handshake.
    refuses: Option<Alert>,
    /// How many full records a server's tickets take after the handshake.
    tickets: usize,
    /// How long this side computes over the last message of a handshake.
    thinks: Duration,
    sending: u8,
    receiving: u8,
    update_is_due: bool,
}

impl Plain {
    pub(crate) fn client() -> Self {
        Self {
            client: true,
            awaits: Awaits::Nothing,
            refuses: None,
            tickets: 0,
            thinks: Duration::ZERO,
            sending: 0,
            receiving: 0,
            update_is_due: false,
        }
    }

    pub(crate) fn server() -> Self {
        Self {
            client: false,
            awaits: Awaits::Hello,
            ..Self::client()
        }
    }

    fn update(&mut self, message: &[u8], out: &mut Outbound) {
        put(out, &record(HANDSHAKE, message));
        self.sending = self.sending.wrapping_add(1);
        self.update_is_due = false;
    }

    pub(crate) fn refusing(alert: Alert) -> Self {
        Self {
            refuses: Some(alert),
            ..Self::server()
        }
    }

    pub(crate) fn thinking(thinks: Duration) -> Self {
        Self {
            thinks,
            ..Self::server()
        }
    }

    pub(crate) fn with_tickets(tickets: usize) -> Self {
        Self {
            tickets,
            ..Self::server()
        }
    }

    pub(crate) fn boxed(self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(self))
    }

    fn fail(out: &mut Outbound, alert: Alert, why: &str) -> Error {
        put(out, &fatal_alert(alert));
        Error::PeerMisbehaved(why.to_owned())
    }
}

fn put(out: &mut Outbound, bytes: &[u8]) {
    out.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    out.commit(bytes.len());
}

impl Session for Plain {
    fn is_handshaking(&self) -> bool {
        self.awaits != Awaits::Data
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        if self.awaits == Awaits::Nothing {
            put(out, &hello());
            self.awaits = Awaits::Hello;
            return Ok(Progress::default());
        }
        let records = inbound.bytes_mut();
        let mut received = Progress {
            consumed: records.len(),
            ..Progress::default()
        };
        let (header, payload) = records.split_at_mut(5);
        match (header[0], self.awaits) {
            (ALERT, _) if payload[1] == 0 => received.peer_closed = true,
            (ALERT, _) => return Err(Error::AlertReceived(Alert(payload[1]))),
            (HANDSHAKE, Awaits::Hello) if payload == HELLO && self.client => {
                put(out, &finished());
                self.awaits = Awaits::Data;
            }
            (HANDSHAKE, Awaits::Hello) if payload == HELLO => {
                put(out, &hello());
                self.awaits = Awaits::Finished;
            }
            (HANDSHAKE, Awaits::Finished) if payload == FINISHED => {
                std::thread::sleep(self.thinks);
                if let Some(alert) = self.refuses {
                    return Err(Self::fail(out, alert, "refused"));
                }
                put(out, &record(HANDSHAKE, TICKET));
                let long = TICKET.repeat(MAX_FRAGMENT / TICKET.len());
                for _ in 0..self.tickets {
                    put(out, &record(HANDSHAKE, &long));
                }
                self.awaits = Awaits::Data;
            }
            (HANDSHAKE, Awaits::Data) if payload.starts_with(TICKET) => {}
            (HANDSHAKE, Awaits::Data) if payload == UPDATE || payload == UPDATE_BOTH => {
                self.receiving = self.receiving.wrapping_add(1);
                self.update_is_due |= payload == UPDATE_BOTH;
            }
            (DATA, Awaits::Data) => {
                assert_ne!(payload, PANIC, "as asked for");
                for byte in &mut *payload {
                    *byte = byte.wrapping_sub(self.receiving);
                }
                plaintext.put(payload);
            }
            _ => return Err(Self::fail(out, Alert(10), "unexpected message")),
        }
        Ok(received)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        if self.update_is_due {
            self.update(UPDATE, out);
        }
        for fragment in plaintext.chunks(MAX_FRAGMENT) {
            let sealed: Vec<u8> = fragment
                .iter()
                .map(|byte| byte.wrapping_add(self.sending))
                .collect();
            put(out, &record(DATA, &sealed));
        }
        Ok(())
    }

    fn update_keys(&mut self, out: &mut Outbound) -> Result<(), Error> {
        self.update(UPDATE_BOTH, out);
        Ok(())
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        put(out, &close_notify());
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, _: &[u8], out: &mut Outbound) -> Result<(), Error> {
        put(out, &fatal_alert(alert));
        Ok(())
    }

    fn version(&self) -> Option<Version> {
        Some(Version::Tls13)
    }

    fn facts(&self) -> Facts {
        Facts {
            version: 0x0304,
            ..Facts::default()
        }
    }
}
