//! What a child may do with what its parent made. In a process of its own, as it forks.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the kit serves other tests, too")]
#![allow(unsafe_code)]

#[path = "it/kit.rs"]
mod kit;
#[path = "it/plain.rs"]
mod plain;

use std::net::Shutdown;
use std::sync::Arc;
use std::thread;

use kit::*;
use polytls_io::{Error, Timeout};

/// Forks; `child` tells what went wrong there by a number above 0.
fn in_child(child: impl FnOnce() -> i32) {
    // SAFETY: the child calls nothing that waits for a lock of another thread's, but for the
    // allocator's, which its library makes anew; and leaves without running what others left.
    let process = unsafe { libc::fork() };
    assert!(process >= 0);
    if process == 0 {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(99);
        // SAFETY: it never returns.
        unsafe { libc::_exit(failed) };
    }
    let mut status = 0;
    // SAFETY: the status is ours.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(waited, process);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "which step failed");
}

/// The number of the first step that did not hold, 0 if all did.
fn first_wrong(steps: &[bool]) -> i32 {
    let wrong = steps.iter().position(|holds| !holds);
    wrong.map_or(0, |index| i32::try_from(index).unwrap() + 1)
}

fn inherited<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Inherited))
}

fn is_open(descriptor: i32) -> bool {
    // SAFETY: it only asks.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

/// One test: others of this process would be forked in whatever state they are in.
#[test]
fn connections_stay_with_the_parent_and_unused_listeners_go_with_both() {
    within_limits(|| {
        let unused = listener();
        let used = listener();
        let address = used.local_address().unwrap();
        let dialling = thread::spawn(move || dial(address).unwrap());
        let server = Arc::new(accept(&used).unwrap());
        let client = Arc::new(dialling.join().unwrap());
        // Threads that wait, and one that holds the lock of a connection now and then.
        let reader = {
            let client = Arc::clone(&client);
            thread::spawn(move || recv(&client, 10))
        };
        let locked = Arc::clone(&server);
        let asking = thread::spawn(move || {
            while locked.descriptor() >= 0 {
                let _ = locked.facts();
            }
        });
        for _ in 0..20 {
            in_child(|| {
                let ignored = &mut || false;
                let descriptors = [client.descriptor(), server.descriptor(), used.descriptor()];
                let mut steps = vec![
                    inherited(&recv(&client, 1)),
                    inherited(&send_all(&client, b"x")),
                    inherited(&server.facts()),
                    inherited(&server.local_address()),
                    inherited(&server.update_keys()),
                    inherited(&server.unwrap(ignored)),
                    inherited(&server.detach()),
                    inherited(&server.shutdown(Shutdown::Both, ignored)),
                    inherited(&server.do_handshake(ignored)),
                    inherited(&server.pending()),
                    inherited(&server.outgoing_len()),
                    inherited(&server.ask(|_| ())),
                    inherited(&accept(&used)),
                    inherited(&used.local_address()),
                    inherited(&used.detach()),
                    close(&client, false).is_ok(),
                    close(&client, true).is_ok(),
                    client.descriptor() == -1,
                    !is_open(descriptors[0]),
                ];
                used.close();
                steps.push(!is_open(descriptors[2]));
                unused.set_timeout(Timeout::NonBlocking);
                steps.push(unused.local_address().is_ok());
                steps.push(matches!(accept(&unused), Err(Error::WantRead)));
                first_wrong(&steps)
            });
        }
        send_all(&server, b"goes on").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"goes on");
        close(&client, true).unwrap();
        assert_eq!(recv(&server, 10).unwrap(), b"");
        close(&server, true).unwrap();
        asking.join().unwrap();

        // The parent goes on with a listener that a child has used as well, and that child's
        // children do not.
        in_child(|| {
            unused.set_timeout(Timeout::NonBlocking);
            let _ = accept(&unused);
            in_child(|| i32::from(!inherited(&accept(&unused))));
            0
        });
        let address = unused.local_address().unwrap();
        let dialling = thread::spawn(move || dial(address).unwrap());
        let server = accept(&unused).unwrap();
        send_all(&dialling.join().unwrap(), b"here").unwrap();
        assert_eq!(recv(&server, 10).unwrap(), b"here");
    });
}
