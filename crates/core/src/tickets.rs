//! Tickets of one server that a client has not offered yet, and how many of them are kept.
//!
//! A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4), and a server may give no more than one on a
//! resumed connection, as OpenSSL does. So as many are needed as connections to the server begin and end at
//! a time: with fewer places, those that end together lose tickets which those that begin together miss.

use std::collections::VecDeque;

/// Tickets kept: pools of HTTP clients have up to 100 connections if they are not told otherwise.
const MOST: usize = 128;

/// Bytes of tickets kept: the peer decides how long each is. One of the largest has room.
const MOST_BYTES: usize = 64 * 1024;

/// What a ticket counts for whose length its library does not tell.
const OF_UNKNOWN_LENGTH: usize = MOST_BYTES / 8;

/// See the module; `T` is what a library makes of a ticket.
#[derive(Debug)]
pub struct Tickets<T> {
    /// The oldest first, each with what it counts for.
    kept: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Tickets<T> {
    /// Keeps one that has come in `length` bytes, as far as that is known. The oldest give way.
    pub fn put(&mut self, ticket: T, length: Option<usize>) {
        let length = length.unwrap_or(OF_UNKNOWN_LENGTH);
        self.kept.push_back((ticket, length));
        self.bytes += length;
        while self.kept.len() > MOST || (self.bytes > MOST_BYTES && self.kept.len() > 1) {
            let _ = self.remove(0);
        }
    }

    /// Takes out the newest.
    pub fn take(&mut self) -> Option<T> {
        self.take_if(|_| true)
    }

    /// Takes out the newest of which this is true.
    pub fn take_if(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.kept.iter().rposition(|(ticket, _)| wanted(ticket))?;
        self.remove(index)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let (ticket, length) = self.kept.remove(index)?;
        self.bytes -= length;
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, MOST_BYTES, OF_UNKNOWN_LENGTH, Tickets};

    fn taken(tickets: &mut Tickets<usize>) -> Vec<usize> {
        std::iter::from_fn(|| tickets.take()).collect()
    }

    #[test]
    fn the_newest_is_taken_first_and_the_oldest_gives_way() {
        let mut tickets = Tickets::default();
        for number in 0..MOST + 5 {
            tickets.put(number, Some(200));
        }
        let expected: Vec<usize> = (5..MOST + 5).rev().collect();
        assert_eq!(taken(&mut tickets), expected);
        assert_eq!(tickets.bytes, 0);
    }

    #[test]
    fn a_peer_cannot_fill_memory_with_long_tickets() {
        let mut tickets = Tickets::default();
        for number in 0..100 {
            tickets.put(number, Some(MOST_BYTES / 4 + 1));
            assert!(tickets.bytes <= MOST_BYTES);
        }
        assert_eq!(taken(&mut tickets), [99, 98, 97]);
        // One is always kept: who lets in a longer one has judged it.
        tickets.put(1, Some(5));
        tickets.put(2, Some(MOST_BYTES + 1));
        assert_eq!(taken(&mut tickets), [2]);
        assert_eq!(tickets.bytes, 0);
    }

    #[test]
    fn those_of_unknown_length_are_few() {
        let mut tickets = Tickets::default();
        for number in 0..100 {
            tickets.put(number, None);
        }
        assert_eq!(taken(&mut tickets).len(), MOST_BYTES / OF_UNKNOWN_LENGTH);
    }

    #[test]
    fn one_of_several_lines_is_found() {
        let mut tickets = Tickets::default();
        for number in 0..6 {
            tickets.put(number, Some(1));
        }
        assert_eq!(tickets.take_if(|number| number % 2 == 0), Some(4));
        assert_eq!(tickets.take_if(|number| *number > 9), None);
        assert_eq!(taken(&mut tickets), [5, 3, 2, 1, 0]);
    }
}
