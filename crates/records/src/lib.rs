//! The TLS 1.3 record layer after the handshake: plaintext sealed from where it lies straight into
//! the outgoing buffer, ciphertext opened straight into the caller's buffer.
//!
//! A TLS library does the handshake and hands over the traffic keys; it goes on to derive later
//! ones and to keep tickets ([`KeySource`]). No I/O, no clock, no configuration.
//!
//! # Duties (RFC 8446 section 5, and what of sections 4.6 and 6 comes after the handshake)
//!
//! | duty | where |
//! | --- | --- |
//! | nonce: the sequence number, padded, xored into the IV; no number twice under one key (5.3) | `keys` |
//! | sequence numbers start at 0 with each key and never wrap (5.3) | `keys` |
//! | keys are changed before they have sealed too much (5.5) | `layer`, from `keys`' limit |
//! | at most 2^14 bytes of plaintext in a record sent (5.1) | `layer` |
//! | the header is authenticated; version 0x0303, type application_data (5.2) | `keys` |
//! | ciphertext over 2^14 + 256 bytes, inner plaintext over 2^14 + 1: record_overflow (5.2, 5.4) | `layer`, `keys` |
//! | a record that does not open: bad_record_mac (5.2); what was written of it is wiped | `keys` |
//! | padding is removed; a record of nothing but zeros: unexpected_message (5.4) | `keys` |
//! | empty data records are allowed, a flood of them is not (5.1); nor is one of user_canceled | `layer` |
//! | empty handshake and alert records, other types, change_cipher_spec: unexpected_message (5, 5.1) | `layer` |
//! | handshake messages over several records, with nothing in between (5.1) | `messages` |
//! | KeyUpdate: new receiving keys at once; it ends its record (5.1); an answer when asked for, before the next data (4.6.3) | `layer`, `messages` |
//! | NewSessionTicket goes to the library, on clients only (4.6.1), which names the alert for a bad one | `messages` |
//! | all alerts but close_notify and user_canceled are fatal whatever their level (6) | `layer` |
//! | nothing is sent after close_notify; data may still be received (6.1) | `polytls_core::Connection` |
//! | a fatal error of ours is told by an alert (6.2) | `layer` |

mod fault;
mod keys;
mod layer;
mod messages;

pub use keys::{Cipher, OVERHEAD, TrafficKeys, open_alone};
pub use layer::{KeySource, RecordLayer};
