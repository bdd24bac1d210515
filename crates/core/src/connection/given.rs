//! A connection that moves on: from a buffer in memory to what drives it over a transport.

use super::{Connection, Role};
use crate::alert::Alert;
use crate::buffers::{Inbound, Outbound};
use crate::config::Version;
use crate::error::Error;
use crate::facts::Facts;
use crate::plaintext::Sink;
use crate::session::{Progress, Session};

const GIVEN: Error = Error::Misuse("this buffer now belongs to a socket");

/// What is left behind. The connection around it has failed, so that nothing of it is called but facts.
struct Nothing;

impl Session for Nothing {
    fn is_handshaking(&self) -> bool {
        true
    }

    fn receive(
        &mut self,
        _: &mut Inbound<'_>,
        _: &mut Sink<'_>,
        _: &mut Outbound,
    ) -> Result<Progress, Error> {
        Err(GIVEN)
    }

    fn seal(&mut self, _: &[u8], _: &mut Outbound) -> Result<(), Error> {
        Err(GIVEN)
    }

    fn close(&mut self, _: &mut Outbound) -> Result<Progress, Error> {
        Err(GIVEN)
    }

    fn send_alert(&mut self, _: Alert, _: &[u8], _: &mut Outbound) -> Result<(), Error> {
        Err(GIVEN)
    }

    fn version(&self) -> Option<Version> {
        None
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

impl Connection {
    /// Takes the connection out; calls on what is left give [`Error::Misuse`].
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`]: it was taken before.
    pub fn take(&mut self) -> Result<Self, Error> {
        if self.failure == Some(GIVEN) {
            return Err(GIVEN);
        }
        let mut left = Self::new(Box::new(Nothing), Role::Client);
        left.failure = Some(GIVEN);
        Ok(std::mem::replace(self, left))
    }
}
