//! Hears every secret that rustls derives: keeps what `secrets` needs of them with the connection that is being
//! called (`observe`), and hands all to the key log, if there is one.

use std::sync::Arc;

use polytls_core::config::KeyLog;
use rustls::crypto::tls13::OkmBlock;

use crate::observe;
use crate::secrets::Exporter;

const EXPORTER_SECRET: &str = "EXPORTER_SECRET";
const MASTER_SECRET: &str = "CLIENT_RANDOM";
const CLIENT_HANDSHAKE_SECRET: &str = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
const SERVER_HANDSHAKE_SECRET: &str = "SERVER_HANDSHAKE_TRAFFIC_SECRET";

/// Sees every secret; keeps what exporters need, hands all to the key log.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) Option<Arc<dyn KeyLog>>);

impl rustls::KeyLog for Listener {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if (label == EXPORTER_SECRET || label == MASTER_SECRET)
            && let Ok(client_random) = client_random.try_into()
            && secret.len() <= OkmBlock::MAX_LEN
        {
            observe::note(|seen| {
                seen.exporter = Some(Box::new(Exporter {
                    secret: OkmBlock::new(secret),
                    client_random,
                }));
            });
        }
        if label == CLIENT_HANDSHAKE_SECRET || label == SERVER_HANDSHAKE_SECRET {
            observe::note(|seen| {
                if let Some(secrets) = &mut seen.handshake_secrets
                    && secret.len() <= OkmBlock::MAX_LEN
                {
                    let kept = Some(OkmBlock::new(secret));
                    if label == CLIENT_HANDSHAKE_SECRET {
                        secrets.client = kept;
                    } else {
                        secrets.server = kept;
                    }
                }
            });
        }
        if let Some(key_log) = &self.0 {
            key_log.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        self.0.is_some()
            || [
                EXPORTER_SECRET,
                MASTER_SECRET,
                CLIENT_HANDSHAKE_SECRET,
                SERVER_HANDSHAKE_SECRET,
            ]
            .contains(&label)
    }
}
