//! Two connections tied together in memory, and the wire between them.
//!
//! 1. Nothing moves unasked: [`Pair::handshake`] and [`Pair::exchange`] carry bytes until nothing
//!    is left to be carried; [`Pair::take`] and [`Pair::give`] are for cases that hold the bytes in
//!    their own hands.
//! 2. The stream is cut as [`Cut`] says, and the receiver is called after every piece.
//! 3. What a receiver refuses stays on the wire.

use std::collections::VecDeque;

use polytls_core::{Connection, Error, Facts, Refused, Role, Session};

use crate::random::Random;

/// No handshake puts as much on the wire.
const FLOOD: usize = 4 * 1024 * 1024;

/// Into what pieces the stream between the two is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// All that is there, at once.
    Whole,
    /// Byte by byte.
    Bytes,
    /// Random pieces of 1 byte to 20 KiB, by this seed.
    Random(u64),
}

/// How a handshake, or its failure, looks from both ends.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the client's last call gave.
    pub client: Result<(), Error>,
    /// What the server's last call gave.
    pub server: Result<(), Error>,
}

/// A client and a server, and what is on its way from one to the other.
#[derive(Debug)]
pub struct Pair {
    /// The side that begins.
    pub client: Connection,
    /// The other side.
    pub server: Connection,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Whether both sides are lent memory: to keep what comes, and to seal into.
    pub lends: bool,
    cut: Cut,
    random: Random,
}

/// The other one.
#[must_use]
pub const fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

impl Pair {
    /// Both sides at their beginning, the stream in one piece.
    #[must_use]
    pub fn new(client: Box<dyn Session>, server: Box<dyn Session>) -> Self {
        Self {
            client: Connection::new(client, Role::Client),
            server: Connection::new(server, Role::Server),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            lends: false,
            cut: Cut::Whole,
            random: Random::new(0),
        }
    }

    /// The same pair over a stream cut in this way.
    #[must_use]
    pub const fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        if let Cut::Random(seed) = cut {
            self.random = Random::new(seed);
        }
        self
    }

    /// One of the two.
    pub const fn side(&mut self, role: Role) -> &mut Connection {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    // --- by hand ---

    /// Takes all that `from` has to send.
    pub fn take(&mut self, from: Role) -> Vec<u8> {
        let side = self.side(from);
        let mut bytes = vec![0; side.outgoing_len()];
        side.drain_into(&mut bytes);
        bytes
    }

    /// Writes as much of `data` as `from` takes.
    ///
    /// # Errors
    ///
    /// As [`Connection::write`].
    pub fn write(&mut self, from: Role, data: &[u8]) -> Result<usize, Error> {
        let lends = self.lends;
        let side = self.side(from);
        if lends && let Some((taken, length)) = side.memory_to_write(data.len())? {
            let memory = Box::new(vec![0; length]);
            assert_eq!(side.write_to(&data[..taken], memory), Ok(true));
            return Ok(taken);
        }
        side.write(data)
    }

    fn process_incoming(&mut self, to: Role, bytes: &[u8]) -> Result<(), Refused> {
        if self.lends {
            self.side(to).keep_incoming(Box::new(bytes.to_vec()))
        } else {
            self.side(to).process_incoming(bytes)
        }
    }

    /// Hands `bytes` to `to`, in one piece.
    ///
    /// # Panics
    ///
    /// If they are refused.
    pub fn give(&mut self, to: Role, bytes: &[u8]) {
        if !bytes.is_empty() {
            let taken = self.process_incoming(to, bytes);
            assert_eq!(taken, Ok(()), "{to:?} refused {} bytes", bytes.len());
        }
    }

    /// Hands over all that `from` has to send, in one piece.
    pub fn pass(&mut self, from: Role) {
        let bytes = self.take(from);
        self.give(other(from), &bytes);
    }

    /// The transport towards `to` ends.
    pub fn end(&mut self, to: Role) {
        let taken = self.side(to).process_incoming(b"");
        assert_eq!(taken, Ok(()), "the end of the transport is never refused");
    }

    // --- by itself ---

    /// Drives the handshake on both sides until nothing moves any more.
    pub fn handshake(&mut self) -> Outcome {
        self.handshake_through(&mut |_, flight| flight)
    }

    /// The same, with every flight (whole records) passed through `meddle` on its way from the
    /// side that is named.
    ///
    /// # Panics
    ///
    /// If one side sends on and on.
    pub fn handshake_through(
        &mut self,
        meddle: &mut dyn FnMut(Role, Vec<u8>) -> Vec<u8>,
    ) -> Outcome {
        loop {
            let client = self.client.do_handshake();
            let server = self.server.do_handshake();
            let mut moved = false;
            for from in [Role::Client, Role::Server] {
                let flight = self.take(from);
                if !flight.is_empty() {
                    let flight = meddle(from, flight);
                    self.wire(from).extend(flight);
                    assert!(self.wire(from).len() < FLOOD, "{from:?} sends without end");
                    moved = true;
                }
                moved |= self.carry(from);
            }
            if !moved {
                return Outcome { client, server };
            }
        }
    }

    /// Completes the handshake.
    ///
    /// # Panics
    ///
    /// If it fails on either side.
    #[must_use]
    pub fn connected(mut self) -> Self {
        let outcome = self.handshake();
        assert!(
            outcome.client.is_ok() && outcome.server.is_ok(),
            "the handshake failed: {outcome:?}"
        );
        self
    }

    /// Drives a handshake that fails to its end: what each side says once it has seen all there is
    /// to see. A client of TLS 1.3 is told after its handshake, when it reads.
    ///
    /// # Panics
    ///
    /// If one side finds nothing wrong.
    pub fn refused(&mut self) -> (Error, Error) {
        let _ = self.handshake();
        (self.failure(Role::Client), self.failure(Role::Server))
    }

    /// What `role` says when it reads, which must be a fatal error.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn failure(&mut self, role: Role) -> Error {
        match self.side(role).read(&mut [0; 1]) {
            Err(error) if error.is_fatal() => error,
            other => panic!("{role:?} should have failed and says {other:?}"),
        }
    }

    /// The facts of one side.
    ///
    /// # Panics
    ///
    /// If its handshake is not complete.
    #[must_use]
    pub fn facts(&self, role: Role) -> Facts {
        match role {
            Role::Client => self.client.facts(),
            Role::Server => self.server.facts(),
        }
        .expect("the handshake is complete")
    }

    /// Sends both at the same time, written and read in random pieces, and says what arrived at
    /// the client and at the server.
    ///
    /// # Panics
    ///
    /// If either side fails, or if nothing moves any more before all has arrived.
    pub fn exchange(&mut self, from_client: &[u8], from_server: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut left = [from_client, from_server];
        let mut arrived = [Vec::new(), Vec::new()];
        let mut buffer = vec![0; 40_000];
        while arrived[0].len() < from_client.len() || arrived[1].len() < from_server.len() {
            let mut moved = false;
            for (index, from) in [Role::Client, Role::Server].into_iter().enumerate() {
                if !left[index].is_empty() {
                    let most = self.random.size(300_000).min(left[index].len());
                    match self.write(from, &left[index][..most]) {
                        Ok(taken) => {
                            left[index] = &left[index][taken..];
                            moved = true;
                        }
                        Err(Error::WantWrite) => {}
                        Err(error) => panic!("{from:?} cannot write: {error:?}"),
                    }
                }
                let flight = self.take(from);
                self.wire(from).extend(flight);
                moved |= self.carry(from);
                let most = self.random.size(buffer.len());
                match self.side(other(from)).read(&mut buffer[..most]) {
                    Ok(0) => panic!("{from:?} has not closed"),
                    Ok(count) => {
                        arrived[index].extend_from_slice(&buffer[..count]);
                        moved = true;
                    }
                    Err(Error::WantRead) => {}
                    Err(error) => panic!("{:?} cannot read: {error:?}", other(from)),
                }
            }
            assert!(moved, "nothing moves, and not all has arrived");
        }
        let [at_server, at_client] = arrived;
        (at_client, at_server)
    }

    /// Reads on `role` until nothing is left.
    ///
    /// # Errors
    ///
    /// What ended the data, if it was not the lack of more: then the data is lost to the caller.
    pub fn read_all(&mut self, role: Role) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.side(role).read(&mut buffer) {
                Ok(0) | Err(Error::WantRead) => return Ok(all),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error),
            }
        }
    }

    const fn wire(&mut self, from: Role) -> &mut VecDeque<u8> {
        match from {
            Role::Client => &mut self.to_server,
            Role::Server => &mut self.to_client,
        }
    }

    /// Moves one piece on the wire; whether there was one and it was taken.
    fn carry(&mut self, from: Role) -> bool {
        let most = match self.cut {
            Cut::Whole => usize::MAX,
            Cut::Bytes => 1,
            Cut::Random(_) => self.random.size(20 * 1024),
        };
        let wire = self.wire(from);
        let piece: Vec<u8> = wire.iter().take(most).copied().collect();
        if piece.is_empty() {
            return false;
        }
        match self.process_incoming(other(from), &piece) {
            Ok(()) => {
                self.wire(from).drain(..piece.len());
                true
            }
            Err(Refused::Full) => false,
            Err(Refused::Ended) => panic!("the transport of {:?} has ended", other(from)),
        }
    }
}
