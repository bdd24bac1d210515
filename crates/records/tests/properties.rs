//! What holds for every sequence of records, however they are padded, cut and read.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use polytls_core::Error;
use proptest::collection::vec;
use proptest::prelude::*;
use support::operations::operate;
use support::*;

/// One thing that happens on a healthy connection.
#[derive(Clone, Debug)]
enum Event {
    /// The peer sends data.
    Data { length: usize, padding: usize },
    /// The peer sends a ticket, in pieces of this size.
    Ticket { length: usize, piece: usize },
    /// The peer changes its keys, and may ask for new ones; in pieces of this size.
    Update { asks: bool, piece: usize },
    /// The peer says that it will close. It need not.
    UserCanceled,
    /// We send data.
    Write(usize),
    /// We change our keys.
    UpdateOurs { asks: bool },
}

/// Sizes of content: small, at the limit, anything.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..40_usize, FULL - 3..=FULL, 0..=FULL]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (length(), 0..300_usize).prop_map(|(length, padding)| Event::Data {
            length,
            padding: padding.min(FULL - length),
        }),
        1 => (0..40_000_usize, 1..5000_usize)
            .prop_map(|(length, piece)| Event::Ticket { length, piece }),
        1 => (any::<bool>(), 1..6_usize).prop_map(|(asks, piece)| Event::Update { asks, piece }),
        1 => Just(Event::UserCanceled),
        3 => (1..60_000_usize).prop_map(Event::Write),
        1 => any::<bool>().prop_map(|asks| Event::UpdateOurs { asks }),
    ]
}

/// Bytes that are not all alike; no two events have the same.
fn pattern(length: usize, event: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index.wrapping_mul(131) ^ index >> 8 ^ event.wrapping_mul(29)) as u8)
        .collect()
}

/// What the peer has sent so far, and what has to be seen of it.
#[derive(Default)]
struct Expected {
    data: Vec<u8>,
    tickets: Vec<Vec<u8>>,
    updates: u8,
    /// Since the last data, which floods are counted from.
    quiet: usize,
    /// user_canceled alerts since then.
    warnings: usize,
}

/// So many user_canceled alerts are put up with.
const WARNINGS: usize = 4;

/// Seals what the peer does; empty if it is not the peer's to do.
fn seal(scene: &mut Scene, expected: &mut Expected, index: usize, event: &Event) -> Vec<u8> {
    let pieces = |peer: &mut Sealer, message: &[u8], piece: usize| -> Vec<u8> {
        message
            .chunks(piece)
            .flat_map(|content| peer.padded(HANDSHAKE, content, content.len() % 7))
            .collect()
    };
    match *event {
        Event::Data { length, padding } => {
            if length > 0 {
                (expected.quiet, expected.warnings) = (0, 0);
            } else {
                expected.quiet += 1;
            }
            let data = pattern(length, index);
            expected.data.extend_from_slice(&data);
            scene.peer.padded(DATA, &data, padding)
        }
        Event::Ticket { length, piece } => {
            let body = pattern(length, index);
            let header = u32::try_from(length).unwrap().to_be_bytes();
            let message = [&[4][..], &header[1..], &body].concat();
            expected.tickets.push(body);
            pieces(&mut scene.peer, &message, piece)
        }
        Event::Update { asks, piece } => {
            expected.quiet += 1;
            expected.updates = expected.updates.wrapping_add(1);
            let message = if asks { KEY_UPDATE_ASKING } else { KEY_UPDATE };
            let records = pieces(&mut scene.peer, &message, piece);
            scene.peer.update();
            records
        }
        Event::UserCanceled if expected.warnings < WARNINGS => {
            expected.quiet += 1;
            expected.warnings += 1;
            scene.peer.record(ALERT, &[1, 90])
        }
        Event::UserCanceled | Event::Write(_) | Event::UpdateOurs { .. } => Vec::new(),
    }
}

/// Reads into buffers of these sizes, in turn, until nothing is left; what lies behind what was
/// read is never anything that was sealed and not delivered.
fn drain(scene: &mut Scene, sizes: &[usize], turn: &mut usize) -> Vec<u8> {
    let mut read = Vec::new();
    let mut fruitless = 0;
    loop {
        let size = sizes[*turn % sizes.len()];
        *turn += 1;
        let mut buffer = vec![0xee; size];
        match scene.ours.read(&mut buffer) {
            Ok(count) => {
                assert!(count > 0 || size == 0);
                read.extend_from_slice(&buffer[..count]);
                fruitless = if count == 0 { fruitless + 1 } else { 0 };
            }
            Err(Error::WantRead) => return read,
            Err(error) => panic!("{error:?}"),
        }
        // Sizes may all be 0.
        if fruitless > sizes.len() {
            *turn = 0;
            let (rest, end) = scene.read_all(7);
            assert_eq!(end, Err(Error::WantRead));
            read.extend(rest);
            return read;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_healthy_connection_delivers_everything_in_order(
        cipher in 0..3_usize,
        events in vec(event(), 1..40),
        cuts in vec(1..40_000_usize, 1..10),
        sizes in vec(prop_oneof![0..3_usize, FULL - 1..FULL + 3, 1..70_000_usize], 1..6),
    ) {
        let mut scene = Scene::new(CIPHERS[cipher], true);
        let mut expected = Expected::default();
        let (mut read, mut turn) = (Vec::new(), 0);
        let (mut written, mut sent) = (Vec::new(), Vec::new());
        // Whether an answer is due, and how many requests of ours are.
        let (mut due, mut asked) = (false, 0);
        for (index, event) in events.iter().enumerate() {
            let stream = seal(&mut scene, &mut expected, index, event);
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let cut = cuts[(index + rest.len()) % cuts.len()].min(rest.len());
                scene.give(&rest[..cut]);
                rest = &rest[cut..];
                read.extend(drain(&mut scene, &sizes, &mut turn));
            }
            match *event {
                Event::Write(length) => {
                    let data = pattern(length, index);
                    prop_assert_eq!(scene.ours.write(&data), Ok(length));
                    written.extend(data);
                }
                Event::UpdateOurs { asks } => {
                    scene.library().update_first = Some(asks);
                    scene.ours.write(b"u").unwrap();
                    written.push(b'u');
                    // What answers a request asks for nothing (RFC 8446 section 4.6.3).
                    asked += usize::from(asks && !due);
                }
                Event::Update { asks, .. } => due |= asks,
                _ => {}
            }
            prop_assert!(expected.quiet <= 32, "the test itself floods");
            for (kind, content) in scene.sent() {
                match kind {
                    DATA => {
                        prop_assert!(!content.is_empty());
                        sent.extend(content);
                    }
                    HANDSHAKE if content == KEY_UPDATE_ASKING => {
                        asked -= 1;
                        due = false;
                    }
                    HANDSHAKE => {
                        let ours = matches!(event, Event::UpdateOurs { .. });
                        prop_assert!(due || ours, "an answer that nobody asked for");
                        due = false;
                    }
                    _ => prop_assert!(false, "an alert: {content:?}"),
                }
            }
            prop_assert!(sent == written);
            prop_assert!(read == expected.data);
            prop_assert_eq!(asked, 0);
            if matches!(event, Event::Write(_) | Event::UpdateOurs { .. }) {
                prop_assert!(!due, "data before the answer");
            }
        }
        prop_assert_eq!(&scene.library().tickets, &expected.tickets);
        prop_assert_eq!(scene.library().receiving, expected.updates);
        prop_assert_eq!(scene.library().kept, 0);
    }

    /// Records are opened straight into the caller's buffer if content, type and padding fit.
    #[test]
    fn the_size_of_the_callers_buffer_does_not_matter(
        cipher in 0..3_usize,
        records in vec((length(), 0..40_usize), 1..6),
        slack in vec(-2..3_isize, 6),
        empty_first in any::<bool>(),
    ) {
        let mut scene = Scene::new(CIPHERS[cipher], false);
        let (mut expected, mut read) = (Vec::new(), Vec::new());
        for (index, (length, padding)) in records.iter().enumerate() {
            let data = pattern(*length, index);
            let record = scene.peer.padded(DATA, &data, (*padding).min(FULL - length));
            scene.give(&record);
            expected.extend(data);
        }
        for ((length, padding), slack) in records.iter().zip(&slack) {
            if empty_first {
                prop_assert_eq!(scene.ours.read(&mut []), Ok(0));
            }
            let inner = length + 1 + padding.min(&(FULL - length));
            let mut buffer = vec![0xee; inner.saturating_add_signed(*slack)];
            match scene.ours.read(&mut buffer) {
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => prop_assert_eq!(error, Error::WantRead),
            }
            prop_assert!(expected.starts_with(&read));
        }
        let (rest, end) = scene.read_all(100_000);
        prop_assert_eq!(end, Err(Error::WantRead));
        prop_assert!([read, rest].concat() == expected);
    }

    #[test]
    fn one_changed_bit_ends_the_connection_where_it_is(
        cipher in 0..3_usize,
        lengths in vec(length(), 1..8),
        victim in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        size in prop_oneof![1..10_usize, 1..70_000_usize],
    ) {
        let mut scene = Scene::new(CIPHERS[cipher], true);
        let victim = victim.index(lengths.len());
        let mut expected = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            let data = pattern(*length, index);
            let mut record = scene.peer.record(DATA, &data);
            if index == victim {
                let bit = 8 * HEADER + bit.index(8 * (record.len() - HEADER));
                record[bit / 8] ^= 1 << (bit % 8);
            } else if index < victim {
                expected.extend(data);
            }
            scene.give(&record);
        }
        let (read, end) = scene.read_all(size);
        prop_assert!(read == expected);
        prop_assert!(matches!(end, Err(Error::PeerMisbehaved(_))));
        prop_assert_eq!(scene.sent(), [fatal(20)]);
    }

    #[test]
    fn arbitrary_input_is_opened_or_refused(input in vec(any::<u8>(), 0..2000)) {
        operate(&input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "minutes: make soak"]
    fn arbitrary_input_is_opened_or_refused_again_and_again(
        input in vec(prop_oneof![0..16_u8, any::<u8>()], 0..500),
    ) {
        operate(&input);
    }
}
