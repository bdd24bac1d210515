//! Plaintext on its way to the caller: room that is lent for it, and what did not fit.

use crate::buffers::Window;

/// Plaintext that was opened and did not fit into the caller's buffer: at most what one call of
/// the session opened.
#[derive(Debug, Default)]
pub(crate) struct Unread(Window);

impl Unread {
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives the memory back if there is nothing in it.
    pub(crate) fn give_back(&mut self) {
        self.0.consume(0);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Puts plaintext before all that is there.
    pub(crate) fn put_back(&mut self, plaintext: &[u8]) {
        let behind = self.0.filled().to_vec();
        self.0.consume(behind.len());
        self.0.extend(plaintext);
        self.0.extend(&behind);
    }

    pub(crate) fn take(&mut self, into: &mut [u8]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let taken = self.0.len().min(into.len());
        into[..taken].copy_from_slice(&self.0.filled()[..taken]);
        self.0.consume(taken);
        taken
    }
}

/// Memory lent by the caller for plaintext.
#[derive(Debug)]
pub struct Room<'a> {
    memory: &'a mut [u8],
    /// How much of it is for plaintext; what lies behind is scratch.
    limit: usize,
}

impl<'a> Room<'a> {
    /// All of `memory` is for plaintext.
    #[must_use]
    pub const fn new(memory: &'a mut [u8]) -> Self {
        Self {
            limit: memory.len(),
            memory,
        }
    }

    /// The last byte of `memory` is scratch: a record that fills the rest can then be opened where it
    /// shall be, as its content type follows its content (RFC 8446 section 5.2).
    #[must_use]
    pub const fn with_scratch(memory: &'a mut [u8]) -> Self {
        Self {
            limit: memory.len().saturating_sub(1),
            memory,
        }
    }

    /// How much plaintext goes into it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.limit
    }

    /// Whether no plaintext goes into it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.limit == 0
    }

    pub(crate) fn content(&mut self) -> &mut [u8] {
        &mut self.memory[..self.limit]
    }

    /// The memory that is for plaintext.
    #[must_use]
    pub fn into_bytes(self) -> &'a mut [u8] {
        &mut self.memory[..self.limit]
    }

    /// What is left behind the first `filled` bytes, of which there are no more than
    /// [`Self::len`].
    #[must_use]
    pub fn behind(&mut self, filled: usize) -> Room<'_> {
        Room {
            memory: &mut self.memory[filled..],
            limit: self.limit - filled,
        }
    }

    /// No room at all.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            memory: &mut [],
            limit: 0,
        }
    }
}

/// Where a session puts opened plaintext: the caller's buffer first, then the connection's own.
#[derive(Debug)]
pub struct Sink<'a> {
    room: Room<'a>,
    filled: usize,
    rest: &'a mut Unread,
    early: &'a mut Unread,
}

impl<'a> Sink<'a> {
    pub(crate) const fn new(room: Room<'a>, rest: &'a mut Unread, early: &'a mut Unread) -> Self {
        Self {
            room,
            filled: 0,
            rest,
            early,
        }
    }

    /// Hands over the plaintext of one record.
    pub fn put(&mut self, plaintext: &[u8]) {
        let room = if self.rest.is_empty() {
            (self.room.len() - self.filled).min(plaintext.len())
        } else {
            0
        };
        let (now, later) = plaintext.split_at(room);
        self.room.content()[self.filled..][..room].copy_from_slice(now);
        self.filled += room;
        if !later.is_empty() {
            self.rest.0.extend(later);
        }
    }

    /// Hands over plaintext that is for a later read: this one ends without a result.
    pub fn put_later(&mut self, plaintext: &[u8]) {
        self.rest.0.extend(plaintext);
    }

    /// Hands over early data, which goes ways of its own (`early.rs`).
    pub fn put_early(&mut self, plaintext: &[u8]) {
        self.early.0.extend(plaintext);
    }

    /// Memory of `length` bytes to open a record into whose content is shorter than that: the
    /// caller's own if there is as much, and nothing to be delivered first. [`Self::opened`] then
    /// says how long the content is; without that, none of it is delivered.
    pub fn memory(&mut self, length: usize) -> &mut [u8] {
        if self.is_direct(length) {
            &mut self.room.memory[self.filled..][..length]
        } else {
            &mut self.rest.0.space(length)[..length]
        }
    }

    /// The first `content` bytes of the last [`Self::memory`], which had `length`, are plaintext.
    pub fn opened(&mut self, length: usize, content: usize) {
        assert!(content < length, "a record holds its content type as well");
        if self.is_direct(length) {
            self.filled += content;
        } else {
            self.committed(content);
        }
    }

    fn committed(&mut self, content: usize) {
        let came_first = self.rest.is_empty();
        self.rest.0.commit(content);
        if came_first {
            let filled = self.filled;
            self.filled += self.rest.take(&mut self.room.content()[filled..]);
        }
    }

    /// Memory for a content of `most` bytes at the most: the caller's own if there is as much, and nothing to
    /// be delivered first. [`Self::came`] then says how long it is.
    pub fn space(&mut self, most: usize) -> &mut [u8] {
        if self.has_room(most) {
            &mut self.room.memory[self.filled..][..most]
        } else {
            &mut self.rest.0.space(most)[..most]
        }
    }

    /// The first `content` bytes of the last [`Self::space`], which had `most`, are plaintext.
    pub fn came(&mut self, most: usize, content: usize) {
        assert!(content <= most, "more than there was room for");
        if self.has_room(most) {
            self.filled += content;
        } else {
            self.committed(content);
        }
    }

    /// Whether there is no room left but the connection's own: a session that is shown many records stops here.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.filled >= self.room.len() || !self.rest.is_empty()
    }

    fn has_room(&self, most: usize) -> bool {
        self.rest.is_empty() && most <= self.room.len() - self.filled
    }

    /// A content is shorter than `length`, so one byte of scratch is enough.
    fn is_direct(&self, length: usize) -> bool {
        self.rest.is_empty()
            && length <= self.room.memory.len() - self.filled
            && length <= self.room.len() - self.filled + 1
    }

    pub(crate) const fn filled(&self) -> usize {
        self.filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_that_is_put_back_comes_first_and_what_is_for_later_last() {
        let (mut rest, mut early) = (Unread::default(), Unread::default());
        let mut buffer = [0; 4];
        let mut sink = Sink::new(Room::new(&mut buffer), &mut rest, &mut early);
        sink.put(b"ab");
        sink.put_later(b"cd");
        assert_eq!(sink.filled(), 2);
        rest.put_back(&buffer[..2]);
        let mut later = [0; 8];
        assert_eq!(rest.take(&mut later), 4);
        assert_eq!(&later[..4], b"abcd");
        rest.put_back(b"alone");
        assert_eq!(rest.len(), 5);
    }

    #[test]
    fn plaintext_beyond_the_callers_buffer_is_kept_in_order() {
        let (mut rest, mut early) = (Unread::default(), Unread::default());
        let mut buffer = [0; 4];
        let mut sink = Sink::new(Room::new(&mut buffer), &mut rest, &mut early);
        sink.put(b"ab");
        sink.put(b"cdef");
        sink.put(b"gh");
        assert_eq!(sink.filled(), 4);
        assert_eq!(&buffer, b"abcd");
        let mut later = [0; 8];
        assert_eq!(rest.take(&mut later), 4);
        assert_eq!(&later[..4], b"efgh");
    }

    #[test]
    fn a_record_that_just_fits_is_opened_where_it_shall_stand() {
        let (mut rest, mut early) = (Unread::default(), Unread::default());
        let mut memory = *b"....#";
        let mut sink = Sink::new(Room::with_scratch(&mut memory), &mut rest, &mut early);
        sink.memory(5).copy_from_slice(b"data\x17");
        sink.opened(5, 4);
        assert_eq!(sink.filled(), 4);
        // Now there is no room, so it goes elsewhere.
        sink.memory(3).copy_from_slice(b"xy\x17");
        sink.opened(3, 2);
        assert_eq!(sink.filled(), 4);
        assert_eq!(rest.len(), 2);
        assert_eq!(&memory[..4], b"data");
        // Without scratch a part of it is copied.
        let (mut rest, mut early) = (Unread::default(), Unread::default());
        let mut memory = *b"...";
        let mut sink = Sink::new(Room::new(&mut memory), &mut rest, &mut early);
        sink.memory(5).copy_from_slice(b"data\x17");
        sink.opened(5, 4);
        assert_eq!(sink.filled(), 3);
        assert_eq!(rest.len(), 1);
        assert_eq!(&memory, b"dat");
    }
}
