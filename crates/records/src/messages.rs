//! Handshake messages after the handshake, put together from the records they come in.

use crate::fault::Fault;

/// Length of a handshake message's header (RFC 8446 section 4).
const HEADER: usize = 4;
/// The longest ticket that is put together, with all that goes with it: as in rustls.
const LONGEST_TICKET: usize = 0xffff;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// A message that came after the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// New receiving keys from the next record on; `true`: and new sending keys are asked for.
    KeyUpdate(bool),
    /// The body of a NewSessionTicket.
    Ticket(Vec<u8>),
}

/// What has come of a message that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    partial: Vec<u8>,
    /// Tickets are for clients.
    takes_tickets: bool,
}

impl Messages {
    pub(crate) const fn new(takes_tickets: bool) -> Self {
        Self {
            partial: Vec::new(),
            takes_tickets,
        }
    }

    /// Whether a message has begun: only handshake records may come until it is complete.
    pub(crate) const fn is_incomplete(&self) -> bool {
        !self.partial.is_empty()
    }

    /// How much of it is there.
    pub(crate) const fn len(&self) -> usize {
        self.partial.len()
    }

    /// Takes the content of one handshake record; gives the messages that it completes.
    pub(crate) fn take(&mut self, content: &[u8]) -> Result<Vec<Message>, Fault> {
        // Put back if all is well: nothing is kept of what is refused.
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(content);
        let mut complete = Vec::new();
        let mut rest = partial.as_slice();
        while let Some((&[kind, a, b, c], body)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            self.judge(kind, length)?;
            let Some((body, behind)) = body.split_at_checked(length) else {
                break;
            };
            let message = parse(kind, body)?;
            // Keys change between records, so nothing may follow (RFC 8446 section 5.1).
            if matches!(message, Message::KeyUpdate(_)) && !behind.is_empty() {
                return Err(Fault::DATA_BEHIND_KEY_UPDATE);
            }
            complete.push(message);
            rest = behind;
        }
        if !rest.is_empty() {
            let taken = partial.len() - rest.len();
            partial.drain(..taken);
            self.partial = partial;
        }
        Ok(complete)
    }

    /// Judges a message by its header, so that nothing is kept of what will be refused.
    const fn judge(&self, kind: u8, length: usize) -> Result<(), Fault> {
        match (kind, length) {
            (KEY_UPDATE, 1) => Ok(()),
            (KEY_UPDATE, _) => Err(Fault::MALFORMED_KEY_UPDATE),
            (NEW_SESSION_TICKET, ..=LONGEST_TICKET) if self.takes_tickets => Ok(()),
            (NEW_SESSION_TICKET, _) if self.takes_tickets => Err(Fault::MESSAGE_TOO_LONG),
            _ => Err(Fault::UNEXPECTED_MESSAGE),
        }
    }
}

/// What a whole message that was judged says.
fn parse(kind: u8, body: &[u8]) -> Result<Message, Fault> {
    match (kind, body) {
        (KEY_UPDATE, [0]) => Ok(Message::KeyUpdate(false)),
        (KEY_UPDATE, [1]) => Ok(Message::KeyUpdate(true)),
        (KEY_UPDATE, _) => Err(Fault::BAD_KEY_UPDATE),
        _ => Ok(Message::Ticket(body.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 5] = [24, 0, 0, 1, 1];

    #[test]
    fn a_message_in_pieces_is_put_together() {
        let ticket = [&[4, 0, 0, 3][..], b"abc"].concat();
        let stream = [&ticket[..], &ticket, &REQUEST].concat();
        for piece in 1..stream.len() {
            let mut messages = Messages::new(true);
            let mut found = Vec::new();
            for part in stream.chunks(piece) {
                // A key update that shares its record is complete only at the record's end.
                found.extend(messages.take(part).unwrap());
            }
            let ticket = || Message::Ticket(b"abc".to_vec());
            assert_eq!(found, [ticket(), ticket(), Message::KeyUpdate(true)]);
            assert!(!messages.is_incomplete());
        }
    }

    #[test]
    fn what_may_not_come_is_refused() {
        for (takes_tickets, content, fault) in [
            (false, &[4, 0, 0, 0][..], Fault::UNEXPECTED_MESSAGE),
            (true, &[13, 0, 0, 0], Fault::UNEXPECTED_MESSAGE),
            (true, &[1, 0, 0, 0], Fault::UNEXPECTED_MESSAGE),
            (true, &[24, 0, 0, 1, 2], Fault::BAD_KEY_UPDATE),
            (true, &[24, 0, 0, 0], Fault::MALFORMED_KEY_UPDATE),
            (true, &[24, 0, 0, 2, 0, 0], Fault::MALFORMED_KEY_UPDATE),
            (true, &[24, 0, 0, 1, 0, 24], Fault::DATA_BEHIND_KEY_UPDATE),
            (true, &[4, 0xff, 0, 0], Fault::MESSAGE_TOO_LONG),
        ] {
            assert_eq!(Messages::new(takes_tickets).take(content), Err(fault));
        }
    }
}
