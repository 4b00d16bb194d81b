"""A Config as text, and a file stripped for others."""

import pytest

from sacip_tun.config import ConfigError, Reader, parse, stripped, text_of
from sacip_tun.protocol.keys import clamped, to_base64

PRIVATE, A, B = (to_base64(clamped(bytes([n]) * 32)) for n in (1, 2, 3))
EVERYTHING = f"""\
[Interface]
# mine
PrivateKey = {PRIVATE}
Address = 10.9.0.1/24, fd00:9::1/64
DNS = 10.9.0.53, corp.example
MTU = 1300
Table = 77
FwMark = 0x7
ListenPort = 51820
PreUp = echo '#' %i
PostUp = a; b
PreDown = c
PostDown = d
SaveConfig = true
EventHook = moved, held: /bin/tell 'a b'
ExcludeIPs = 10.0.0.0/8, @local
LeakProtection = compat
KillSwitch = yes
Sacip = off
Offload = on
HoldMegabytes = 1
ResendMegabytes = 2
Dscp = EF
[Peer]
PublicKey = {A}
PresharedKey = {B}
AllowedIPs = 10.9.0.2/32, ::/0
Endpoint = [2001:db8::1]:7
PersistentKeepalive = off
Sacip = on
Nat = strict
Relay = yes
[Peer]
PublicKey = {B}
Endpoint = hub.example:7
PersistentKeepalive = 25
"""
MINIMAL = f"[Interface]\nPrivateKey = {PRIVATE}\n"


@pytest.mark.parametrize("text", [EVERYTHING, MINIMAL, EVERYTHING.replace("= EF", "= inherit")])
def test_a_configuration_that_is_written_is_read_as_the_same(text):
    config = parse(text, "x")
    again = parse(text_of(config), "x")
    assert (again.interface, again.peers) == (config.interface, config.peers)


def test_a_secret_has_something_that_stands_for_it():
    config = parse(EVERYTHING, "x")
    shown = text_of(config, secrets=False)
    assert PRIVATE not in shown
    assert f"PresharedKey = {B}" not in shown
    assert shown == text_of(config, secrets=False)
    other = parse(EVERYTHING.replace(PRIVATE, to_base64(clamped(bytes([9]) * 32))), "x")
    assert shown != text_of(other, secrets=False)


def test_strip_leaves_what_wg_knows_and_every_comment():
    lines = stripped(EVERYTHING, Reader.WG).splitlines()
    assert lines[:5] == [
        "[Interface]",
        "# mine",
        f"PrivateKey = {PRIVATE}",
        "FwMark = 0x7",
        "ListenPort = 51820",
    ]
    assert not any(line.startswith(("Nat", "Relay", "Sacip", "DNS", "PostUp")) for line in lines)


def test_strip_for_wg_quick_leaves_its_own_keys():
    text = stripped(EVERYTHING, Reader.WG_QUICK)
    assert "PostUp = a; b" in text
    for ours in (
        "ExcludeIPs",
        "KillSwitch",
        "LeakProtection",
        "EventHook",
        "Dscp",
        "Offload",
        "Nat",
    ):
        assert ours not in text


def test_what_cannot_be_read_is_not_stripped():
    with pytest.raises(ConfigError):
        stripped("[Interface]\nAdress = 1.2.3.4\n", Reader.WG)
