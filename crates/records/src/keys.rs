//! One direction's key: nonces, sealing and opening of single records.

use std::fmt;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use polytls_core::{Error, MAX_FRAGMENT};
use zeroize::{Zeroize as _, Zeroizing};

use crate::fault::Fault;

/// Length of a record's header.
pub(crate) const HEADER: usize = 5;
/// Length of the tag of all three ciphers.
pub(crate) const TAG: usize = 16;
/// How many bytes sealing adds to a record's content: header, content type, tag.
pub const OVERHEAD: usize = HEADER + 1 + TAG;

/// The content types that may be inside a record after the handshake.
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// A cipher of TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    Chacha20Poly1305,
}

impl Cipher {
    /// How many records one key may seal (RFC 8446 section 5.5: 2^24.5 of full size for AES-GCM;
    /// rounded down. ChaCha20 has no limit that sequence numbers do not reach first).
    pub(crate) const fn limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::Chacha20Poly1305 => u64::MAX,
        }
    }
}

/// A traffic key and IV (RFC 8446 section 7.3), and the number of the next record.
pub struct TrafficKeys {
    /// What they are for.
    pub cipher: Cipher,
    /// The key; wiped when dropped.
    pub key: Zeroizing<Vec<u8>>,
    /// The IV; wiped as well.
    pub iv: Zeroizing<[u8; NONCE_LEN]>,
    /// The sequence number of the next record; 0 after a key update.
    pub sequence: u64,
}

impl fmt::Debug for TrafficKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficKeys")
            .field("cipher", &self.cipher)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// A key in use.
pub(crate) struct Direction {
    /// `None` once it is forgotten; aws-lc wipes it.
    key: Option<LessSafeKey>,
    iv: Zeroizing<[u8; NONCE_LEN]>,
    sequence: u64,
    limit: u64,
}

impl Direction {
    pub(crate) fn new(keys: &TrafficKeys) -> Result<Self, Error> {
        let algorithm = match keys.cipher {
            Cipher::Aes128Gcm => &AES_128_GCM,
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::Chacha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, &keys.key)
            .map_err(|_| Error::Internal("a traffic key of the wrong length".to_owned()))?;
        Ok(Self {
            key: Some(LessSafeKey::new(key)),
            iv: keys.iv.clone(),
            sequence: keys.sequence,
            limit: keys.cipher.limit(),
        })
    }

    /// Leaves nothing to seal or open with.
    pub(crate) fn forget(&mut self) {
        self.key = None;
        self.iv.zeroize();
        self.sequence = u64::MAX;
    }

    /// Whether this key must be changed before it seals more data. One record is left: for the
    /// KeyUpdate, or for the alert that ends the connection.
    pub(crate) const fn is_used_up(&self) -> bool {
        self.sequence.saturating_add(1) >= self.limit
    }

    /// Whether it can seal so many records of data more before it is used up.
    pub(crate) fn has_left(&self, records: usize) -> bool {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.sequence.saturating_add(records) < self.limit
    }

    /// The nonce of the next record; each is given once.
    fn next_nonce(&mut self) -> Option<Nonce> {
        let number = self.sequence;
        self.sequence = number.checked_add(1)?;
        let mut nonce = *self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Some(Nonce::assume_unique_for_key(nonce))
    }

    /// Seals one record into `record`, which has exactly [`OVERHEAD`] bytes more than `plaintext`.
    pub(crate) fn seal(
        &mut self,
        kind: u8,
        plaintext: &[u8],
        record: &mut [u8],
    ) -> Result<(), Error> {
        debug_assert!(plaintext.len() <= MAX_FRAGMENT);
        let used_up = || Error::Internal("a traffic key is used up".to_owned());
        let nonce = self.next_nonce().ok_or_else(used_up)?;
        let key = self.key.as_ref().ok_or_else(used_up)?;
        let (header, sealed) = record.split_at_mut(HEADER);
        header.copy_from_slice(&header_for(sealed.len()));
        let (ciphertext, kind_and_tag) = sealed.split_at_mut(plaintext.len());
        key.seal_out_of_place_scatter(
            nonce,
            Aad::from(&*header),
            plaintext,
            ciphertext,
            &[kind],
            kind_and_tag,
        )
        .map_err(|_| Error::Internal("a record could not be sealed".to_owned()))
    }

    /// Opens one record into `into`, which has exactly as many bytes as the inner plaintext: the
    /// ciphertext without its tag. Gives the content type and the length of the content, which
    /// is at the front.
    pub(crate) fn open_into(
        &mut self,
        record: &[u8],
        into: &mut [u8],
    ) -> Result<(u8, usize), Fault> {
        let nonce = self.next_nonce().ok_or(Fault::USED_UP)?;
        let key = self.key.as_ref().ok_or(Fault::USED_UP)?;
        let (header, sealed) = record.split_at(HEADER);
        let (ciphertext, tag) = sealed.split_at(sealed.len() - TAG);
        let opened = key.open_separate_gather(nonce, Aad::from(header), ciphertext, tag, into);
        let found = opened
            .map_err(|_| Fault::BAD_RECORD)
            .and_then(|()| content(into));
        if found.is_err() {
            // What is there was never authenticated, or is no content.
            into.fill(0);
        }
        found
    }
}

/// Opens one record with keys that nobody goes on with: gives its content type and content. `None`: it
/// was not sealed with these.
#[must_use]
pub fn open_alone(keys: &TrafficKeys, record: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut opened = vec![0; record.len().checked_sub(HEADER + TAG)?];
    let (kind, length) = Direction::new(keys)
        .ok()?
        .open_into(record, &mut opened)
        .ok()?;
    opened.truncate(length);
    Some((kind, opened))
}

fn header_for(sealed: usize) -> [u8; HEADER] {
    // At most 2^14 + 17.
    let [.., high, low] = sealed.to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

/// Removes padding: the last byte that is not zero is the content type (RFC 8446 section 5.4).
fn content(inner: &[u8]) -> Result<(u8, usize), Fault> {
    if inner.len() > MAX_FRAGMENT + 1 {
        return Err(Fault::OVERFLOW);
    }
    let length = inner.iter().rposition(|byte| *byte != 0);
    let length = length.ok_or(Fault::ONLY_PADDING)?;
    Ok((inner[length], length))
}
