//! TLS alerts (RFC 8446 section 6).

use std::fmt;

/// An alert description as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert(pub u8);

impl Alert {
    /// The sender sends nothing more (RFC 8446 section 6.1).
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message or record that may not come now.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that does not open.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record that is too long.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// Nothing in common.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// Well-formed, and wrong.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// Not well-formed.
    pub const DECODE_ERROR: Self = Self(50);
    /// A version that is not spoken here.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// A fault of our own.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// An extension that has to be there.
    pub const MISSING_EXTENSION: Self = Self(109);

    /// The name of RFC 8446 section 6 (older ones: RFC 5246 section 7.2); `None` if unassigned.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            121 => "ech_required",
            _ => return None,
        })
    }

    /// Whether the peer says by it that it does not accept our certificate, what was stapled to it, or the lack of
    /// one.
    #[must_use]
    pub const fn rejects_certificate(self) -> bool {
        matches!(self.0, 41..=46 | 48 | 49 | 113 | 116)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}
