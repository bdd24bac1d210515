//! What a peer with the right keys may do, and anyone else on the way, read from arbitrary bytes.

use polytls_conformance::Input;
use polytls_core::{Error, INCOMING_LIMIT, Refused, Room};
use polytls_records::Cipher;

use super::{CIPHERS, DATA, FULL, HANDSHAKE, Scene};

/// The most of an incomplete handshake message that is kept: header and body, but for a byte.
const KEPT: usize = 4 + 0xffff - 1;
/// What reading may send: an alert.
const UNASKED: usize = 24;
/// What writing may send before data: an update of ours, or the answer to a request, and alerts of
/// what was received meanwhile.
const BEFORE_DATA: usize = 2 * 27 + UNASKED;

struct Run {
    scene: Scene,
    /// The data of all records sealed so far: what comes out is the front of it.
    sealed: Vec<u8>,
    read: usize,
    closed: bool,
    failure: Option<Error>,
    /// Calls of either direction so far: the ways to take in, to read and to write take turns.
    turn: usize,
}

/// Does what `input` says, and checks the contract: every input is either opened or gives
/// `PeerMisbehaved` or `AlertReceived`; nothing panics; nothing but data that was sealed is
/// delivered; at most one incomplete message is kept, of at most 64 KiB.
pub(crate) fn operate(input: &[u8]) {
    let mut input = Input::new(input);
    let Some(first) = input.byte() else {
        return;
    };
    let cipher: Cipher = CIPHERS[usize::from(first >> 1) % 3];
    let mut run = Run {
        scene: Scene::new(cipher, first & 1 == 1),
        sealed: Vec::new(),
        read: 0,
        closed: false,
        failure: None,
        turn: 0,
    };
    // Garbage at the very front of a connection is judged before it comes to the record layer.
    let record = run.seal(DATA, b"first", 0);
    run.give(&record);
    while run.step(&mut input).is_some() {
        run.check();
    }
    run.read(usize::MAX);
    run.check();
}

impl Run {
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        match input.byte()? % 12 {
            // Short content of any type.
            0 | 1 => {
                let kind = input.byte()?;
                let padding = usize::from(input.byte()?);
                let content = input.bytes()?;
                let record = self.seal(kind, content, padding);
                self.give(&record);
            }
            // Handshake messages, in pieces.
            2 => {
                let content = input.bytes()?;
                let record = self.seal(HANDSHAKE, content, 0);
                self.give(&record);
            }
            // Long content, which may be too long.
            3 => {
                let kind = [DATA, HANDSHAKE][usize::from(input.byte()? & 1)];
                let content = vec![input.byte()?; input.number()? % (FULL + 300)];
                let padding = input.number()? % 300;
                let record = self.seal(kind, &content, padding);
                self.give(&record);
            }
            // Nothing but padding, or nothing at all.
            4 => {
                let inner = vec![0; input.number()? % (FULL + 300)];
                let record = self.seal_inner(DATA, &inner);
                self.give(&record);
            }
            // The wrong type outside.
            5 => {
                let outer = input.byte()?;
                let content = input.bytes()?;
                let record = self.seal_inner(outer, &[content, &[DATA][..]].concat());
                self.give(&record);
            }
            // One bit changed on the way.
            6 => {
                let content = input.bytes()?;
                let bit = input.number()?;
                let mut record = self.scene.peer.record(DATA, content);
                let at = bit / 8 % record.len();
                record[at] ^= 1 << (bit % 8);
                self.give(&record);
            }
            // Anything at all.
            7 => {
                let garbage = input.bytes()?;
                self.give(garbage);
            }
            8 => {
                let asks = input.byte()? & 1 == 1;
                let record = self.scene.peer.key_update(asks);
                self.give(&record);
            }
            9 => {
                let size = input.number()?;
                self.read(size);
            }
            10 => {
                let length = input.number()?;
                self.write(length);
            }
            _ => match input.byte()? % 8 {
                0 => {
                    let before = self.scene.ours.outgoing_len();
                    let closed = self.scene.ours.send_close_notify();
                    self.note(closed);
                    if self.failure.is_none() {
                        self.closed = true;
                        assert!(self.scene.ours.outgoing_len() <= before + UNASKED);
                    }
                }
                1 => self.scene.library().update_first = Some(true),
                2 => self.scene.library().update_first = Some(false),
                _ => {
                    let mut left = vec![0; self.scene.ours.outgoing_len()];
                    self.scene.ours.drain_into(&mut left);
                }
            },
        }
        Some(())
    }

    fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        self.seal_inner(DATA, &[content, &[kind], &vec![0; padding]].concat())
    }

    fn seal_inner(&mut self, outer: u8, inner: &[u8]) -> Vec<u8> {
        // A type of 0 is padding, and the content has a type of its own at its end.
        let end = inner.iter().rposition(|byte| *byte != 0);
        if outer == DATA
            && let Some(end) = end.filter(|end| inner[*end] == DATA)
        {
            self.sealed.extend_from_slice(&inner[..end]);
        }
        self.scene.peer.any(outer, inner)
    }

    fn give(&mut self, stream: &[u8]) {
        if stream.is_empty() {
            return;
        }
        self.turn += 1;
        if self.turn.is_multiple_of(3) && self.scene.ours.incoming_len() < INCOMING_LIMIT {
            return self.receive(stream);
        }
        if self.take_in(stream) == Err(Refused::Full) {
            self.read(usize::MAX);
            // After a failure or a close nothing makes room any more; what is lost is lost.
            let _ = self.take_in(stream);
        }
    }

    fn take_in(&mut self, stream: &[u8]) -> Result<(), Refused> {
        if self.turn % 3 == 1 {
            self.scene.ours.keep_incoming(Box::new(stream.to_vec()))
        } else {
            self.scene.ours.process_incoming(stream)
        }
    }

    /// Takes in and reads at once, into room that just fits some record, or does not.
    fn receive(&mut self, stream: &[u8]) {
        let mut buffer = vec![0xee; stream.len().saturating_sub(self.turn % 40)];
        let before = self.scene.ours.outgoing_len();
        let room = if self.turn.is_multiple_of(2) {
            Room::with_scratch(&mut buffer)
        } else {
            Room::new(&mut buffer)
        };
        let result = self.scene.ours.receive(Some(stream), room);
        assert!(self.scene.ours.outgoing_len() <= before + UNASKED);
        match result {
            Ok(count) => self.arrived(&buffer[..count.unwrap_or(0)]),
            Err(error) => self.note(Err(error)),
        }
    }

    fn arrived(&mut self, data: &[u8]) {
        let expected = self.sealed.get(self.read..self.read + data.len());
        assert_eq!(expected, Some(data), "data that nobody sealed");
        self.read += data.len();
    }

    fn read(&mut self, size: usize) {
        let everything = size == usize::MAX;
        let mut buffer = vec![0xee; size.min(40_000)];
        loop {
            let before = self.scene.ours.outgoing_len();
            let result = self.scene.ours.read(&mut buffer);
            assert!(self.scene.ours.outgoing_len() <= before + UNASKED);
            match result {
                Ok(0) => return,
                Ok(count) => {
                    self.arrived(&buffer[..count]);
                }
                Err(Error::WantRead) => return,
                Err(error) => return self.note(Err(error)),
            }
            if !everything {
                return;
            }
        }
    }

    fn write(&mut self, length: usize) {
        let before = self.scene.ours.outgoing_len();
        match self.seal_somewhere(&vec![7; length]) {
            Ok(taken) => {
                let records = taken.div_ceil(FULL);
                let after = self.scene.ours.outgoing_len();
                assert!(after <= before + taken + 22 * records + BEFORE_DATA);
            }
            Err(Error::WantWrite) => {}
            Err(Error::Misuse(_)) if self.closed => {}
            Err(error) => self.note(Err(error)),
        }
    }

    fn seal_somewhere(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.turn += 1;
        let ours = &mut self.scene.ours;
        if self.turn.is_multiple_of(2)
            && let Some((taken, length)) = ours.memory_to_write(data.len())?
        {
            let memory = Box::new(vec![0; length]);
            assert_eq!(ours.write_to(&data[..taken], memory), Ok(true));
            return Ok(taken);
        }
        ours.write(data)
    }

    fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            assert!(
                matches!(error, Error::PeerMisbehaved(_) | Error::AlertReceived(_)),
                "{error:?}"
            );
            let first = self.failure.get_or_insert_with(|| error.clone());
            assert_eq!(*first, error, "a fatal error is given again");
        }
    }

    fn check(&self) {
        let kept = self.scene.library().kept;
        assert!(kept <= KEPT, "{kept} bytes of one message are kept");
        assert!(self.scene.ours.pending() <= FULL);
    }
}
