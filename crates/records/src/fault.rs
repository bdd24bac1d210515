//! What a peer can do wrong after the handshake, and the alert for each (RFC 8446 section 6.2).

use polytls_core::{Alert, Error};

/// Something the peer did wrong: the alert that says so, and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(Alert, &'static str);

impl Fault {
    pub(crate) const BAD_RECORD: Self = Self(Alert::BAD_RECORD_MAC, "record cannot be decrypted");
    pub(crate) const OVERFLOW: Self = Self(Alert::RECORD_OVERFLOW, "record too large");
    pub(crate) const ONLY_PADDING: Self =
        Self(Alert::UNEXPECTED_MESSAGE, "record contains only padding");
    pub(crate) const USED_UP: Self = Self(
        Alert::INTERNAL_ERROR,
        "more records under one key than sequence numbers allow",
    );
    pub(crate) const UNEXPECTED_MESSAGE: Self =
        Self(Alert::UNEXPECTED_MESSAGE, "unexpected message");
    pub(crate) const MESSAGE_TOO_LONG: Self =
        Self(Alert::DECODE_ERROR, "handshake message too long");
    pub(crate) const BAD_KEY_UPDATE: Self = Self(
        Alert::ILLEGAL_PARAMETER,
        "invalid request_update value in KeyUpdate",
    );
    pub(crate) const MALFORMED_KEY_UPDATE: Self =
        Self(Alert::DECODE_ERROR, "KeyUpdate of the wrong length");
    pub(crate) const DATA_BEHIND_KEY_UPDATE: Self = Self(
        Alert::UNEXPECTED_MESSAGE,
        "data after KeyUpdate in the same record",
    );
    pub(crate) const WRONG_TYPE: Self = Self(Alert::UNEXPECTED_MESSAGE, "unexpected record type");
    pub(crate) const EMPTY: Self =
        Self(Alert::UNEXPECTED_MESSAGE, "empty handshake or alert record");
    pub(crate) const TOO_SHORT: Self = Self(Alert::BAD_RECORD_MAC, "record too short");
    pub(crate) const EMPTY_FLOOD: Self = Self(Alert::UNEXPECTED_MESSAGE, "too many empty records");
    pub(crate) const WARNING_FLOOD: Self =
        Self(Alert::UNEXPECTED_MESSAGE, "too many user_canceled alerts");
    pub(crate) const KEY_UPDATE_FLOOD: Self =
        Self(Alert::UNEXPECTED_MESSAGE, "too many KeyUpdate messages");
    pub(crate) const INTERLEAVED: Self = Self(
        Alert::UNEXPECTED_MESSAGE,
        "a record of another type within a handshake message",
    );
    pub(crate) const WRONG_VERSION: Self = Self(Alert::PROTOCOL_VERSION, "invalid record version");
    pub(crate) const MALFORMED_HEADER: Self = Self(Alert::DECODE_ERROR, "malformed record header");
    pub(crate) const MALFORMED_ALERT: Self = Self(Alert::DECODE_ERROR, "alert of the wrong length");
}

/// Why a record ends the connection, and the alert that tells the peer, if one does.
pub(crate) struct Ending(pub(crate) Option<Alert>, pub(crate) Error);

impl From<Fault> for Ending {
    fn from(Fault(alert, what): Fault) -> Self {
        Self(Some(alert), Error::PeerMisbehaved(what.to_owned()))
    }
}
