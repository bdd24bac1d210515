//! Records that others made: the trace of RFC 8448 section 3.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use polytls_core::config::Version;
use polytls_core::{
    Alert, Connection, Error, Facts, Inbound, Outbound, Progress, Role, Session, Sink,
};
use polytls_records::{Cipher, KeySource, RecordLayer, TrafficKeys};

const CLIENT_RECORD: &str = "17 03 03 00 43 a2 3f 70 54 b6 2c 94
    d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b
    98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62
    92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
const SERVER_RECORD: &str = "17 03 03 00 43 2e 93 7e 11 ef 4a c7
    40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3
    0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5
    f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d";
const CLIENT_CLOSE: &str = "17 03 03 00 13 c9 87 27 60 65 56 66
    b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3";

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_ascii_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn keys(key: &str, iv: &str, sequence: u64) -> TrafficKeys {
    TrafficKeys {
        cipher: Cipher::Aes128Gcm,
        key: bytes(key).into(),
        iv: <[u8; 12]>::try_from(bytes(iv)).unwrap().into(),
        sequence,
    }
}

struct NoMore;

impl KeySource for NoMore {
    fn next_sending(&mut self) -> Result<TrafficKeys, Error> {
        Err(Error::Internal("no more".to_owned()))
    }

    fn next_receiving(&mut self) -> Result<TrafficKeys, Error> {
        Err(Error::Internal("no more".to_owned()))
    }

    fn ticket(&mut self, _body: &[u8]) -> Result<(), (Alert, Error)> {
        Ok(())
    }
}

struct Traced(RecordLayer<NoMore>);

impl Session for Traced {
    fn is_handshaking(&self) -> bool {
        false
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        self.0.receive(inbound.bytes(), plaintext, out)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.0.seal(plaintext, out)
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        self.0.close(out)?;
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, _: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.0.send_alert(alert, out)
    }

    fn version(&self) -> Option<Version> {
        Some(Version::Tls13)
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

#[test]
fn the_client_of_rfc_8448_seals_and_opens() {
    let layer = RecordLayer::new(
        NoMore,
        &keys(
            "17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51",
            "5b 78 92 3d ee 08 57 90 33 e5 23 d9",
            0,
        ),
        // The server has sealed a ticket before.
        &keys(
            "9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56",
            "cf 78 2b 88 dd 83 54 9a ad f1 e9 84",
            1,
        ),
        true,
    )
    .unwrap();
    let session = Traced(layer);
    let mut client = Connection::new(Box::new(session), Role::Server);
    let data: Vec<u8> = (0..50).collect();
    assert_eq!(client.write(&data), Ok(50));
    client.send_close_notify().unwrap();
    assert_eq!(
        client.outgoing(),
        [bytes(CLIENT_RECORD), bytes(CLIENT_CLOSE)].concat()
    );
    client.process_incoming(&bytes(SERVER_RECORD)).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(client.read(&mut buffer), Ok(50));
    assert_eq!(buffer[..50], data);
}

#[test]
fn keys_that_do_not_fit_their_cipher_are_an_error_of_ours() {
    for cipher in support::CIPHERS {
        let good = support::keys(cipher, support::Side::Ours, 0, 0);
        let mut bad = support::keys(cipher, support::Side::Ours, 0, 0);
        bad.key.pop();
        for (sending, receiving) in [(&good, &bad), (&bad, &good)] {
            let layer = RecordLayer::new(NoMore, sending, receiving, true);
            assert!(matches!(layer, Err(Error::Internal(_))));
        }
    }
}
