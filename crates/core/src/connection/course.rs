//! What the records of a handshake tell by themselves, whatever library does it: its size, its round trips, and
//! what is readable of its messages. A library that shows what was encrypted adds that.

use super::Role;
use crate::facts::Course;
use crate::messages::{Content, Message, Messages};
use crate::record::{HEADER, records};
use crate::session::Shown;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A handshake under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    course: Course,
    /// What the server has selected; `None`: it has not.
    is_tls13: Option<bool>,
    ours: Direction,
    theirs: Direction,
    /// Whether a flight begins with what goes the other way: on a client with what is received, on a server
    /// with what is sent.
    turned: bool,
    /// The next record was seen before.
    is_repeated: bool,
    /// The messages that were not told yet, and whether they are ours; `None`: nobody is told.
    pub(super) untold: Option<Vec<Shown>>,
}

/// One direction, as long as it is readable.
#[derive(Debug, Default)]
struct Direction {
    messages: Messages,
    is_encrypted: bool,
}

impl UnderWay {
    /// A record has come.
    pub(super) fn received(&mut self, role: Role, record: &[u8]) {
        if std::mem::take(&mut self.is_repeated) {
            return;
        }
        self.course.received += record.len() as u64;
        if record.first().is_some_and(is_of_flight) {
            match role {
                Role::Client => self.turn(),
                Role::Server => self.turned = true,
            }
        }
        self.read(role, false, record);
    }

    /// The record is to be shown again.
    pub(super) const fn repeats(&mut self) {
        self.is_repeated = true;
    }

    /// A call of the session has put `flight` behind what is to be sent. `is_done`: with that call the
    /// handshake was complete.
    pub(super) fn sent(&mut self, role: Role, flight: &[u8], is_done: bool) {
        if is_done && role == Role::Server && self.is_tls13 == Some(true) {
            return; // Tickets, which are encrypted.
        }
        self.course.sent += flight.len() as u64;
        if records(flight).any(|record| is_of_flight(&record[0])) {
            match role {
                Role::Client => self.turned = true,
                Role::Server => self.turn(),
            }
        }
        for record in records(flight) {
            self.read(role, true, record);
        }
    }

    /// The library has shown a message that was encrypted.
    pub(super) fn shown(&mut self, role: Role, shown: &Shown) {
        self.note(role, shown.is_ours, &shown.message);
    }

    /// What it came to.
    pub(super) const fn course(&self) -> Course {
        self.course
    }

    /// The server's flight begins, if the client's came before.
    fn turn(&mut self) {
        if std::mem::take(&mut self.turned) {
            self.course.round_trips += 1;
        }
    }

    /// Reads a record, as far as it is not encrypted.
    fn read(&mut self, role: Role, is_ours: bool, record: &[u8]) {
        let selected = self.is_tls13;
        let direction = if is_ours {
            &mut self.ours
        } else {
            &mut self.theirs
        };
        match record.first() {
            // In TLS 1.3 it means nothing (RFC 8446 appendix D.4).
            Some(&CHANGE_CIPHER_SPEC) => direction.is_encrypted |= selected == Some(false),
            Some(&HANDSHAKE) if !direction.is_encrypted => {
                let mut messages = std::mem::take(&mut direction.messages);
                let content = record.get(HEADER..).unwrap_or_default();
                messages.take(content, |message| self.note(role, is_ours, &message));
                let direction = if is_ours {
                    &mut self.ours
                } else {
                    &mut self.theirs
                };
                direction.messages = messages;
            }
            _ => {}
        }
    }

    fn note(&mut self, role: Role, is_ours: bool, message: &Message) {
        if let Some(untold) = &mut self.untold {
            let message = message.clone();
            untold.push(Shown { is_ours, message });
        }
        let of_server = is_ours == (role == Role::Server);
        match (&message.content, of_server) {
            (Content::ClientHello(offers), false) => {
                // With a second one early data is over (RFC 8446 section 4.2.10).
                self.course.offered.get_or_insert(*offers);
            }
            (Content::ServerHello { is_tls13, is_retry }, true) => {
                self.is_tls13 = Some(*is_tls13);
                self.course.retried |= is_retry;
            }
            (Content::Signature(scheme), true) => self.course.server_scheme = Some(*scheme),
            (Content::Signature(scheme), false) => self.course.client_scheme = Some(*scheme),
            (Content::Compression(algorithm), true) => {
                self.course.server_compression = Some(*algorithm);
            }
            (Content::Compression(algorithm), false) => {
                self.course.client_compression = Some(*algorithm);
            }
            _ => {}
        }
    }
}

/// Whether a record of this type is part of a flight: not ChangeCipherSpec, which may stand alone.
const fn is_of_flight(kind: &u8) -> bool {
    matches!(*kind, HANDSHAKE | APPLICATION_DATA)
}
