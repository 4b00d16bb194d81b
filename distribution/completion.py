"""Completion for bash, zsh and fish, out of the tree of parsers."""

import argparse

import shtab

from sacip_tun.cli.parser import whole

# What is to be completed where, by the word that `--help` has for it.
TUNNELS = {
    "bash": "_sacip_tun_tunnels",
    "zsh": "_sacip_tun_tunnels",
    "fish": "(__sacip_tun_tunnels)",
}
FILES = {
    "bash": "_sacip_tun_files",
    "zsh": "_sacip_tun_files",
    "fish": "(__sacip_tun_files)",
}
PREAMBLE = {
    "bash": """
_sacip_tun_stems() {
    local path
    for path in "$@"; do
        [ -e "$path" ] && path=${path##*/} && echo "${path%.*}"
    done
}
_sacip_tun_tunnels() {
    compgen -W "$(_sacip_tun_stems /run/sacip-tun/*.sock)" -- "$1"
}
_sacip_tun_files() {
    compgen -W "$(_sacip_tun_stems /etc/sacip-tun/*.conf /etc/wireguard/*.conf)" -- "$1"
    compgen -f -X '!*.conf' -- "$1"
    compgen -d -- "$1"
}
""",
    "zsh": """
_sacip_tun_tunnels() {
    local -a found=(/run/sacip-tun/*.sock(N:t:r))
    compadd -a found
}
_sacip_tun_files() {
    local -a found=(/etc/sacip-tun/*.conf(N:t:r) /etc/wireguard/*.conf(N:t:r))
    compadd -a found
    _files -g '*.conf'
}
""",
    "fish": """
function __sacip_tun_tunnels
    path change-extension '' (path basename /run/sacip-tun/*.sock)
end
function __sacip_tun_files
    path change-extension '' (path basename /etc/sacip-tun/*.conf /etc/wireguard/*.conf)
    __fish_complete_suffix .conf
end
""",
}
SHELLS = tuple(PREAMBLE)


def completion(shell: str) -> str:
    """Return the script for one of SHELLS."""
    parser, children = whole()
    for child in children.values():
        _tell_what_completes(child)
    text: str = shtab.complete(parser, shell=shell, preamble=PREAMBLE)
    return text


def _tell_what_completes(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _tell_what_completes(child)
            continue
        if action.choices is not None:
            action.choices = list(action.choices)  # shtab takes a mapping for subcommands
        if action.metavar == "FILE|NAME":
            action.complete = FILES  # type: ignore[attr-defined]
        elif action.metavar == "NAME" and action.dest in {"name", "interface"}:
            action.complete = TUNNELS  # type: ignore[attr-defined]
        elif action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
