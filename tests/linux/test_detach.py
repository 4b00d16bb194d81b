"""What is left behind by a program that starts a daemon."""

import os
from pathlib import Path

from sacip_tun.linux.detach import detached, let_go


def say(writer, text):
    os.write(writer, text.encode())
    os.close(writer)
    return 0


def test_what_a_daemon_says_is_heard_and_it_leads_no_session_of_ours():
    def run(writer):
        let_go(0)
        led = os.getsid(0) == os.getpid()
        return say(
            writer, f"{os.getsid(0)} {led} {Path.cwd()} {Path('/proc/self/fd/0').readlink()}"
        )

    session, *others = detached(run).decode().split()
    assert int(session) != os.getsid(0)
    assert others == ["False", "/", "/dev/null"]


def test_one_that_dies_has_said_nothing():
    assert detached(lambda _writer: 1) == b""
