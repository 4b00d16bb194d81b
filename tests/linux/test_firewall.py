"""The firewall's text, and the names that nft takes."""

from ipaddress import ip_interface, ip_network

import pytest

from sacip_tun.linux.errors import InterfaceError
from sacip_tun.linux.firewall import Firewall, install, listed, remove, table_name

ADDRESSES = (ip_interface("10.9.0.2/24"), ip_interface("fd09::2/64"))
PLAIN = Firewall("wg0", ADDRESSES, 51820, 51820)
SHUT = Firewall("a=+.b-c", ADDRESSES, 7, 0xCA6C, True, (ip_network("10.0.0.0/8"),))


def test_spoofing_is_dropped_and_the_tunnels_datagrams_are_marked():
    assert 'iifname != "wg0" ip daddr 10.9.0.2 fib saddr type != local drop' in PLAIN.text
    assert 'iifname != "wg0" ip6 daddr fd09::2 fib saddr type != local drop' in PLAIN.text
    assert "udp dport 51820 fib daddr type local meta mark set 51820" in PLAIN.text
    assert "policy drop" not in PLAIN.text


def test_the_kill_switch_lets_out_what_it_must():
    for rule in (
        "meta mark 51820 accept",
        "udp sport 68 udp dport 67 accept",
        "ip daddr 10.0.0.0/8",
    ):
        assert rule in SHUT.text
    assert SHUT.text.count("policy drop") == 2


def test_characters_that_no_table_may_have_are_written_otherwise():
    assert table_name("a=+.b-c") == "sacip-tun-a/3d/2b.b-c"


def test_without_nft_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InterfaceError) as caught:
        install(PLAIN)
    assert (caught.value.missing, "nftables" in caught.value.fix) == (True, True)
    assert listed("wg0") == ""


@pytest.mark.network
@pytest.mark.parametrize("firewall", [PLAIN, SHUT])
def test_nft_takes_it_twice_and_takes_it_away(namespace, firewall):  # noqa: ARG001 - entered
    assert listed(firewall.interface) == ""
    install(firewall)
    text = listed(firewall.interface)
    install(firewall)
    assert listed(firewall.interface) == text
    assert "fd09::2" in text
    remove(firewall.interface)
    remove(firewall.interface)
    assert listed(firewall.interface) == ""
