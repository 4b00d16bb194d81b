"""Errors that a user can cure.

SetupError
├── TunError        the TUN interface cannot be opened
├── SocketError     the UDP port cannot be had
└── InterfaceError  addresses, MTU or routes cannot be set
"""


class SetupError(Exception):
    """What went wrong, and what to do about it.

    `missing` is true where a privilege or /dev/net/tun is missing: exit code 4.
    """

    def __init__(self, cause: str, fix: str, *, missing: bool = False) -> None:
        super().__init__(f"{cause}; {fix}")
        self.cause = cause
        self.fix = fix
        self.missing = missing


class TunError(SetupError):
    """The TUN interface cannot be opened."""


class SocketError(SetupError):
    """The UDP port cannot be had."""


class InterfaceError(SetupError):
    """Addresses, MTU or routes cannot be set."""
