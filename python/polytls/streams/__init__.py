"""TLS sockets for implementations that have buffers alone: a driver over a byte stream.

A connection is a driver (`polytls.driver`), a byte stream that never blocks, and rules about who
may do what when. They are those of the native sockets (crates/io), and so are the outcomes:

1. The descriptor is non-blocking inside, whatever the timeout. A wait holds no lock. Under the lock
   there are system calls that return at once, and the work of at most 16 full records.
2. Ciphertext is sent in the order in which it was sealed, by whichever call comes next. A call that
   timed out or was interrupted loses none of it.
3. What the peer said before it went away is read before the error that says it went away.
4. Any method may be called from any thread at any time.

```text
 connect --> connection <-- listener     handshakes in progress
                 |
               turns                     the lock; who waits, and who waits for that thread
                 |
             transport                   driver + byte stream, faults, farewell: nothing waits
                 |
              waiting                    deadlines, poll(2), bells: nothing is locked
```

Turns. A reader and a writer do not meet: each waits for its own direction. Two that wait for the
same direction would: one could take what both were woken for, leave with half of it, and the other
would sleep although its data is here. So one thread at a time has the turn to receive, and one that
to seal and to wait for sending; a handshake takes both, the turn to receive first. Who has a turn
finds everything that came for it; who wants one waits for a lock, within its own time. A reader
sends on the way if nobody else is about to.
"""

from .connect import connect
from .connection import CLOSE_TIMEOUT, StreamSocket
from .listener import HANDSHAKE_LIMIT, HANDSHAKE_TIMEOUT, StreamListener, listen
from .transport import ByteStream
from .turns import LINGER
from .waiting import Deadline

__all__ = [
    "CLOSE_TIMEOUT",
    "HANDSHAKE_LIMIT",
    "HANDSHAKE_TIMEOUT",
    "LINGER",
    "ByteStream",
    "Deadline",
    "StreamListener",
    "StreamSocket",
    "connect",
    "listen",
]
