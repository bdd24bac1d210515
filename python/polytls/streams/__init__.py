"""TLS over anything: sockets made of any implementation's buffer and any byte stream (`wrap`).

They are also the sockets of implementations that have buffers alone (`connect`, `listen`). A
connection is a driver (`polytls.driver`), what carries its bytes, and rules about who may do what
when. They are those of the native sockets (crates/io), and so are the outcomes:

1. The descriptor is non-blocking inside, whatever the timeout. A wait holds no lock. Under the lock
   there are system calls that return at once, and the work of at most 16 full records. A stream of
   which that cannot be had is called while waiting (`carrier.py`).
2. Ciphertext is sent in the order in which it was sealed, by whichever call comes next. A call that
   timed out or was interrupted loses none of it.
3. What the peer said before it went away is read before the error that says it went away.
4. Any method may be called from any thread at any time, in the process that made it.

```text
 connect, upgrade --> connection <-- listener     handshakes in progress
                           |
                        endings                   close, shutdown, unwrap
                           |
                         turns                    the lock; who waits, and who waits for that thread
                           |
                       transport                  driver + carrier, faults, farewell: nothing waits
                           |
                        carrier                   the byte stream, whatever it can do
                           |
                        waiting                   deadlines, poll(2), bells: nothing is locked
```

Turns. A reader and a writer do not meet: each waits for its own direction. Two that wait for the
same direction would: one could take what both were woken for, leave with half of it, and the other
would sleep although its data is here. So one thread at a time has the turn to receive, and one that
to seal and to wait for sending; a handshake takes both, the turn to receive first. Who has a turn
finds everything that came for it; who wants one waits for a lock, within its own time. A reader
sends on the way if nobody else is about to.
"""

from .connect import connect
from .connection import StreamSocket
from .endings import CLOSE_TIMEOUT
from .listener import HANDSHAKE_LIMIT, HANDSHAKE_TIMEOUT, StreamListener, listen
from .turns import LINGER
from .unwrapped import UnwrappedSocket, UnwrappedStream
from .upgrade import begins_hello, port_below, wrap
from .waiting import Deadline

__all__ = [
    "CLOSE_TIMEOUT",
    "HANDSHAKE_LIMIT",
    "HANDSHAKE_TIMEOUT",
    "LINGER",
    "Deadline",
    "StreamListener",
    "StreamSocket",
    "UnwrappedSocket",
    "UnwrappedStream",
    "begins_hello",
    "connect",
    "listen",
    "port_below",
    "wrap",
]
