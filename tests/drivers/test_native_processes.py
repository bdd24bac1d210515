"""What the native sockets do about processes: forks, and descriptors that run out.

Each case runs in a process of its own, where no thread of another test is.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
    import errno, os, resource, select, socket, sys, threading, time
    import polytls
    from polytls.testing import CertificateAuthority, tie

    ca = CertificateAuthority()
    tls = polytls.implementation("rustls")
    client = tls.client_context(polytls.TLSClientConfiguration(trust_store=ca.trust_store()))
    server = tls.server_context(polytls.TLSServerConfiguration([ca.issue("localhost")]))

    def child(work):
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(process):
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100))

    def ask(listener, context=client):
        with context.connect(("localhost", listener.getsockname()[1])) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"hello"
            return connection.info.resumed
"""


def run(case: str) -> str:
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(case)
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_workers_resume_each_others_sessions_and_forget_a_clients() -> None:
    run("""
    with server.connect(("localhost", 0)) as listener:
        # Tickets of each worker are good for the next, which has never seen the client.
        for number in range(3):
            worker = child(lambda: serve(listener))
            assert ask(listener) == (number > 0)
            wait(worker)
        # A child has no sessions of its parent's; the parent still has them.
        worker = child(lambda: [serve(listener), serve(listener)])
        asking = child(lambda: sys.exit(1) if ask(listener) else None)
        wait(asking)
        assert ask(listener)
        wait(worker)
    """)


def test_sessions_without_tickets_are_forgotten_as_well() -> None:
    run("""
    old = polytls.TLSVersion.TLSv1_2
    client = tls.client_context(polytls.TLSClientConfiguration(
        trust_store=ca.trust_store(), highest_supported_version=old))
    with server.connect(("localhost", 0)) as listener:
        worker = child(lambda: [serve(listener) for _ in range(3)])
        assert [ask(listener, client) for _ in range(3)] == [False, True, True]
        wait(worker)
    """)


def test_children_wait_for_no_lock_that_a_thread_of_the_parent_had() -> None:
    run("""
    import warnings
    # Newer versions warn of forks where there are threads. That is what this is about.
    warnings.simplefilter("ignore", DeprecationWarning)
    stop = threading.Event()

    def handshakes():
        pair = tie(client.create_buffer("localhost"), server.create_buffer())
        assert pair.send(pair.server, b"hello") == b"hello"

    def hammer():
        while not stop.is_set():
            handshakes()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            wait(child(lambda: [handshakes() for _ in range(3)]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    """)


def test_children_do_not_wait_for_a_thread_of_the_parent_that_reads_the_systems_trust() -> None:
    run("""
    import signal, ssl, tempfile, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    pem = ssl.DER_cert_to_PEM_cert(ca.certificate_der)

    def trust(path):
        os.environ["SSL_CERT_FILE"] = path
        tls.client_context(polytls.TLSClientConfiguration())

    def trust_in_time(path):
        signal.alarm(60)
        trust(path)

    with tempfile.TemporaryDirectory() as folder:
        bundle, pipe = (os.path.join(folder, name) for name in ("bundle", "pipe"))
        with open(bundle, "w") as file:
            file.write(pem)
        os.mkfifo(pipe)
        reader = threading.Thread(target=trust, args=(pipe,))
        reader.start()
        with open(pipe, "w") as writer:  # Once the thread reads.
            wait(child(lambda: trust_in_time(bundle)))
            writer.write(pem)
        reader.join()
    """)


def test_a_buffer_is_of_the_process_that_made_it() -> None:
    run("""
    pair = tie(client.create_buffer("localhost"), server.create_buffer())

    def use():
        for call in (
            lambda: pair.client.write(b"x"),
            lambda: pair.client.read(1),
            lambda: pair.client.do_handshake(),
            lambda: pair.client.process_outgoing(1),
            lambda: pair.client.process_incoming(b"x"),
            lambda: pair.client.cipher(),
            lambda: pair.client.update_keys(),
        ):
            try:
                call()
            except polytls.TLSError as error:
                assert "fork" in str(error)
            else:
                raise AssertionError("it was used")

    wait(child(use))
    assert pair.send(pair.client, b"goes on") == b"goes on"
    """)


def test_a_listener_that_was_accepted_from_is_the_parents() -> None:
    run("""
    with server.connect(("localhost", 0)) as listener:
        silent = socket.create_connection(listener.getsockname())
        listener.settimeout(0.05)
        try:
            listener.accept()
        except TimeoutError:
            pass

        def use():
            for call in (listener.accept, listener.getsockname, lambda: listener.listen(5)):
                try:
                    call()
                except polytls.TLSError as error:
                    assert "before the fork" in str(error)
                else:
                    raise AssertionError("it was used")
            descriptor = listener.fileno()
            listener.close()
            assert listener.fileno() == -1
            try:
                os.fstat(descriptor)
            except OSError as error:
                assert error.errno == errno.EBADF
            else:
                raise AssertionError("it is still open")

        wait(child(use))
        # Its handshake was neither ended nor taken away by the child.
        listener.settimeout(None)
        with client.wrap_socket(silent, "localhost", do_handshake_on_connect=False) as over:
            accepting = threading.Thread(target=lambda: serve(listener), daemon=True)
            accepting.start()
            over.sendall(b"hello")
            assert over.recv(100) == b"hello"
            accepting.join()
    """)


def test_a_child_that_is_done_with_a_connection_says_nothing() -> None:
    run("""
    with server.connect(("localhost", 0)) as listener:
        held = []
        accepting = threading.Thread(target=lambda: held.append(listener.accept()[0]))
        accepting.start()
        connection = client.connect(("localhost", listener.getsockname()[1]))
        accepting.join()
        accepted = held[0]

        def leave():
            connection.close()
            with accepted:
                pass

        def drop():
            global connection, accepted
            held.clear()
            del connection, accepted

        for way in (leave, drop):
            wait(child(way))
        with connection, accepted:
            for one, other in ((connection, accepted), (accepted, connection)):
                one.sendall(b"goes on")
                assert other.recv(100) == b"goes on"
    """)


FULL = """
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    def fill():
        taken = []
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                assert error.errno == errno.EMFILE
                return taken
"""


@pytest.mark.parametrize("does_handshakes", [True, False])
def test_a_listener_out_of_descriptors_says_so_without_spinning_and_goes_on(
    does_handshakes: bool,
) -> None:
    errors = run(f"""
    {FULL}
    listener = server.connect(("localhost", 0), do_handshake_on_accept={does_handshakes})
    dialled = socket.create_connection(listener.getsockname())
    taken = fill()
    until, errors = time.monotonic() + 1, 0
    while time.monotonic() < until:
        try:
            listener.accept()
        except OSError as error:
            assert error.errno == errno.EMFILE, error
            errors += 1
    for each in taken:
        os.close(each)
    with listener, client.wrap_socket(dialled, "localhost", do_handshake_on_connect=False) as over:
        serving = threading.Thread(target=serve, args=[listener])
        serving.start()
        over.sendall(b"hello")
        assert over.recv(100) == b"hello"
        serving.join()
    print(errors)
    """)
    # Ten in a second; more would be a loop that does nothing else.
    assert 1 <= int(errors) <= 11


def test_handshakes_in_progress_go_on_without_descriptors() -> None:
    run(f"""
    {FULL}
    listener = server.connect(("localhost", 0))
    first = socket.create_connection(listener.getsockname())
    listener.settimeout(0.05)
    try:
        listener.accept()
    except TimeoutError:
        pass
    second = socket.create_connection(listener.getsockname())
    over = client.wrap_socket(first, "localhost", do_handshake_on_connect=False)
    listener.settimeout(None)
    serving = threading.Thread(target=serve, args=[listener])
    taken = fill()
    serving.start()
    # That the second client cannot be accepted is not an error while there is work for accept.
    over.sendall(b"hello")
    assert over.recv(100) == b"hello"
    serving.join()
    for each in taken:
        os.close(each)
    with over, second, listener:
        pass
    """)


HELD = """
    begun, released = threading.Event(), threading.Event()

    def verify(peer):
        if not begun.is_set():
            begun.set()
            released.wait(60)

    listening = polytls.TLSServerConfiguration(
        [ca.issue("localhost")],
        trust_store=ca.trust_store(),
        client_authentication=polytls.ClientAuthentication.REQUIRED,
        peer_verifier=verify,
    )
    client = tls.client_context(
        polytls.TLSClientConfiguration(ca.issue("client"), trust_store=ca.trust_store())
    )
    listener = tls.server_context(listening).connect(("localhost", 0))
    accepting = threading.Thread(target=lambda: serve(listener), daemon=True)
    accepting.start()
    slow = client.connect(("localhost", listener.getsockname()[1]))
    assert begun.wait(60)
    tasks = "/proc/self/task"
"""


def test_a_child_closes_what_it_inherits_while_a_verifier_is_busy() -> None:
    run(
        HELD
        + """
    def leave():
        global listener
        descriptor = listener.fileno()
        listener.close()
        assert listener.fileno() == -1
        try:
            os.fstat(descriptor)
        except OSError as error:
            assert error.errno == errno.EBADF
        else:
            raise AssertionError("still open")
        del listener

    wait(child(leave))
    # The parent goes on.
    assert ask(listener, client) is False
    accepting.join()
    released.set()
    connection, _ = listener.accept()
    connection.close(force=True)
    slow.close(force=True)
    listener.close()
    if os.path.isdir(tasks):
        until = time.monotonic() + 60
        while len(os.listdir(tasks)) > 1:
            assert time.monotonic() < until
            time.sleep(0.01)
    """
    )


def test_a_process_ends_while_a_verifier_is_busy() -> None:
    run(
        HELD
        + """
    assert ask(listener, client) is False
    accepting.join()
    slow.close(force=True)
    listener.close()
    """
    )
