//! The buffers of a connection. Each keeps its bytes in one allocation, between `head` and `tail`.
//!
//! A connection at rest holds no memory but a small allocation: one that has become empty goes
//! back to a few spares of the thread, from where the next connection that has something to do
//! takes it. So a busy thread works in memory that is warm, however many connections it serves.

use std::cell::RefCell;
use std::fmt;

use crate::error::Error;
use crate::memory::{HeldMemory, Memory};
use crate::record::{self, Front, Malformed, Stage};

/// An empty buffer keeps at most this much memory: that of a short message and its record. What a handshake took is more.
const KEPT_WHEN_EMPTY: usize = 160;
/// A thread keeps at most so many spare allocations ...
const SPARES: usize = 6;
/// ... of at most this size each.
const LARGEST_SPARE: usize = 512 * 1024;

/// Plaintext is refused while this many bytes of ciphertext wait to be sent.
pub const OUTGOING_LIMIT: usize = 256 * 1024;
/// See [`Outbound::limit_answers`].
const ANSWERS_LIMIT: usize = 2 * OUTGOING_LIMIT;

thread_local! {
    /// Allocations that are initialised in full; what they hold is of no meaning.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Memory of at least `room` initialised bytes. The smallest spare that has room, or a new one.
fn allocate(room: usize) -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(|spares| {
        let fitting = spares
            .iter()
            .enumerate()
            .filter(|(_, spare)| spare.len() >= room);
        let (index, _) = fitting.min_by_key(|(_, spare)| spare.len())?;
        Some(spares.swap_remove(index))
    });
    spare.unwrap_or_else(|| vec![0; room])
}

/// Takes back what [`allocate`] gave; the smallest is dropped if there are too many.
fn release(mut memory: Vec<u8>) {
    if memory.capacity() > LARGEST_SPARE || memory.len() <= KEPT_WHEN_EMPTY {
        return;
    }
    // A thread that ends has no spares any more.
    let _ = SPARE.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        if spares.len() == SPARES {
            let smallest = spares.iter_mut().min_by_key(|spare| spare.len());
            if let Some(smallest) = smallest.filter(|smallest| smallest.len() < memory.len()) {
                std::mem::swap(smallest, &mut memory);
            }
        } else {
            spares.push(memory);
        }
    });
}

/// Bytes between `head` and `tail` of one allocation; what lies behind `tail` is initialised
/// memory that is free to be written to.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    head: usize,
    tail: usize,
    /// How many bytes were moved to make room.
    #[cfg(test)]
    moved: usize,
}

impl Drop for Window {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.bytes));
    }
}

impl Window {
    pub(crate) const fn len(&self) -> usize {
        self.tail - self.head
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }

    fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.head..self.tail]
    }

    /// At least `room` bytes to write to, behind what is there.
    pub(crate) fn space(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() - self.tail < room {
            self.make_room(room);
        }
        &mut self.bytes[self.tail..]
    }

    /// Moves what is there to the front, of a larger allocation if need be.
    fn make_room(&mut self, room: usize) {
        #[cfg(test)]
        {
            self.moved += self.len();
        }
        let needed = self.len() + room;
        // Whatever is moved makes way for at least as much again, so that no order of small
        // additions and removals moves a byte more than twice on average.
        if needed > self.bytes.len() || self.len() > self.head {
            let mut larger = allocate(needed.max(2 * self.len()));
            larger[..self.len()].copy_from_slice(self.filled());
            release(std::mem::replace(&mut self.bytes, larger));
        } else {
            self.bytes.copy_within(self.head..self.tail, 0);
        }
        self.tail -= self.head;
        self.head = 0;
    }

    /// Declares `written` bytes of the last [`Self::space`] to be filled.
    pub(crate) fn commit(&mut self, written: usize) {
        assert!(
            written <= self.bytes.len() - self.tail,
            "committed more than was there"
        );
        self.tail += written;
    }

    pub(crate) fn extend(&mut self, data: &[u8]) {
        self.space(data.len())[..data.len()].copy_from_slice(data);
        self.commit(data.len());
    }

    /// Drops all that is there.
    pub(crate) fn clear(&mut self) {
        self.consume(self.len());
    }

    pub(crate) fn consume(&mut self, taken: usize) {
        assert!(taken <= self.len(), "consumed more than was there");
        self.head += taken;
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
            if self.bytes.len() > KEPT_WHEN_EMPTY {
                release(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// What came from the peer and was not consumed, in whole records, as a session is shown it.
///
/// It lies where it was received into, which may be memory of the connection's caller that has to stay as
/// it is.
#[derive(Debug)]
pub struct Inbound<'a>(Place<'a>);

#[derive(Debug)]
enum Place<'a> {
    Ours(&'a mut [u8]),
    /// Lent, and where a copy of it goes.
    Lent(&'a [u8], &'a mut Window),
}

impl Inbound<'_> {
    /// Nothing: a client begins.
    pub(crate) const fn nothing() -> Self {
        Self(Place::Ours(&mut []))
    }

    /// The records.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Place::Ours(bytes) => bytes,
            Place::Lent(bytes, _) => bytes,
        }
    }

    /// The records, to be opened in place. Copies what must not be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0 = match std::mem::replace(&mut self.0, Place::Ours(&mut [])) {
            Place::Lent(bytes, copy) => {
                copy.extend(bytes);
                Place::Ours(copy.filled_mut())
            }
            ours => ours,
        };
        match &mut self.0 {
            Place::Ours(bytes) => bytes,
            Place::Lent(..) => &mut [],
        }
    }
}

/// Ciphertext from the peer, cut into records.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    window: Window,
    /// Whether a record was ever found: before that, what came may be no TLS at all.
    seen_record: bool,
}

/// What the session can be given next.
pub(crate) enum Next<'a> {
    /// Whole records from the front.
    Records(Inbound<'a>),
    /// The next record is not there yet.
    Partial,
    /// Not a record. `true`: the first thing that came on this connection.
    Malformed(Malformed, &'a [u8], bool),
}

impl Incoming {
    pub(crate) const fn len(&self) -> usize {
        self.window.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.window.filled()
    }

    pub(crate) fn space(&mut self, room: usize) -> &mut [u8] {
        self.window.space(room)
    }

    pub(crate) fn commit(&mut self, written: usize) {
        self.window.commit(written);
    }

    pub(crate) fn extend(&mut self, data: &[u8]) {
        self.window.extend(data);
    }

    /// Gives the memory back if there is nothing in it.
    pub(crate) fn give_back(&mut self) {
        self.window.consume(0);
    }

    /// The next record, or many.
    pub(crate) fn next(&mut self, stage: Stage, many: bool) -> Next<'_> {
        match record::front(self.window.filled(), stage) {
            Front::Partial => Next::Partial,
            Front::Record(first) => {
                self.seen_record = true;
                let length = record::batch(self.window.filled(), first, stage, many);
                Next::Records(Inbound(Place::Ours(
                    &mut self.window.filled_mut()[..length],
                )))
            }
            Front::Malformed(what) => {
                Next::Malformed(what, self.window.filled(), !self.seen_record)
            }
        }
    }

    /// The next record that is lent, or many; `None` if it is not whole, or something else comes first.
    pub(crate) fn next_lent<'a>(
        &'a mut self,
        lent: &'a [u8],
        stage: Stage,
        many: bool,
    ) -> Option<Inbound<'a>> {
        let Front::Record(first) = record::front(lent, stage) else {
            return None;
        };
        if self.len() > 0 {
            return None;
        }
        self.seen_record = true;
        let length = record::batch(lent, first, stage, many);
        Some(Inbound(Place::Lent(&lent[..length], &mut self.window)))
    }

    /// Drops all that is there.
    pub(crate) fn clear(&mut self) {
        self.window.clear();
    }

    /// Copies from the front of `behind` what the next record lacks, or as much of that as there is.
    pub(crate) fn complete_from(&mut self, behind: &mut &[u8]) {
        loop {
            let lacking = record::lacking(self.window.filled());
            if lacking == 0 || behind.is_empty() {
                return;
            }
            let (taken, rest) = behind.split_at(lacking.min(behind.len()));
            self.window.extend(taken);
            *behind = rest;
        }
    }

    /// The lengths of the whole records, and of those `behind` them.
    pub(crate) fn lengths_with(&self, behind: &[u8]) -> impl Iterator<Item = usize> {
        let ours = self.window.filled();
        let mut at = 0;
        std::iter::from_fn(move || {
            let high = record::HEADER - 2;
            let byte = |index: usize| match index.checked_sub(ours.len()) {
                None => ours.get(index),
                Some(index) => behind.get(index),
            };
            let length = u16::from_be_bytes([*byte(at + high)?, *byte(at + high + 1)?]);
            let length = record::HEADER + usize::from(length);
            at += length;
            (at <= ours.len() + behind.len()).then_some(length)
        })
    }

    /// How many bytes are missing of the next record, or of its header; at least 1.
    pub(crate) fn needed(&self) -> usize {
        record::lacking(self.window.filled()).max(1)
    }

    /// Whether there is no more than the beginning of a record.
    pub(crate) fn is_partial(&self, stage: Stage) -> bool {
        record::front(self.window.filled(), stage) == Front::Partial
    }

    /// Drops the first `length` bytes.
    pub(crate) fn forget(&mut self, length: usize) {
        self.window.consume(length);
    }

    /// The session is done with `taken` bytes from the front.
    pub(crate) fn consume(&mut self, taken: usize) {
        self.window.consume(taken);
    }
}

/// Ciphertext for the peer.
#[derive(Default)]
pub struct Outbound {
    /// Comes first.
    whole: Option<HeldMemory>,
    window: Window,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Outbound {
    fn whole_len(&self) -> usize {
        self.whole.as_ref().map_or(0, |whole| whole.left().len())
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole_len() + self.window.len()
    }

    /// For a library that answers its peer by itself, each KeyUpdate or, in TLS 1.2, each request to renegotiate: to be
    /// called before it is shown more.
    ///
    /// # Errors
    ///
    /// [`Error::PeerMisbehaved`] while so much waits to be sent that the peer must be asking for answers and
    /// taking none.
    pub fn limit_answers(&self) -> Result<(), Error> {
        if self.len() > ANSWERS_LIMIT {
            return Err(Error::PeerMisbehaved(
                "it requests responses but does not read them".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits to be sent next; all of it, unless memory was given and more came behind.
    pub(crate) fn next(&self) -> &[u8] {
        match &self.whole {
            Some(whole) => whole.left(),
            None => self.window.filled(),
        }
    }

    /// What came behind the first `length` bytes that wait to be sent, in this call of the session.
    ///
    /// # Panics
    ///
    /// If there were never as many, or memory was given in between.
    #[must_use]
    pub fn since(&self, length: usize) -> &[u8] {
        &self.window.filled()[length - self.whole_len()..]
    }

    /// The same, also if memory was given in between, in two pieces of whole records.
    pub(crate) fn pieces_since(&self, length: usize) -> [&[u8]; 2] {
        let whole = self.whole.as_ref().map_or(&[][..], HeldMemory::left);
        let behind = length.saturating_sub(whole.len());
        let pieces = [whole.get(length..), self.window.filled().get(behind..)];
        pieces.map(Option::unwrap_or_default)
    }

    /// At least `room` bytes for a session to seal into; [`Self::commit`] then says how many it used.
    pub fn space(&mut self, room: usize) -> &mut [u8] {
        self.window.space(room)
    }

    /// Declares `written` bytes of the last [`Self::space`] to be ciphertext.
    pub fn commit(&mut self, written: usize) {
        self.window.commit(written);
    }

    /// Puts a copy of `ciphertext` behind what waits to be sent.
    pub fn extend(&mut self, ciphertext: &[u8]) {
        self.window.extend(ciphertext);
    }

    /// Like [`Self::extend`], without a copy if that can be.
    pub fn give(&mut self, ciphertext: Box<dyn Memory>) {
        if self.is_empty() && !ciphertext.bytes().is_empty() {
            self.whole = Some(HeldMemory::new(ciphertext));
        } else {
            self.extend(ciphertext.bytes());
        }
    }

    /// All that waits to be sent, if it is the memory of one [`Self::give`] and no longer than `most`.
    pub(crate) fn take_whole(&mut self, most: usize) -> Option<Box<dyn Memory>> {
        let alone = self.window.len() == 0;
        let fits = |whole: &mut HeldMemory| alone && whole.is_whole() && whole.left().len() <= most;
        self.whole.take_if(fits).map(HeldMemory::into_memory)
    }

    /// Drops all that waits to be sent.
    pub(crate) fn clear(&mut self) {
        self.whole = None;
        self.window.clear();
    }

    /// Drops what lies behind the first `length` bytes that wait to be sent.
    pub fn truncate(&mut self, length: usize) {
        let kept = length.saturating_sub(self.whole_len());
        self.window.tail = self.window.tail.min(self.window.head + kept);
    }

    /// The first `taken` bytes of [`Self::next`] are on their way.
    pub(crate) fn consume(&mut self, taken: usize) {
        let Some(whole) = &mut self.whole else {
            return self.window.consume(taken);
        };
        whole.consume(taken);
        if whole.left().is_empty() {
            self.whole = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_whatever_the_pieces() {
        let mut window = Window::default();
        let mut expected = Vec::new();
        let mut taken = Vec::new();
        for step in 1_u8..=200 {
            let piece = vec![step; usize::from(step)];
            expected.extend_from_slice(&piece);
            if step % 2 == 0 {
                window.extend(&piece);
            } else {
                window.space(piece.len())[..piece.len()].copy_from_slice(&piece);
                window.commit(piece.len());
            }
            let some = window.len() / 3;
            taken.extend_from_slice(&window.filled()[..some]);
            window.consume(some);
        }
        taken.extend_from_slice(window.filled());
        window.consume(window.len());
        assert_eq!(taken, expected);
        assert!(window.bytes.capacity() <= KEPT_WHEN_EMPTY);
    }

    /// Counted, as time is no test: a backlog that stays, and small pieces behind and before it.
    #[test]
    fn no_order_of_additions_and_removals_moves_bytes_again_and_again() {
        for (backlog, piece) in [(0, 1), (1, 1), (1000, 1), (130_000, 1), (130_000, 1448)] {
            let mut window = Window::default();
            window.extend(&vec![1; backlog]);
            // A little room behind, once the front is used up.
            window.consume(backlog / 100);
            let mut added = backlog;
            for _ in 0..300_000 / piece {
                window.extend(&vec![2; piece]);
                added += piece;
                window.consume(piece);
            }
            assert!(
                window.moved <= 2 * added,
                "{backlog} bytes and {piece} at a time: {} moved of {added}",
                window.moved
            );
        }
    }

    #[test]
    fn spares_are_few_and_small() {
        let mut windows: Vec<Window> = (0..20).map(|_| Window::default()).collect();
        for (index, window) in windows.iter_mut().enumerate() {
            window.extend(&vec![1; 100_000 * index]);
        }
        drop(windows);
        SPARE.with_borrow(|spares| {
            assert!(spares.len() <= SPARES);
            assert!(spares.iter().all(|spare| spare.len() <= LARGEST_SPARE));
        });
        assert_eq!(allocate(50_000).len(), 100_000);
    }
}
