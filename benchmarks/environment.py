"""On what the benchmarks run: for the reports, which are worth nothing without it."""

import datetime as dt
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from contenders import BORINGTUN

# What the inner TCP connections use: the namespaces of a run inherit it.
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def machine() -> dict[str, str]:
    """Return date, machine and versions, each as text."""
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "processors": str(os.cpu_count()),
        "model": _model(),
        "kernel": platform.release(),
        "congestion": CONGESTION_CONTROL.read_text().strip(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> str:
    go = _first_line("wireguard-go", "--version").removeprefix("wireguard-go").strip()
    vpn = " ".join(_first_line("openvpn", "--version").split()[:2])
    iperf = " ".join(_first_line("iperf3", "--version").split()[:2])
    return (
        f"wireguard-go {go}, {vpn}, {_boringtun()}, {iperf}, cryptography {version('cryptography')}"
    )


def _boringtun() -> str:
    try:
        return _first_line(BORINGTUN.find(), "--version")
    except AssertionError:
        return "no boringtun"


def _first_line(*command: str) -> str:
    try:
        printed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return f"no {command[0]}"
    return (printed.splitlines() or [""])[0]
