"""up: read a configuration, from a file or from the command line, and hand it to the daemon."""

import sys
from argparse import Namespace
from contextlib import suppress

from sacip_tun.cli.eventline import Record, event_line
from sacip_tun.cli.inline import DEFAULT_INTERFACE, configuration, declare
from sacip_tun.cli.invitation import invitation
from sacip_tun.cli.keyfile import KeyFile
from sacip_tun.cli.mistakes import refusal
from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import Palette, warn
from sacip_tun.config import Config, ConfigError, load
from sacip_tun.outcome import Exit, Failure

EXAMPLES = """\
examples:
  sacip-tun up sacip0
      /etc/sacip-tun/sacip0.conf, or else /etc/wireguard/sacip0.conf
  sacip-tun up ./laptop.conf --foreground
      stay, log to stderr, end with Ctrl-C

  two hosts without any file; each prints the command for the other:
  a# sacip-tun up --address 10.9.0.1/24 --listen-port 51820
  b# sacip-tun up --address 10.9.0.2/24 --peer KEY_OF_A@192.168.1.1:51820
  a# sacip-tun down sacip0
  a# sacip-tun up --address 10.9.0.1/24 --listen-port 51820 --peer KEY_OF_B

A peer without an endpoint is waited for. What 'up' makes, 'down' undoes; only
the key that it made stays, since the other side knows it by then.
"""


def configure(parser: Parser) -> None:
    """Declare `up`."""
    parser.teach("Bring a tunnel up; return when it is up.", EXAMPLES)
    parser.usage = (
        "sacip-tun up FILE|NAME [--foreground] [--no-hooks] [--kill-switch] [--verbose]\n"
        "       sacip-tun up --address ADDR/LEN [--interface NAME] [--listen-port PORT]\n"
        "                    [--peer KEY[@HOST:PORT] [--allowed-ips NET ...]] ... [--foreground]"
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE|NAME", help="a file in wg-quick's grammar, or its name"
    )
    parser.add_argument(
        "--foreground", action="store_true", help="stay and log to stderr until SIGINT or SIGTERM"
    )
    parser.add_argument(
        "--no-hooks", action="store_true", help="run no command of the file, whatever happens"
    )
    parser.add_argument(
        "--kill-switch",
        action="store_true",
        help="let nothing leave this host but by the tunnel, also while it is broken",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print what is done, as commands"
    )
    declare(parser)
    parser.set_defaults(run=_up)


def _up(options: Namespace) -> int:
    inline = bool(options.settings or options.interface)
    if bool(options.file) == inline:
        raise Failure(
            "a file and options of a tunnel are given: they exclude each other"
            if inline
            else "there is nothing to bring up",
            "sacip-tun up NAME, or sacip-tun up --address ...; see 'sacip-tun up --help'",
            Exit.USAGE,
        )
    try:
        if inline:
            return _up_from_options(options)
        return _started(load(options.file, options.directories.configurations), options)
    except ConfigError as error:
        raise refusal(error) from None


def _up_from_options(options: Namespace) -> int:
    name = options.interface or DEFAULT_INTERFACE
    if any(setting.option == "--private-key-file" for setting in options.settings):
        config = configuration(options.settings, name, None)
        return _started(config, options)
    key = KeyFile(options.directories.own / f"{name}.key")
    config = configuration(options.settings, name, key.text)
    for warning in key.warnings:
        warn(warning)
    key.save()
    if options.foreground:
        print(invitation(config, options.settings), flush=True)
    try:
        _started(config, options)
    except Failure as failure:
        # In the foreground a later failure ends here too, when the other side knows the key.
        known = options.foreground and failure.code == Exit.FAILED
        if not known:
            key.undo()
        raise
    if not options.foreground:
        print(invitation(config, options.settings))
    return Exit.OK


def _started(config: Config, options: Namespace) -> int:
    if options.kill_switch and not config.full_versions:
        raise Failure(
            "there is no full tunnel for --kill-switch: nothing sends all traffic into it",
            "add 0.0.0.0/0, ::/0 to AllowedIPs, with Table = auto or without Table",
            Exit.BAD_CONFIGURATION,
        )
    config = config.asked(no_commands=options.no_hooks, kill_switch=options.kill_switch)
    for warning in config.warnings:
        warn(warning)
    # A mistake in the input is told before the event loop and netlink are loaded.
    from sacip_tun.daemon import start  # noqa: PLC0415 - see above

    palette = Palette.of(sys.stderr)

    def say(record: Record) -> None:
        # Whoever read the log may be gone: the tunnel goes on.
        with suppress(OSError):
            print(event_line(record, palette, config.interface.name), file=sys.stderr, flush=True)

    return start(
        config,
        foreground=options.foreground,
        say=say,
        warn=warn,
        trace=_trace if options.verbose else lambda _line: None,
    )


def _trace(line: str) -> None:
    """Print a step as wg-quick does: people paste that into reports."""
    print(f"[#] {line}", file=sys.stderr, flush=True)
