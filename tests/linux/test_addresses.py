from ipaddress import ip_address

import pytest

from sacip_tun.linux.addresses import Address, Link


@pytest.mark.parametrize(
    ("up", "carrier", "usable"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_link_is_usable_only_when_up_and_with_carrier(up, carrier, usable):
    assert Link(1, "eth0", up=up, carrier=carrier).usable is usable


@pytest.mark.parametrize(
    ("host", "length", "other", "covered"),
    [
        ("192.168.1.2", 25, "192.168.1.127", True),
        ("192.168.1.2", 25, "192.168.1.128", False),
        ("192.168.1.2", 32, "192.168.1.2", True),
        ("192.168.1.2", 0, "8.8.8.8", True),
        ("192.168.1.2", 0, "::1", False),
        ("2001:db8::1", 64, "2001:db8::ffff", True),
        ("2001:db8::1", 64, "2001:db8:0:1::1", False),
    ],
)
def test_an_address_covers_its_subnet(host, length, other, covered):
    assert Address(ip_address(host), length, 1).covers(ip_address(other)) is covered


def test_a_point_to_point_address_covers_its_peer_not_itself():
    address = Address(ip_address("10.0.0.1"), 32, 1, peer=ip_address("10.9.9.9"))
    assert address.covers(ip_address("10.9.9.9"))
    assert not address.covers(ip_address("10.0.0.1"))


def test_flags_do_not_make_another_address():
    old = Address(ip_address("10.0.0.1"), 24, 1, secondary=True)
    new = Address(ip_address("10.0.0.1"), 24, 1)
    assert old != new
    assert old.key == new.key
