//! Connections that change hands: TLS begins on one that exists (STARTTLS, HTTP CONNECT), ends and
//! leaves it to others (FTP's CCC), or lets go of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use polytls_core::{Connection, Error as TlsError, Role};

use crate::deadline::Timeout;
use crate::error::Error;
use crate::fork;
use crate::socket;
use crate::stream::Stream;
use crate::transport::Guard;
use crate::wait::Interrupt;

const UNREAD: TlsError =
    TlsError::Misuse("there is data that has not been received: receive it, then call again");

/// Begins TLS on a connected stream socket. `connection` is at its beginning; what the caller has
/// received of the peer's TLS is in it already.
///
/// A client speaks first: if the peer has sent anything by the time the first flight goes out, the
/// handshake fails with [`TlsError::PeerMisbehaved`].
///
/// # Errors
///
/// [`Error::Io`], above all ENOTCONN. The socket is closed then.
pub fn take_over(
    socket: OwnedFd,
    connection: Connection,
    timeout: Timeout,
) -> Result<Stream, Error> {
    fork::watch_forks()?;
    let peer = socket::take_over(&socket)?;
    let protocol = socket::protocol(&socket, peer);
    let mut stream = Stream::new(socket, connection, peer, timeout);
    stream.protocol = protocol;
    let mut transport = stream.lock()?;
    transport.speaks_first = transport.connection.role() == Role::Client;
    drop(transport);
    Ok(stream)
}

impl Stream {
    /// Ends TLS in both directions and gives the descriptor back, and what was received behind the
    /// peer's close_notify. This stream is closed then. The descriptor's own calls wait if the
    /// timeout is [`Timeout::Forever`].
    ///
    /// Nothing is received beyond the record that is under way; so what comes behind close_notify
    /// stays with the kernel, unless an earlier call has received it.
    ///
    /// # Errors
    ///
    /// [`TlsError::Misuse`]: there is data that was not received, which is kept; or the handshake
    /// is not complete, or reading was ended. [`TlsError::RaggedEof`], and as [`Stream::recv`].
    /// The stream is as it was, but for our close_notify, which may have been sent.
    pub fn unwrap(&self, interrupt: &mut dyn Interrupt) -> Result<(OwnedFd, Vec<u8>), Error> {
        let mut transport = self.lock()?;
        if transport.connection.failure().is_none() {
            if transport.connection.is_handshaking() {
                return Err(Error::Tls(TlsError::Misuse(
                    "unwrap() requires a completed handshake",
                )));
            }
            if transport.reading_has_ended() {
                return Err(Error::Tls(TlsError::Misuse(
                    "unwrap() needs to receive, but receiving was shut down",
                )));
            }
        }
        transport.exact = true;
        if transport.pending() > 0 || transport.connection.early_pending() > 0 {
            // Nothing was said yet.
            return Err(Error::Tls(UNREAD));
        }
        transport.closing = true;
        let ended = self.drive(transport, self.deadline(), interrupt, |transport| {
            let ended = transport.connection.shutdown();
            if transport.plaintext() > 0 {
                transport.closing = false;
                return Err(UNREAD);
            }
            let _ = transport.flush();
            ended?;
            if transport.has_unsent() {
                Err(TlsError::WantWrite)
            } else {
                Ok(())
            }
        });
        let (transport, ()) = ended?;
        let behind = transport.connection.unprocessed().to_vec();
        Ok((self.let_go(transport)?, behind))
    }

    /// Gives the descriptor away, with nothing said to the peer. This stream is closed then. Calls
    /// that wait for the peer go on waiting for it, and then give [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn detach(&self) -> Result<OwnedFd, Error> {
        let mut transport = self.lock()?;
        // What was accepted before.
        let _ = transport.flush();
        self.let_go(transport)
    }

    /// Another descriptor of the same socket, for what has to be asked of it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn duplicate(&self) -> Result<OwnedFd, Error> {
        let socket = self.lock()?.socket.clone().ok_or(Error::Closed)?;
        Ok(socket.try_clone()?)
    }

    fn let_go(&self, mut transport: Guard<'_>) -> Result<OwnedFd, Error> {
        let socket = transport.socket.as_ref().ok_or(Error::Closed)?;
        socket::set_blocking(socket, self.timeout() == Timeout::Forever)?;
        let given = match own(transport.socket.take().ok_or(Error::Closed)?) {
            Ok(given) => given,
            Err((socket, error)) => {
                transport.socket = Some(socket);
                return Err(error);
            }
        };
        self.descriptor.store(-1, Ordering::Release);
        for bell in transport.bystanders.drain(..) {
            bell.ring();
        }
        Ok(given)
    }
}

/// The descriptor itself; another one for the same socket while some thread waits for this one.
pub(crate) fn own(socket: Arc<OwnedFd>) -> Result<OwnedFd, (Arc<OwnedFd>, Error)> {
    Arc::try_unwrap(socket).or_else(|shared| match shared.try_clone() {
        Ok(given) => Ok(given),
        Err(error) => Err((shared, error.into())),
    })
}
