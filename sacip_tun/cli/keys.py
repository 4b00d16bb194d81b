"""genkey, pubkey, genpsk: the same formats and the same manners as wg's."""

import os
import stat
import sys
from argparse import Namespace

from sacip_tun.cli.parser import Parser
from sacip_tun.cli.terminal import warn
from sacip_tun.outcome import Exit, Failure
from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import KEY, clamped, from_base64, public_key, to_base64


def configure_genkey(parser: Parser) -> None:
    """Declare `genkey`."""
    parser.teach(
        "Print a new private key. Keep it where only root can read it.",
        "examples:\n"
        "  umask 077; sacip-tun genkey > private.key\n"
        "  umask 077; sacip-tun genkey | tee private.key | sacip-tun pubkey > public.key",
    )
    parser.set_defaults(run=_genkey)


def configure_pubkey(parser: Parser) -> None:
    """Declare `pubkey`."""
    parser.teach(
        "Read a private key from stdin and print its public key, which the other side needs.",
        "examples:\n  sacip-tun pubkey < private.key",
    )
    parser.set_defaults(run=_pubkey)


def configure_genpsk(parser: Parser) -> None:
    """Declare `genpsk`."""
    parser.teach(
        "Print a new preshared key, a second secret for one pair of peers. Both need the same:\n"
        "take it to the other side over a channel that you trust.",
        "examples:\n  umask 077; sacip-tun genpsk > preshared.key",
    )
    parser.set_defaults(run=_genpsk)


def new_private_key() -> str:
    """Return a new private key in base64."""
    return to_base64(clamped(os.urandom(KEY)))


def new_preshared_key() -> str:
    """Return a new preshared key in base64."""
    return to_base64(os.urandom(KEY))


def public_key_of(private: str) -> str:
    """Return the public key of a private one, both in base64; raises Failure."""
    try:
        return to_base64(public_key(from_base64(private)))
    except LocalError as error:
        raise Failure(
            f"this is not a private key: {error}",
            "make one with 'sacip-tun genkey'",
            Exit.BAD_CONFIGURATION,
        ) from None


def _genkey(_: Namespace) -> int:
    _warn_of_readers()
    print(new_private_key())
    return Exit.OK


def _pubkey(_: Namespace) -> int:
    if sys.stdin.isatty():
        print("Type or paste a private key, then press Enter and Ctrl-D.", file=sys.stderr)
    # Replaced, not refused: whatever is no key gets the message about keys.
    text = sys.stdin.buffer.read(4096).decode("ascii", "replace").strip()
    print(public_key_of(text))
    return Exit.OK


def _genpsk(_: Namespace) -> int:
    _warn_of_readers()
    print(new_preshared_key())
    return Exit.OK


def _warn_of_readers() -> None:
    """Warn, as wg does, when the secret goes to a file that everybody may read."""
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRWXO:
        warn("the key goes to a file that every user may read: set 'umask 077', make a new one")
