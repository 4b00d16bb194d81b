"""sacip-wg: what wireguard-go is to wg-quick and to scripts, with the same command line.

    sacip-wg [-f|--foreground] INTERFACE-NAME
    sacip-wg --version

The interface is made, and down; `wg` and `ip` do the rest. It returns when both the interface and
its socket /var/run/wireguard/NAME.sock serve. It ends with SIGINT or SIGTERM, and when the
interface or the socket is removed. From the environment come LOG_LEVEL (verbose, debug, error or
silent), WG_TUN_FD, WG_UAPI_FD and WG_PROCESS_FOREGROUND=1.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import sacip_tun
from sacip_tun.cli.ending import end

if TYPE_CHECKING:
    import socket

    from sacip_tun.linux.tun import Tun
    from sacip_tun.linux.unix import Listener

# Exit codes and words are wireguard-go's: also that a wrong command line ends with 0.
DONE, FAILED = 0, 1
VERSION = f"""\
sacip-wg v{sacip_tun.__version__}

Userspace WireGuard daemon for linux-{os.uname().machine}.
"""
TUN_FD, UAPI_FD = "WG_TUN_FD", "WG_UAPI_FD"
# Bytes: an outer network of 1500 less what IPv6, UDP and WireGuard add (wireguard-go: DefaultMTU).
MTU = 1420
# What goes wrong beside a request or a packet: told at level `error` too.
ERRORS = frozenset({"fault", "send-refused", "request-refused", "routing-loop", "unresolved"})


def program() -> NoReturn:
    """Be the program `sacip-wg`: do what was typed, and end with its exit code."""
    end(main())


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Run sacip-wg, and return its exit code."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    if line == ["--version"]:
        print(VERSION, end="")
        return DONE
    foreground = line[:1] in (["-f"], ["--foreground"])
    names = line[1:] if foreground else line
    if len(names) != 1 or names[0].startswith("-"):
        print(f"Usage: {sys.argv[0]} [-f/--foreground] INTERFACE-NAME")
        return DONE
    level = environment.get("LOG_LEVEL", "")
    if foreground or environment.get("WG_PROCESS_FOREGROUND") == "1":
        return _serve(names[0], environment, level, lambda: None)
    return _detach(names[0], environment, level)


def _serve(name: str, environment: Mapping[str, str], level: str, ready: Callable[[], None]) -> int:
    """Open the interface and its socket, call `ready`, and load what serves them.

    Who asks meanwhile waits: that is as soon as wireguard-go returns, too.
    """
    from sacip_tun.linux.errors import SetupError  # noqa: PLC0415 - a wrong line is told first

    try:
        tun, listener = _opened(name, environment)
    except (SetupError, ValueError, OSError) as error:
        return _failed(name, str(error), level)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(DONE))
    try:
        ready()
        from sacip_tun.daemon.loading import loading  # noqa: PLC0415 - see above

        with loading():
            from sacip_tun.daemon.bare import run  # noqa: PLC0415 - see above
            from sacip_tun.daemon.uapi_desk import Bare  # noqa: PLC0415 - see above

        why = run(Bare(tun, listener), _logger(tun.name, level))
    finally:
        listener.remove()  # it may have ended before it served
    return _failed(tun.name, why, level) if why else DONE


def _opened(name: str, environment: Mapping[str, str]) -> "tuple[Tun, Listener]":
    """Open what the environment does not give. Raises SetupError, OSError, ValueError."""
    from sacip_tun.linux import interface, unix  # noqa: PLC0415 - see above
    from sacip_tun.linux.tun import Tun  # noqa: PLC0415 - see above

    tun_fd, uapi_fd = _descriptor(environment, TUN_FD), _descriptor(environment, UAPI_FD)
    if tun_fd is None:
        tun = Tun.open(name)
        interface.prepare(tun.index, MTU)
    else:
        tun = Tun.adopt(tun_fd)
    path = unix.UAPI_DIRECTORY / f"{tun.name}.sock"
    if uapi_fd is not None:
        return tun, unix.Listener.adopt(uapi_fd, path)
    # The name is free, but who had it until now may not have ended yet.
    unix.wait_until_free(path)
    return tun, unix.Listener.at(path)


def _descriptor(environment: Mapping[str, str], key: str) -> int | None:
    """Return the descriptor that the environment names. Raises ValueError."""
    text = environment.get(key, "")
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{key}={text} is no descriptor")
    return int(text) if text else None


def _failed(name: str, why: str, level: str) -> int:
    if level != "silent":
        print(f"ERROR: ({name}) {why}", file=sys.stderr, flush=True)
    return FAILED


def _logger(name: str, level: str) -> Callable[[Mapping[str, Any]], None]:
    verbose, silent = level in {"verbose", "debug"}, level == "silent"

    def log(record: Mapping[str, Any]) -> None:
        event = record.get("event", "?")
        if silent or not (verbose or event in ERRORS):
            return
        hidden = {"event", "interface", "time_unix"}
        said = (f"{key}={value}" for key, value in record.items() if key not in hidden)
        word = "ERROR" if event in ERRORS else "DEBUG"
        print(f"{word}: ({name}) {event} {' '.join(said)}".rstrip(), file=sys.stderr, flush=True)

    return log


def _detach(name: str, environment: Mapping[str, str], level: str) -> int:
    """Leave a daemon behind; returns when it serves, or when it cannot."""
    from sacip_tun.linux.detach import detached  # noqa: PLC0415 - see above

    ready = detached(lambda teller: _daemon(name, environment, level, teller))
    return DONE if ready else FAILED


def _daemon(name: str, environment: Mapping[str, str], level: str, teller: "socket.socket") -> int:
    """Be the daemon, with no descriptor but those that are wanted."""
    from sacip_tun.linux.detach import let_go  # noqa: PLC0415 - see above

    given = (environment.get(key, "") for key in (TUN_FD, UAPI_FD))
    _keep_only(
        {teller.fileno(), *(int(text) for text in given if text.isascii() and text.isdigit())}
    )

    def ready() -> None:
        teller.send(b"1")
        teller.close()
        let_go(*(0, 1, 2) if level in {"", "silent"} else (0,))

    return _serve(name, environment, level, ready)


def _keep_only(wanted: set[int]) -> None:
    """Close what a script holds open: it may wait for its end."""
    first = 3
    for descriptor in sorted(wanted):
        if descriptor >= first:
            os.closerange(first, descriptor)
            first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    program()
