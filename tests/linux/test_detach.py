"""What is left behind by a program that starts a daemon."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from sacip_tun.linux.detach import detached, let_go


def say(teller, text):
    teller.sendall(text.encode())
    teller.close()
    return 0


def test_what_a_daemon_says_is_heard_and_it_leads_no_session_of_ours():
    def run(teller):
        let_go(0)
        led = os.getsid(0) == os.getpid()
        return say(
            teller, f"{os.getsid(0)} {led} {Path.cwd()} {Path('/proc/self/fd/0').readlink()}"
        )

    session, *others = detached(run).decode().split()
    assert int(session) != os.getsid(0)
    assert others == ["False", "/", "/dev/null"]


def test_one_that_dies_has_said_nothing():
    assert detached(lambda _teller: 1) == b""


@pytest.fixture
def interruptible():
    """SIGINT as it is in a terminal: whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_interrupts_the_waiting_is_heard_there_and_waits_for_its_end(tmp_path):
    asked = tmp_path / "asked"

    def run(teller):
        assert teller.recv(1) == b"", "it is the end"
        time.sleep(0.2)
        asked.touch()
        return 0

    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        detached(run)
    assert asked.exists()
