"""Network namespaces for tests that send real packets."""

import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count()


class Namespace:
    """A network namespace with its loopback up. `entered()` moves this thread into it."""

    def __init__(self):
        self.name = f"sacip-{os.getpid()}-{next(numbers)}"
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        # No duplicate detection: it takes a second or two, and has tests of its own.
        self.sysctl("net.ipv6.conf.default.accept_dad=0")

    def ip(self, arguments):
        return run("ip", "-n", self.name, *arguments.split())

    def sysctl(self, setting):
        run("ip", "netns", "exec", self.name, "sysctl", "-qw", setting)

    @contextmanager
    def entered(self):
        """The files of a namespace are opened first, so that there is always a way back."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there)
            yield self
        finally:
            setns(here)
            os.close(here)
            os.close(there)


def setns(descriptor):
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@pytest.fixture
def make_namespace() -> Iterator[type[Namespace]]:
    """A function that makes namespaces, deleted after the test."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = []

    def make():
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        if Path(f"/run/netns/{namespace.name}").exists():
            run("ip", "netns", "del", namespace.name)


@pytest.fixture
def namespace(make_namespace):
    """One namespace, entered for the time of the test."""
    with make_namespace().entered() as entered:
        yield entered
