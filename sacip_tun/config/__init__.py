"""What the user wrote, as frozen values: wg-quick's grammar and three keys of our own.

A plain wg-quick file works unchanged. The names here are the room's door:

- `load(argument, directories)` finds, checks, reads and parses a file;
- `parse(text, name)` parses text;
- `assemble(entries, name)` builds the same `Config` from command line options;
- `ConfigError` says what is wrong, where, and what to do about it.

Nothing here is resolved or looked up in the network: an endpoint stays host text and a port.
"""

from sacip_tun.config import editing
from sacip_tun.config.assembly import assemble, parse
from sacip_tun.config.errors import ConfigError, UnreadableError
from sacip_tun.config.files import exists, find, load, load_text, read, read_key_file
from sacip_tun.config.grammar import Entry, Section
from sacip_tun.config.model import (
    Config,
    EndpointName,
    EventHook,
    InterfaceConfig,
    LeakProtection,
    Nat,
    Network,
    Offload,
    PeerConfig,
)
from sacip_tun.config.saving import alone, replace_text
from sacip_tun.config.stripping import Reader, stripped
from sacip_tun.config.text import text_of

__all__ = [
    "Config",
    "ConfigError",
    "EndpointName",
    "Entry",
    "EventHook",
    "InterfaceConfig",
    "LeakProtection",
    "Nat",
    "Network",
    "Offload",
    "PeerConfig",
    "Reader",
    "Section",
    "UnreadableError",
    "alone",
    "assemble",
    "editing",
    "exists",
    "find",
    "load",
    "load_text",
    "parse",
    "read",
    "read_key_file",
    "replace_text",
    "stripped",
    "text_of",
]
