//! How far a connection has come: a table of states and events, and a model of what every call gives.
//!
//! The table says which state comes of which event. The model tells what a connection should do by what
//! was said and done and not by states: one list of messages, one flag for each fact. Random walks hold a
//! connection over a session of a made-up protocol against both.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;

use polytls_core::config::Version;
use polytls_core::{
    Alert, Connection, Error, Facts, INCOMING_LIMIT, Inbound, MAX_FRAGMENT, OUTGOING_LIMIT, Ours,
    Outbound, Phase, Progress, Role, Room, Session, Sink, Theirs, Wants, records,
};
use proptest::collection::vec;
use proptest::prelude::*;

// --- the table ---

/// Phase and both directions in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been done yet.
    Open,
    Handshaking,
    /// Data flows both ways.
    Connected,
    /// We have sent close_notify; the peer's data still comes.
    ClosingByUs,
    /// The peer has ended its direction; ours is open.
    ClosingByPeer,
    /// Both directions are at their end, in order or not, or the caller has given up.
    Closed,
    /// A fatal error, which every later call gives again.
    Failed,
}

use State::{Closed, ClosingByPeer, ClosingByUs, Connected, Failed, Handshaking, Open};

const STATES: [State; 7] = [
    Open,
    Handshaking,
    Connected,
    ClosingByUs,
    ClosingByPeer,
    Closed,
    Failed,
];

/// What happens to a connection, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Started,
    /// The handshake is done, the peer verified.
    Established,
    /// Our close_notify is queued.
    CloseSent,
    /// A read came to the peer's close_notify,
    PeerClosed,
    /// or to the end of the transport in its place.
    TransportEnded,
    /// A fatal error, of our finding or of the peer's telling.
    Error,
    /// The caller has given up.
    Aborted,
    /// A handshake or a close has taken too long. Data has all the time in the world.
    TimedOut,
}

/// Rows: the state before. Columns: the event. `None`: cannot happen.
#[rustfmt::skip]
const TABLE: [[Option<State>; 8]; 7] = [
    //                   Started            Established      CloseSent          PeerClosed           TransportEnded       Error         Aborted       TimedOut
    /* Open */          [Some(Handshaking), None,            None,              None,                None,                None,         Some(Closed), Some(Failed)],
    /* Handshaking */   [Some(Handshaking), Some(Connected), None,              None,                None,                Some(Failed), Some(Closed), Some(Failed)],
    /* Connected */     [None,              Some(Connected), Some(ClosingByUs), Some(ClosingByPeer), Some(ClosingByPeer), Some(Failed), Some(Closed), None],
    /* ClosingByUs */   [None,              Some(ClosingByUs), Some(ClosingByUs), Some(Closed),      Some(Closed),        Some(Failed), Some(Closed), Some(Closed)],
    /* ClosingByPeer */ [None,              Some(ClosingByPeer), Some(Closed),  Some(ClosingByPeer), Some(ClosingByPeer), Some(Failed), Some(Closed), None],
    /* Closed */        [None,              Some(Closed),    Some(Closed),      Some(Closed),        Some(Closed),        Some(Failed), Some(Closed), Some(Closed)],
    /* Failed */        [None,              None,            Some(Failed),      Some(Failed),        Some(Failed),        Some(Failed), Some(Failed), Some(Failed)],
];

fn after(state: State, event: Event) -> Option<State> {
    let row = STATES.iter().position(|each| *each == state).unwrap();
    TABLE[row][event as usize]
}

/// The states that `events` lead to from `state`, in any order and number.
fn reached(state: State, events: &[Event]) -> Vec<State> {
    let mut found = vec![state];
    let mut next = 0;
    while let Some(state) = found.get(next).copied() {
        for state in events.iter().filter_map(|event| after(state, *event)) {
            if !found.contains(&state) {
                found.push(state);
            }
        }
        next += 1;
    }
    found
}

fn state(connection: &Connection) -> State {
    match (
        connection.phase(),
        connection.ours(),
        connection.theirs() == Theirs::Open,
    ) {
        (Phase::Failed, ..) => Failed,
        (_, Ours::Aborted, _) => Closed,
        (Phase::Fresh, ..) => Open,
        (Phase::Handshaking, ..) => Handshaking,
        (Phase::Established, Ours::Open, true) => Connected,
        (Phase::Established, Ours::Open, false) => ClosingByPeer,
        (Phase::Established, Ours::Closing | Ours::Closed, true) => ClosingByUs,
        (Phase::Established, Ours::Closing | Ours::Closed, false) => Closed,
    }
}

#[test]
fn there_is_no_way_back_from_the_end() {
    let all = [
        Event::Started,
        Event::Established,
        Event::CloseSent,
        Event::PeerClosed,
        Event::TransportEnded,
        Event::Error,
        Event::Aborted,
        Event::TimedOut,
    ];
    assert_eq!(reached(Failed, &all), [Failed]);
    assert_eq!(reached(Closed, &all), [Closed, Failed]);
    let mut from_the_start = reached(Open, &all);
    from_the_start.sort_by_key(|state| *state as u8);
    assert_eq!(from_the_start, STATES);
}

#[test]
fn every_state_can_be_given_up_and_data_alone_has_all_the_time() {
    for state in STATES {
        let given_up = after(state, Event::Aborted);
        assert!(matches!(given_up, Some(Closed | Failed)), "{state:?}");
        let limited = after(state, Event::TimedOut).is_some();
        let flows = matches!(state, Connected | ClosingByPeer);
        assert_eq!(limited, !flows, "{state:?}");
    }
}

// --- a protocol ---

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const ALERT: u8 = 21;
/// So many steps of the peer's make a handshake; later ones come to nothing, as tickets do.
const STEPS: u8 = 2;
const STEP: &[u8] = b"step";
const HEADER: usize = 5;
/// An alert or close_notify.
const ALERT_LENGTH: usize = HEADER + 2;
const STEP_LENGTH: usize = HEADER + STEP.len();

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3, length[0], length[1]], content].concat()
}

/// A session without cryptography.
struct Fake {
    client: bool,
    version: Version,
    batches: bool,
    steps: u8,
    begun: bool,
}

impl Fake {
    /// Says whether the record was the peer's close_notify.
    fn take(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<bool, Error> {
        match (record[0], &record[HEADER..], self.is_handshaking()) {
            (HANDSHAKE, STEP, true) => {
                self.steps += 1;
                out.extend(&self::record(HANDSHAKE, STEP));
            }
            (HANDSHAKE, STEP, false) => {}
            (DATA, content, false) => plaintext.put(content),
            (ALERT, [1, 0], false) => return Ok(true),
            _ => {
                out.extend(&self::record(ALERT, &[2, 10]));
                return Err(Error::PeerMisbehaved("a breach".to_owned()));
            }
        }
        Ok(false)
    }
}

impl Session for Fake {
    fn is_handshaking(&self) -> bool {
        self.steps < STEPS
    }

    fn takes_batches(&self) -> bool {
        self.batches
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        let mut progress = Progress::default();
        if self.client && !self.begun {
            assert!(inbound.bytes().is_empty());
            self.begun = true;
            out.extend(&record(HANDSHAKE, STEP));
            return Ok(progress);
        }
        let shown = records(inbound.bytes()).count();
        assert!(shown == 1 || (self.batches && !self.is_handshaking()));
        for record in records(inbound.bytes()) {
            progress.consumed += record.len();
            progress.peer_closed = self.take(record, plaintext, out)?;
            if progress.peer_closed || plaintext.is_full() {
                break;
            }
        }
        Ok(progress)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        for fragment in plaintext.chunks(MAX_FRAGMENT) {
            out.extend(&record(DATA, fragment));
        }
        Ok(())
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        Some(sealed(plaintext))
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        let fragments = plaintext.chunks(MAX_FRAGMENT);
        let sealed: Vec<u8> = fragments.flat_map(|each| record(DATA, each)).collect();
        into.copy_from_slice(&sealed);
        Ok(())
    }

    fn overhead(&self) -> usize {
        HEADER
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        out.extend(&record(ALERT, &[1, 0]));
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, _: &[u8], out: &mut Outbound) -> Result<(), Error> {
        out.extend(&record(ALERT, &[2, alert.0]));
        Ok(())
    }

    fn version(&self) -> Option<Version> {
        Some(self.version)
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

const fn sealed(plaintext: usize) -> usize {
    plaintext + plaintext.div_ceil(MAX_FRAGMENT) * HEADER
}

// --- the model ---

/// What the peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    Step,
    Data(Vec<u8>),
    Close,
    Breach,
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Step => record(HANDSHAKE, STEP),
            Self::Data(content) => record(DATA, content),
            Self::Close => record(ALERT, &[1, 0]),
            Self::Breach => record(HANDSHAKE, b"breach"),
        }
    }
}

struct Model {
    client: bool,
    version: Version,
    accepts: bool,
    said: VecDeque<Message>,
    /// Opened, and not read.
    opened: VecDeque<u8>,
    steps: u8,
    begun: bool,
    first_flight: bool,
    heard: bool,
    /// The transport has ended.
    over: bool,
    we_closed: bool,
    peer_closed: bool,
    truncated: bool,
    failure: Option<Error>,
    given_up: Option<Error>,
    sent: usize,
    waiting: usize,
    data_end: usize,
}

/// What a step came to.
enum Stepped {
    Something,
    Nothing,
}

impl Model {
    fn done(&self) -> bool {
        self.steps == STEPS
    }

    fn check(&self) -> Result<(), Error> {
        match self.given_up.as_ref().or(self.failure.as_ref()) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some(error.clone());
        error
    }

    fn state(&self) -> State {
        if self.failure.is_some() {
            return Failed;
        }
        if self.given_up.is_some() {
            return Closed;
        }
        if !self.done() {
            return if self.begun { Handshaking } else { Open };
        }
        match (self.we_closed, self.peer_closed || self.truncated) {
            (false, false) => Connected,
            (true, false) => ClosingByUs,
            (false, true) => ClosingByPeer,
            (true, true) => Closed,
        }
    }

    /// Takes the next message, if there is one.
    fn step(&mut self) -> Result<Stepped, Error> {
        self.check()?;
        self.begun = true;
        if self.client && !self.first_flight {
            self.first_flight = true;
            self.waiting += STEP_LENGTH;
            return Ok(Stepped::Something);
        }
        let Some(message) = self.said.pop_front() else {
            return Ok(Stepped::Nothing);
        };
        match (message, self.done()) {
            (Message::Step, false) => {
                self.steps += 1;
                self.waiting += STEP_LENGTH;
            }
            (Message::Step, true) => {}
            (Message::Data(content), true) => {
                self.heard |= !content.is_empty();
                self.opened.extend(content);
            }
            (Message::Close, true) => {
                self.peer_closed = true;
                if self.version == Version::Tls12 {
                    self.close()?;
                }
            }
            _ => {
                self.waiting += ALERT_LENGTH;
                return Err(self.fail(Error::PeerMisbehaved("a breach".to_owned())));
            }
        }
        Ok(Stepped::Something)
    }

    fn handshake(&mut self) -> Result<(), Error> {
        self.check()?;
        while !self.done() {
            match self.step()? {
                Stepped::Something => {}
                Stepped::Nothing if self.over => {
                    return Err(self.fail(Error::RaggedEof {
                        during_handshake: true,
                    }));
                }
                Stepped::Nothing => return Err(Error::WantRead),
            }
        }
        Ok(())
    }

    fn starved(&mut self) -> Error {
        if !self.over {
            return Error::WantRead;
        }
        self.truncated = true;
        Error::RaggedEof {
            during_handshake: false,
        }
    }

    fn read(&mut self, amount: usize) -> Result<Vec<u8>, Error> {
        if amount == 0 {
            return Ok(Vec::new());
        }
        if self.opened.is_empty() {
            self.handshake()?;
        }
        while self.opened.len() < amount && !self.peer_closed {
            match self.step() {
                Ok(Stepped::Something) => {}
                _ if !self.opened.is_empty() => break,
                Ok(Stepped::Nothing) if self.accepts && self.over => {
                    self.truncated = true;
                    return Ok(Vec::new());
                }
                Ok(Stepped::Nothing) => return Err(self.starved()),
                Err(error) => return Err(error),
            }
        }
        let taken = amount.min(self.opened.len());
        Ok(self.opened.drain(..taken).collect())
    }

    fn look_ahead(&mut self) -> bool {
        while self.done()
            && !self.peer_closed
            && !self.truncated
            && self.opened.len() < INCOMING_LIMIT
            && matches!(self.step(), Ok(Stepped::Something))
        {}
        !self.opened.is_empty()
    }

    fn discard(&mut self) -> Result<bool, Error> {
        loop {
            match self.read(MAX_FRAGMENT) {
                Ok(data) if !data.is_empty() => {}
                Ok(_)
                | Err(Error::RaggedEof {
                    during_handshake: false,
                }) => return Ok(true),
                Err(Error::WantRead) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn get_ready_to_write(&mut self) -> Result<(), Error> {
        self.handshake()?;
        while !self.heard
            && !self.we_closed
            && !self.peer_closed
            && !self.said.is_empty()
            && matches!(self.step()?, Stepped::Something)
        {}
        if self.we_closed {
            return Err(Error::Misuse(""));
        }
        Ok(())
    }

    fn writable(&mut self, amount: usize) -> Result<usize, Error> {
        self.get_ready_to_write()?;
        match OUTGOING_LIMIT.saturating_sub(self.waiting) {
            0 => Err(Error::WantWrite),
            room => Ok(amount.min(room.max(MAX_FRAGMENT))),
        }
    }

    fn write(&mut self, amount: usize) -> Result<usize, Error> {
        let taken = self.writable(amount)?;
        self.seal(taken);
        Ok(taken)
    }

    fn seal(&mut self, amount: usize) {
        self.waiting += sealed(amount);
        if amount > 0 {
            self.data_end = self.sent + self.waiting;
        }
    }

    /// A write into memory of the caller's, which takes all that waits along.
    fn write_into(&mut self, amount: usize) -> Result<usize, Error> {
        self.get_ready_to_write()?;
        self.seal(amount);
        Ok(self.drain(usize::MAX))
    }

    fn drain(&mut self, most: usize) -> usize {
        let taken = most.min(self.waiting);
        self.sent += taken;
        self.waiting -= taken;
        taken
    }

    fn close(&mut self) -> Result<(), Error> {
        self.check()?;
        if !self.done() {
            return Err(Error::Misuse(""));
        }
        if !self.we_closed {
            self.we_closed = true;
            self.waiting += ALERT_LENGTH;
        }
        Ok(())
    }

    fn shutdown(&mut self) -> Result<(), Error> {
        self.close()?;
        while !self.peer_closed && self.opened.len() < INCOMING_LIMIT {
            if let Stepped::Nothing = self.step()? {
                return Err(if self.over && !self.opened.is_empty() {
                    Error::Misuse("")
                } else {
                    self.starved()
                });
            }
        }
        if self.opened.is_empty() {
            Ok(())
        } else {
            Err(Error::Misuse(""))
        }
    }

    fn abort(&mut self, tells: bool) {
        if self.given_up.is_some() {
            return;
        }
        if !tells {
            self.waiting = 0;
        } else if self.failure.is_none() && !self.we_closed && self.begun {
            self.waiting += ALERT_LENGTH;
        }
        self.given_up = Some(Error::Aborted);
        self.opened.clear();
    }

    fn time_out(&mut self) -> Result<(), Error> {
        if self.check().is_ok() && self.done() && !self.we_closed {
            return Err(Error::Misuse(""));
        }
        if self.check().is_ok() && !self.done() {
            self.failure = Some(Error::TimedOut);
        }
        self.waiting = 0;
        self.given_up.get_or_insert(Error::TimedOut);
        self.opened.clear();
        Ok(())
    }
}

// --- sessions that are interrupted, or take what they may not ---

/// Gives these errors before it does what it should, and is done with so much less than it was shown.
struct Odd {
    session: Fake,
    errors: Vec<Error>,
    leaves: usize,
}

impl Odd {
    fn connection(errors: Vec<Error>, leaves: usize) -> Connection {
        let session = Fake {
            client: true,
            version: Version::Tls13,
            batches: false,
            steps: 0,
            begun: false,
        };
        let odd = Self {
            session,
            errors,
            leaves,
        };
        Connection::new(Box::new(odd), Role::Client)
    }

    fn interrupted(&mut self) -> Result<(), Error> {
        self.errors.pop().map_or(Ok(()), Err)
    }
}

impl Session for Odd {
    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        self.interrupted()?;
        let mut progress = self.session.receive(inbound, plaintext, out)?;
        progress.consumed = progress.consumed.saturating_sub(self.leaves);
        Ok(progress)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.interrupted()?;
        self.session.seal(plaintext, out)
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        self.interrupted()?;
        self.session.close(out)?;
        // As a library that looks for the peer's on the way.
        Ok(Progress {
            peer_closed: true,
            ..Progress::default()
        })
    }

    fn send_alert(&mut self, alert: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.session.send_alert(alert, found, out)
    }

    fn version(&self) -> Option<Version> {
        self.session.version()
    }

    fn facts(&self) -> Facts {
        self.session.facts()
    }
}

const INTERRUPTED: Error = Error::Foreign {
    cause: None,
    fatal: false,
};

#[test]
fn what_is_interrupted_is_done_by_the_next_call() {
    let mut connection = Odd::connection(vec![INTERRUPTED], 0);
    assert_eq!(connection.do_handshake(), Err(INTERRUPTED));
    assert_eq!(connection.phase(), Phase::Fresh);
    let said: Vec<u8> = [
        Message::Step,
        Message::Step,
        Message::Data(b"data".to_vec()),
    ]
    .iter()
    .flat_map(Message::encode)
    .collect();
    connection.process_incoming(&said).unwrap();
    let mut into = [0; 9];
    assert_eq!(connection.read(&mut into), Ok(4));
    assert_eq!(&into[..4], b"data");
    assert_eq!(connection.phase(), Phase::Established);
}

#[test]
fn a_record_that_was_lent_is_shown_again_after_an_interruption() {
    let session = Fake {
        client: false,
        version: Version::Tls13,
        batches: false,
        steps: STEPS,
        begun: true,
    };
    let odd = Odd {
        session,
        errors: vec![INTERRUPTED; 3],
        leaves: 0,
    };
    let mut connection = Connection::new(Box::new(odd), Role::Server);
    let data = Message::Data(b"data".to_vec()).encode();
    let mut into = [0; 9];
    let received = connection.receive(Some(&data), Room::new(&mut into));
    assert_eq!(received, Err(INTERRUPTED));
    assert_eq!(connection.read(&mut into), Err(INTERRUPTED));
    assert_eq!(connection.incoming_len(), data.len());
    assert_eq!(connection.write(b"x"), Err(INTERRUPTED));
    assert_eq!(connection.read(&mut into), Ok(4));
    assert_eq!(&into[..4], b"data");
    assert_eq!(connection.incoming_len(), 0);
    assert_eq!(connection.failure(), None);
}

#[test]
fn a_close_that_is_interrupted_is_made_again_and_may_find_the_peers_end() {
    let session = Fake {
        client: false,
        version: Version::Tls13,
        batches: false,
        steps: STEPS,
        begun: true,
    };
    let odd = Odd {
        session,
        errors: vec![INTERRUPTED],
        leaves: 0,
    };
    let mut connection = Connection::new(Box::new(odd), Role::Server);
    assert_eq!(connection.send_close_notify(), Err(INTERRUPTED));
    assert_eq!(connection.ours(), Ours::Open);
    assert_eq!(connection.send_close_notify(), Ok(()));
    assert_eq!(connection.ours(), Ours::Closing);
    assert_eq!(connection.theirs(), Theirs::Closed);
    assert_eq!(connection.shutdown(), Ok(()));
}

#[test]
fn a_session_that_leaves_part_of_a_record_is_at_fault() {
    for leaves in [1, HEADER, 100] {
        let mut connection = Odd::connection(Vec::new(), leaves);
        connection
            .process_incoming(&Message::Step.encode())
            .unwrap();
        let failed = connection.do_handshake();
        assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
        assert_eq!(connection.phase(), Phase::Failed);
        assert_eq!(connection.do_handshake(), failed);
    }
}

// --- walks ---

/// How ciphertext comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Copied,
    Kept,
    InPlace,
}

#[derive(Clone, Debug)]
enum Call {
    Receive(Way, Vec<Message>),
    End,
    Handshake,
    Read(usize),
    /// Ciphertext, or its end, and a read in one.
    Open(Option<Vec<Message>>, usize),
    LookAhead,
    Discard,
    Write(usize),
    WriteTo(usize),
    WriteInto(usize),
    Drain(usize),
    Close,
    Shutdown,
    Abort(bool),
    TimeOut,
}

impl Call {
    /// What may happen in it.
    const fn events(&self) -> &'static [Event] {
        use Event::*;
        match self {
            Self::Receive(..) | Self::End | Self::Drain(_) => &[],
            Self::Handshake => &[Started, Established, Error],
            Self::LookAhead => &[PeerClosed, CloseSent, Error],
            Self::Read(_) | Self::Open(..) | Self::Discard => &[
                Started,
                Established,
                PeerClosed,
                CloseSent,
                TransportEnded,
                Error,
            ],
            Self::Write(_) | Self::WriteTo(_) | Self::WriteInto(_) => {
                &[Started, Established, PeerClosed, CloseSent, Error]
            }
            Self::Close => &[CloseSent, Error],
            Self::Shutdown => &[CloseSent, PeerClosed, TransportEnded, Error],
            Self::Abort(_) => &[Aborted],
            Self::TimeOut => &[TimedOut],
        }
    }
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let data = prop_oneof![0..5_usize, 0..=MAX_FRAGMENT];
    let message = prop_oneof![
        3 => Just(Message::Step),
        6 => (data, any::<u8>()).prop_map(|(length, byte)| Message::Data(vec![byte; length])),
        1 => Just(Message::Close),
        1 => Just(Message::Breach),
    ];
    prop_oneof![
        1 => Just(vec![Message::Step; STEPS as usize]),
        3 => vec(message, 0..5),
    ]
}

fn amount() -> impl Strategy<Value = usize> {
    prop_oneof![0..6_usize, 0..40_000_usize]
}

fn calls() -> impl Strategy<Value = Call> {
    let way = prop_oneof![Just(Way::Copied), Just(Way::Kept), Just(Way::InPlace)];
    prop_oneof![
        6 => (way, messages()).prop_map(|(way, said)| Call::Receive(way, said)),
        1 => Just(Call::End),
        2 => Just(Call::Handshake),
        4 => amount().prop_map(Call::Read),
        4 => (proptest::option::of(messages()), amount())
            .prop_map(|(said, amount)| Call::Open(said, amount)),
        2 => Just(Call::LookAhead),
        1 => Just(Call::Discard),
        3 => prop_oneof![0..6_usize, 0..300_000_usize].prop_map(Call::Write),
        1 => amount().prop_map(Call::WriteTo),
        1 => amount().prop_map(Call::WriteInto),
        2 => (0..400_000_usize).prop_map(Call::Drain),
        1 => Just(Call::Close),
        1 => Just(Call::Shutdown),
        1 => any::<bool>().prop_map(Call::Abort),
        1 => Just(Call::TimeOut),
    ]
}

/// Errors as far as the model knows them.
fn told<T>(outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.map_err(|error| match error {
        Error::Misuse(_) => Error::Misuse(""),
        error => error,
    })
}

fn take_all(connection: &mut Connection, most: usize) -> usize {
    let mut left = most.min(connection.outgoing_len());
    let taken = left;
    while left > 0 {
        let next = connection.outgoing().len().min(left);
        connection.consume_outgoing(next);
        left -= next;
    }
    taken
}

struct Walk {
    connection: Connection,
    model: Model,
}

impl Walk {
    fn new(role: Role, version: Version, batches: bool, accepts: bool) -> Self {
        let client = role == Role::Client;
        let session = Fake {
            client,
            version,
            batches,
            steps: 0,
            begun: false,
        };
        let mut connection = Connection::new(Box::new(session), role);
        if accepts {
            connection.accept_truncated_end();
        }
        Self {
            connection,
            model: Model {
                client,
                version,
                accepts,
                said: VecDeque::new(),
                opened: VecDeque::new(),
                steps: 0,
                begun: false,
                first_flight: false,
                heard: false,
                over: false,
                we_closed: false,
                peer_closed: false,
                truncated: false,
                failure: None,
                given_up: None,
                sent: 0,
                waiting: 0,
                data_end: 0,
            },
        }
    }

    fn receive(&mut self, way: Way, said: Vec<Message>) {
        let bytes: Vec<u8> = said.iter().flat_map(Message::encode).collect();
        let may = !self.model.over && self.connection.incoming_len() < INCOMING_LIMIT;
        if bytes.is_empty() || !may {
            return;
        }
        match way {
            Way::Copied => self.connection.process_incoming(&bytes).unwrap(),
            Way::InPlace => {
                self.connection.space(bytes.len()).unwrap()[..bytes.len()].copy_from_slice(&bytes);
                self.connection.commit(bytes.len());
            }
            Way::Kept => self.connection.keep_incoming(Box::new(bytes)).unwrap(),
        }
        self.model.said.extend(said);
    }

    fn call(&mut self, call: Call) {
        let (ours, model) = (&mut self.connection, &mut self.model);
        match call {
            Call::Receive(way, said) => self.receive(way, said),
            Call::End => {
                ours.process_incoming(b"").unwrap();
                model.over = true;
            }
            Call::Handshake => assert_eq!(told(ours.do_handshake()), model.handshake()),
            Call::Read(amount) => {
                let mut into = vec![0; amount];
                let read = ours.read(&mut into).map(|count| into[..count].to_vec());
                assert_eq!(told(read), model.read(amount));
            }
            Call::Open(said, amount) => {
                if said.is_some() && (model.over || ours.incoming_len() >= INCOMING_LIMIT) {
                    return;
                }
                let said = said.map(|said| {
                    let bytes: Vec<u8> = said.iter().flat_map(Message::encode).collect();
                    model.over |= bytes.is_empty();
                    model.said.extend(said);
                    bytes
                });
                let mut into = vec![0; amount];
                let opened = ours.receive(said.as_deref(), Room::new(&mut into));
                let opened = opened.map(|count| count.map(|count| into[..count].to_vec()));
                let expected = match model.read(amount) {
                    Err(Error::WantRead) => Ok(None),
                    read => read.map(Some),
                };
                assert_eq!(told(opened), expected);
            }
            Call::LookAhead => assert_eq!(ours.look_ahead(), model.look_ahead()),
            Call::Discard => assert_eq!(told(ours.discard(None)), model.discard()),
            Call::Write(amount) => {
                assert_eq!(told(ours.write(&vec![1; amount])), model.write(amount));
            }
            Call::WriteTo(amount) => match ours.memory_to_write(amount) {
                Ok(Some((taken, length))) => {
                    let memory = Box::new(vec![0; length]);
                    assert_eq!(ours.write_to(&vec![1; taken], memory), Ok(true));
                    assert_eq!(model.write(amount), Ok(taken));
                }
                Ok(None) => {
                    let taken = model.writable(amount).unwrap();
                    assert!(taken == 0 || model.waiting > 0);
                }
                Err(error) => assert_eq!(told(Err(error)), model.write(amount)),
            },
            Call::WriteInto(amount) => match ours.sealed_len(amount) {
                Ok(length) => {
                    let mut into = vec![0; length.unwrap()];
                    assert_eq!(ours.write_into(&vec![1; amount], &mut into), Ok(true));
                    assert_eq!(model.write_into(amount), Ok(into.len()));
                }
                Err(error) => assert_eq!(told(Err(error)), model.write_into(amount)),
            },
            Call::Drain(most) => assert_eq!(take_all(ours, most), model.drain(most)),
            Call::Close => assert_eq!(told(ours.send_close_notify()), model.close()),
            Call::Shutdown => assert_eq!(told(ours.shutdown()), model.shutdown()),
            Call::Abort(tells) => {
                ours.abort(tells.then_some(Alert::INTERNAL_ERROR));
                model.abort(tells);
            }
            Call::TimeOut => assert_eq!(told(ours.time_out(Error::TimedOut)), model.time_out()),
        }
    }

    /// What the connection says of itself is what the model knows.
    fn compare(&self) {
        let (ours, model) = (&self.connection, &self.model);
        assert_eq!(state(ours), model.state());
        let open = model.check().is_ok();
        assert_eq!(ours.is_handshaking(), !model.done());
        assert_eq!(ours.version(), model.done().then_some(model.version));
        assert_eq!(ours.pending(), model.opened.len());
        assert_eq!(ours.outgoing_len(), model.waiting);
        assert_eq!(ours.sent(), model.sent as u64);
        assert_eq!(ours.data_end(), model.data_end as u64);
        let theirs = match (model.peer_closed, model.truncated) {
            (true, _) => Theirs::Closed,
            (false, true) => Theirs::Truncated,
            (false, false) => Theirs::Open,
        };
        assert_eq!(ours.theirs(), theirs);
        let direction = match (model.given_up.is_some(), model.we_closed, model.waiting) {
            (true, ..) => Ours::Aborted,
            (false, false, _) => Ours::Open,
            (false, true, 0) => Ours::Closed,
            (false, true, _) => Ours::Closing,
        };
        assert_eq!(ours.ours(), direction);
        let more_comes = open && theirs == Theirs::Open;
        assert_eq!(ours.may_read(), !model.opened.is_empty() || more_comes);
        assert_eq!(ours.may_write(), open && !model.we_closed);
        let wants = Wants {
            read: more_comes
                && !model.over
                && (model.begun || !model.client)
                && ours.incoming_len() < INCOMING_LIMIT,
            write: model.waiting > 0,
        };
        assert_eq!(ours.wants(), wants);
        let remains = theirs == Theirs::Open || model.waiting > 0;
        assert_eq!(ours.is_closing(), open && model.we_closed && remains);
        let only_tickets = !model.client && model.done() && model.version == Version::Tls13;
        assert_eq!(ours.flight_is_sent(), model.waiting == 0 || only_tickets);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_connection_does_what_the_model_says(
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
        version in prop_oneof![Just(Version::Tls12), Just(Version::Tls13)],
        batches in any::<bool>(),
        accepts in any::<bool>(),
        // Half of the walks begin behind the handshake, where most can happen.
        connected in any::<bool>(),
        calls in vec(calls(), 0..15),
    ) {
        let mut walk = Walk::new(role, version, batches, accepts);
        if connected {
            walk.receive(Way::Copied, vec![Message::Step; STEPS as usize]);
            walk.call(Call::Handshake);
        }
        walk.compare();
        for call in calls {
            let before = state(&walk.connection);
            let may_come = reached(before, call.events());
            walk.call(call);
            walk.compare();
            let now = state(&walk.connection);
            prop_assert!(may_come.contains(&now), "{before:?} became {now:?}");
        }
    }
}
