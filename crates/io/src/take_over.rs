//! Connections that change hands: TLS begins on one that exists (STARTTLS, HTTP CONNECT), ends and
//! leaves it to others (FTP's CCC), or lets go of it.

use rustix::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use polytls_core::{Connection, Error as TlsError, Role};
use rustix::io::Errno;

use crate::address::Address;
use crate::deadline::Timeout;
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::fork;
use crate::link::Guard;
use crate::socket;
use crate::stream::Stream;
use crate::system::number::Number;
use crate::system::socket::protocol;
use crate::transport::Transport;
use crate::wait::Interrupt;

const UNREAD: TlsError = TlsError::Misuse("unread data remains: receive it, then call again");

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
    let protocol = protocol(&socket, peer);
    let mut stream = Stream::new(Descriptor::owned(socket, peer), connection, peer, timeout);
    stream.protocol = protocol;
    stream.speak_first()?;
    Ok(stream)
}

impl Stream {
    /// TLS over a connected stream socket that stays somebody else's: it is not closed, shut down or made
    /// non-blocking, and calls on it never wait but in poll(2). `connection` is at its beginning. What the
    /// peer has sent before is not looked at.
    ///
    /// Timeouts are not the descriptor's: [`Stream::set_timeout`] before a call says how long that may wait.
    /// Dropping or closing the stream lets go of the descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], above all ENOTCONN.
    pub fn lent(descriptor: BorrowedFd<'static>, connection: Connection) -> Result<Self, Error> {
        fork::watch_forks()?;
        let peer = socket::peer_address(descriptor)?;
        let protocol = protocol(descriptor, peer);
        let lent = Descriptor::lent(descriptor);
        let mut stream = Self::new(lent, connection, peer, Timeout::NonBlocking);
        stream.protocol = protocol;
        Ok(stream)
    }

    /// TLS over a transport of the caller's, which is closed with the stream. `descriptor`: what others may
    /// wait for in its place, -1 if there is none. `peer` and the protocol's number are only told again.
    /// `connection`, `timeout`: as [`take_over`] has them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: no memory.
    pub fn over(
        transport: Arc<dyn Transport>,
        descriptor: Number,
        connection: Connection,
        (peer, protocol): (Address, u32),
        timeout: Timeout,
    ) -> Result<Self, Error> {
        fork::watch_forks()?;
        let mut stream = Self::around(transport, descriptor, connection, peer, timeout);
        stream.protocol = protocol;
        stream.speak_first()?;
        Ok(stream)
    }

    fn speak_first(&self) -> Result<(), Error> {
        let mut link = self.lock()?;
        link.speaks_first = link.connection.role() == Role::Client && !link.connection.has_begun();
        Ok(())
    }

    /// From now on no call receives more than the record that is under way: what has come behind it stays
    /// with the system, so that the descriptor is readable as long as there is something to receive.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Inherited`].
    pub fn receive_by_records(&self) -> Result<(), Error> {
        self.lock()?.exact = true;
        Ok(())
    }

    /// Ends TLS in both directions and gives the descriptor back, if it was the stream's, and what was
    /// received behind the peer's close_notify. This stream is closed then. The descriptor's own calls wait
    /// if the timeout is [`Timeout::Forever`].
    ///
    /// Nothing is received beyond the record that is under way; so what comes behind close_notify
    /// stays with the kernel, unless an earlier call has received it.
    ///
    /// # Errors
    ///
    /// [`TlsError::Misuse`]: there is data that was not received, which is kept; or the handshake
    /// is not complete, or reading was ended. [`TlsError::RaggedEof`], and as [`Stream::recv`].
    /// The stream is as it was, but for our close_notify, which may have been sent.
    pub fn unwrap(
        &self,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(Option<OwnedFd>, Vec<u8>), Error> {
        let mut link = self.lock()?;
        if link.connection.failure().is_none() {
            if link.connection.is_handshaking() {
                return Err(Error::Tls(TlsError::Misuse(
                    "unwrap() requires a completed handshake",
                )));
            }
            if link.reading_has_ended() {
                return Err(Error::Tls(TlsError::Misuse(
                    "unwrap() needs to receive, but receiving was shut down",
                )));
            }
        }
        link.exact = true;
        if link.pending() > 0 || link.connection.early_pending() > 0 {
            // Nothing was said yet.
            return Err(Error::Tls(UNREAD));
        }
        link.closing = true;
        let ended = self.drive(link, self.deadline(), interrupt, |link| {
            let ended = link.connection.shutdown();
            if link.connection.pending() > 0 {
                link.closing = false;
                return Err(UNREAD);
            }
            let _ = link.flush();
            ended?;
            if link.has_unsent() {
                Err(TlsError::WantWrite)
            } else {
                Ok(())
            }
        });
        let (link, ()) = ended?;
        let mut behind = link.connection.unprocessed().to_vec();
        if let Some(transport) = &link.transport {
            behind.extend(transport.unread());
        }
        Ok((self.let_go(link)?, behind))
    }

    /// Gives the descriptor away, if it is the stream's, with nothing said to the peer. This stream is closed then. Calls
    /// that wait for the peer go on waiting for it, and then give [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn detach(&self) -> Result<Option<OwnedFd>, Error> {
        let mut link = self.lock()?;
        // What was accepted before.
        let _ = link.flush();
        self.let_go(link)
    }

    /// Another descriptor of the same socket, for what has to be asked of it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn duplicate(&self) -> Result<OwnedFd, Error> {
        let link = self.lock()?;
        let transport = link.transport.as_ref().ok_or(Error::Closed)?;
        let socket = transport.socket().ok_or(Errno::NOTSOCK)?;
        Ok(socket.try_clone_to_owned()?)
    }

    fn let_go(&self, mut link: Guard<'_>) -> Result<Option<OwnedFd>, Error> {
        let transport = link.transport.take().ok_or(Error::Closed)?;
        match Descriptor::take(transport, self.timeout() == Timeout::Forever) {
            Ok(given) => {
                self.note_closed(link);
                Ok(given)
            }
            Err((transport, error)) => {
                link.transport = Some(transport);
                Err(error)
            }
        }
    }
}
