"""The command for the other side."""

import pytest

from sacip_tun.cli import invitation
from sacip_tun.cli.inline import Setting
from sacip_tun.config import parse
from sacip_tun.protocol.keys import clamped, public_key, to_base64

KEY, OTHER, SHARED = (clamped(bytes([n]) * 32) for n in (7, 8, 9))
OWN = to_base64(public_key(KEY))
INTERFACE = f"[Interface]\nPrivateKey = {to_base64(KEY)}\n"
PEER = f"[Peer]\nPublicKey = {to_base64(OTHER)}\n"
OUTER_ADDRESS = invitation.outer_address


def lines(text, *settings):
    return invitation.invitation(parse(text, "sacip0"), settings).splitlines()


def command(text):
    return lines(text)[2].strip()


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.setattr(invitation, "outer_address", lambda towards: f"address.towards.{towards}")


def test_two_hosts_one_of_which_listens():
    assert command(f"{INTERFACE}Address=10.9.0.1/24\nListenPort=51820\n{PEER}") == (
        "sacip-tun up --interface sacip0 --address 10.9.0.2/24 "
        f"--peer {OWN}@address.towards.192.0.2.1:51820"
    )


def test_the_other_side_is_told_the_port_on_which_we_look_for_it():
    text = f"{INTERFACE}Address=10.9.0.2/24\n{PEER}Endpoint=198.51.100.7:1234\n"
    assert command(text) == (
        f"sacip-tun up --interface sacip0 --address 10.9.0.1/24 --listen-port 1234 --peer {OWN}"
    )


def test_both_ends_listen():
    text = f"{INTERFACE}Address=10.9.0.2/24\nListenPort=5\n{PEER}Endpoint=198.51.100.7:1234\n"
    assert command(text).endswith(f"--listen-port 1234 --peer {OWN}@address.towards.198.51.100.7:5")


def test_the_other_sides_address_is_what_allowed_ips_says():
    text = f"{INTERFACE}Address=10.9.0.1/24,fd00::1/64\n{PEER}AllowedIPs=10.9.0.77,fd00::/64\n"
    assert "--address 10.9.0.77/24 --address fd00::" in command(text)


def test_single_addresses_need_allowed_ips():
    text = f"{INTERFACE}Address=10.9.0.1/32\n{PEER}AllowedIPs=10.9.0.2\n"
    assert command(text) == (
        f"sacip-tun up --interface sacip0 --address 10.9.0.2/32 --peer {OWN} --allowed-ips 10.9.0.1"
    )
    assert "--address ADDRESS " in command(f"{INTERFACE}Address=10.9.0.1/32\n{PEER}")


def test_without_a_peer_the_next_step_is_told():
    said = lines(f"{INTERFACE}Address=10.9.0.1/24\nListenPort=51820\n")
    assert said[0] == f"public key of this side: {OWN}"
    assert said[1] == "on the other side:"
    assert "--peer" in said[2]
    assert said[3].startswith("then 'down' here")


def test_a_preshared_key_is_to_be_copied():
    peer = f"{PEER}PresharedKey={to_base64(SHARED)}\n"
    said = lines(f"{INTERFACE}Address=10.9.0.1/24\n{peer}", Setting("--preshared-key-file", "/k"))
    assert said[-1] == "  and there --preshared-key-file with a copy of /k"
    assert to_base64(SHARED) not in "\n".join(said)


@pytest.mark.parametrize(("towards", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_our_address_is_the_one_on_the_way(towards, host):
    assert OUTER_ADDRESS(towards) in {host, "HOST"}


def test_a_name_is_not_resolved_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(invitation, "outer_address", asked.append)
    OUTER_ADDRESS("hub.example")
    assert asked == [invitation.ANYWHERE]
