"""OpenVPN between two hosts of the lab: AES-256-GCM, TLS, point to point, in user space."""

import subprocess
import time
from subprocess import Popen

from sacip_tun.lab.namespaces import Host, interface_name

PATIENCE = 15.0


class OpenVpn:
    """Both ends; certificates are made for the run and pinned by fingerprint."""

    def __init__(self, hub: Host, laptop: Host, hub_address: str, *options: str) -> None:
        self.inner = "10.8.0.1"
        self._options = options
        self._hub, self._laptop = hub, laptop
        self._directory = hub.network.directory
        self.processes = [
            self._start(hub, "hub", "laptop", ["--tls-server", "--dh", "none"], 1),
            self._start(laptop, "laptop", "hub", ["--tls-client", "--remote", hub_address], 2),
        ]
        self._wait()

    def _start(self, host: Host, name: str, other: str, role: list[str], number: int) -> Popen[str]:
        addresses = [f"10.8.0.{number}", f"10.8.0.{3 - number}"]
        return host.start(
            [
                *("openvpn", "--dev", interface_name(), "--dev-type", "tun", "--proto", "udp"),
                *("--port", "1194", *role, "--ifconfig", *addresses, "--disable-dco"),
                *("--data-ciphers", "AES-256-GCM", "--cert", self._certificate(name)),
                *("--key", str(self._directory / f"{name}.key")),
                *("--peer-fingerprint", self._fingerprint(other), "--verb", "1", *self._options),
            ]
        )

    def _certificate(self, name: str) -> str:
        path = self._directory / f"{name}.crt"
        if not path.exists():
            _openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", str(self._directory / f"{name}.key"), "-out", str(path),
            )  # fmt: skip
        return str(path)

    def _fingerprint(self, name: str) -> str:
        certificate = self._certificate(name)
        printed = _openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
        return printed.strip().partition("=")[2]

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._laptop.run(["ping", "-c1", "-W1", self.inner], check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("OpenVPN: " + self._laptop.log(self.processes[1]))


def _openssl(*words: str) -> str:
    done = subprocess.run(["openssl", *words], check=True, capture_output=True, text=True)
    return done.stdout
