"""Entries to a Config: a whole file, and what only shows with all of it together."""

import contextlib
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.config import (
    Config,
    ConfigError,
    EndpointName,
    InterfaceConfig,
    Nat,
    PeerConfig,
    parse,
    text_of,
)
from sacip_tun.config.grammar import KEYS
from sacip_tun.protocol.keys import clamped, public_key, to_base64

PRIVATE, A, B, SHARED = (clamped(bytes([n]) * 32) for n in (1, 2, 3, 4))
OWN = to_base64(public_key(PRIVATE))
EXAMPLES = sorted((Path(__file__).parents[2] / "configs").glob("*.conf"))

INTERFACE = f"[Interface]\nPrivateKey = {to_base64(PRIVATE)}\n"
PEER = f"[Peer]\nPublicKey = {to_base64(A)}\nAllowedIPs = 10.9.0.2/32\n"

EVERYTHING = f"""\
# All of wg-quick's grammar.
[Interface]
PrivateKey = {to_base64(PRIVATE)}   # secret
ListenPort = 51820
FwMark = 0xca6c
Address = 10.9.0.1/24, fd00:9::1/64
Address = 10.8.0.1
DNS = 9.9.9.9, corp.example
DNS = 2620:fe::fe
MTU = 1400
Table = 1234
PreUp = echo 1 # one
PreUp = echo 2
PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo a=b
PreDown = echo 3
PostDown = echo 4
SaveConfig = true

[Peer]
PublicKey = {to_base64(A)}
PresharedKey = {to_base64(SHARED)}
AllowedIPs = 10.9.0.2/32, fd00:9::2/128
AllowedIPs = 192.168.50.0/24
Endpoint = hub.example:51820
PersistentKeepalive = 25
Nat = strict
Relay = yes

[Peer]
PublicKey = {to_base64(B)}
AllowedIPs = 10.9.0.3/32
PersistentKeepalive = off
Sacip = off
"""


def failure(text, name="sacip0"):
    with pytest.raises(ConfigError) as caught:
        parse(text, name, "a.conf")
    return caught.value


def test_the_whole_grammar_is_read():
    config = parse(EVERYTHING, "sacip0")
    assert config.interface == InterfaceConfig(
        name="sacip0",
        private_key=PRIVATE,
        addresses=tuple(map(ip_interface, ("10.9.0.1/24", "fd00:9::1/64", "10.8.0.1/32"))),
        listen_port=51820,
        fwmark=0xCA6C,
        mtu=1400,
        table="1234",
        dns_servers=(ip_address("9.9.9.9"), ip_address("2620:fe::fe")),
        dns_search=("corp.example",),
        pre_up=("echo 1 # one", "echo 2"),
        post_up=("iptables -A FORWARD -i %i -j ACCEPT; echo a=b",),
        pre_down=("echo 3",),
        post_down=("echo 4",),
        save_config=True,
    )
    assert config.peers == (
        PeerConfig(
            public_key=A,
            preshared_key=SHARED,
            allowed_ips=tuple(map(ip_network, ("10.9.0.2/32", "fd00:9::2/128", "192.168.50.0/24"))),
            endpoint=EndpointName("hub.example", 51820),
            persistent_keepalive=25,
            nat=Nat.STRICT,
            relay=True,
        ),
        PeerConfig(
            public_key=B,
            allowed_ips=(ip_network("10.9.0.3/32"),),
            persistent_keepalive=0,
            sacip=False,
        ),
    )


def test_a_keepalive_that_nobody_set_is_not_one_that_is_off():
    first, second = parse(EVERYTHING, "sacip0").peers
    assert (first.persistent_keepalive, second.persistent_keepalive) == (25, 0)
    (silent,) = parse(INTERFACE + PEER, "sacip0").peers
    assert silent.persistent_keepalive is None


def full(lines="", networks="0.0.0.0/0, ::/0"):
    return f"{INTERFACE}{lines}[Peer]\nPublicKey={to_base64(A)}\nAllowedIPs={networks}"


def test_a_full_tunnel_is_known_by_its_versions():
    assert parse(full(), "s").full_versions == {4, 6}
    assert parse(full(networks="0.0.0.0/0"), "s").full_versions == {4}
    assert parse(full("Table=off\n"), "s").full_versions == set()
    assert parse(full("Table=100\n"), "s").full_versions == set()
    assert len(parse(full("Table=100\n"), "s").routes) == 2
    assert parse(full("Table=off\n"), "s").routes == ()


@pytest.mark.parametrize(
    ("lines", "networks", "warning"),
    [
        ("", "0.0.0.0/0, ::/0", None),
        ("", "0.0.0.0/0", "only IPv4 goes through the tunnel"),
        ("", "::/0", "only IPv6 goes through the tunnel"),
        ("KillSwitch=yes\n", "0.0.0.0/0", None),
        ("KillSwitch=yes\n", "10.0.0.0/8", "KillSwitch does nothing here"),
        ("ExcludeIPs=@local\n", "10.0.0.0/8", "ExcludeIPs does nothing here"),
        ("LeakProtection=compat\nTable=7\n", "::/0", "LeakProtection does nothing here"),
        ("PostUp=ip route add 10.0.0.0/8 via 1.2.3.4\n", "0.0.0.0/0, ::/0", "ExcludeIPs"),
        (
            "LeakProtection=compat\nPostUp=ip route add 10.0.0.0/8 via 1.2.3.4\n",
            "0.0.0.0/0, ::/0",
            None,
        ),
    ],
)
def test_what_leaves_beside_a_full_tunnel_is_said(lines, networks, warning):
    warnings = parse(full(lines, networks), "s").warnings
    assert len(warnings) == (warning is not None), warnings
    assert all(warning in text for text in warnings)


@pytest.mark.parametrize(
    ("networks", "line"),
    [
        ("::/0\nAllowedIPs=10.0.0.0/8, 10.1.0.0/16", 5),
        ("10.0.0.0/8, 10.1.0.0/16\nAllowedIPs=::/0", 6),
    ],
)
def test_half_a_full_tunnel_is_said_where_the_half_is_written(networks, line):
    (warning,) = parse(full(networks=networks), "s", "a.conf").warnings
    assert warning.startswith(f"a.conf, line {line}: only IPv6 goes through"), warning


@pytest.mark.parametrize(
    "line",
    ["wg set %i private-key /etc/k", "wg set %i listen-port 7 private-key <(pass show k)"],
)
def test_a_private_key_that_postup_sets_need_not_be_written(line):
    config = parse(f"[Interface]\nPostUp = {line}\n{PEER}", "s")
    assert config.interface.private_key == bytes(32)
    assert "PrivateKey" not in text_of(config)
    with pytest.raises(ConfigError, match="no PrivateKey"):
        parse(f"[Interface]\nPreUp = {line}\n{PEER}", "s")


def test_this_host_itself_in_a_list_of_peers_is_left_out_as_wg_does():
    config = parse(f"{INTERFACE}[Peer]\nPublicKey={OWN}\nAllowedIPs=10.9.0.1\n{PEER}", "s", "a")
    assert [peer.public_key for peer in config.peers] == [A]
    (warning,) = config.warnings
    assert warning == "a, line 4: this peer has the public key of this host itself: it is left out"


def test_a_second_section_about_a_peer_goes_on_with_the_first_as_wg_does():
    first = f"[Peer]\nPublicKey={to_base64(A)}\nAllowedIPs=10.9.0.7\nEndpoint=192.0.2.7:7\n"
    again = f"[Peer]\nPublicKey={to_base64(A)}\nAllowedIPs=10.9.0.8\nPersistentKeepalive=9\n"
    config = parse(f"{INTERFACE}{first}[Peer]\nPublicKey={to_base64(B)}\n{again}", "s", "a")
    one, other = config.peers
    assert (one.public_key, other.public_key) == (A, B)
    assert (one.endpoint, one.persistent_keepalive) == (EndpointName("192.0.2.7", 7), 9)
    assert one.allowed_ips == (ip_network("10.9.0.8/32"),)
    assert "a, line 10: this peer is already there (line 4)" in config.warnings[0]
    (none,) = parse(f"{INTERFACE}{first}[Peer]\nPublicKey={to_base64(A)}", "s").peers
    assert none.allowed_ips == ()


def test_what_stays_outside_a_full_tunnel():
    interface = parse(
        full("ExcludeIPs=192.168.7.0/24, @local\nExcludeIPs=::1:0/112\n"), "s"
    ).interface
    assert interface.exclude_local
    assert [str(network) for network in interface.exclude_ips] == ["192.168.7.0/24", "::1:0/112"]
    assert not parse(full(), "s").interface.exclude_local


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "@lan", "lan"])
def test_what_cannot_stay_outside_is_refused(text):
    with pytest.raises(ConfigError):
        parse(full(f"ExcludeIPs={text}\n"), "s")


def test_a_minimal_file_has_defaults_and_no_warnings():
    config = parse(INTERFACE + PEER, "sacip0")
    assert config == Config(
        InterfaceConfig("sacip0", PRIVATE),
        (PeerConfig(A, allowed_ips=(ip_network("10.9.0.2/32"),)),),
    )


def test_no_secret_shows_in_a_repr():
    shown = repr(parse(EVERYTHING, "sacip0"))
    for secret in (repr(PRIVATE), to_base64(PRIVATE), repr(SHARED), to_base64(SHARED), "iptables"):
        assert secret not in shown


def test_sacip_off_holds_for_every_peer_without_its_own():
    peer = f"[Peer]\nPublicKey = {to_base64(B)}\nAllowedIPs=10.9.0.3\nSacip = on\n"
    config = parse(f"{INTERFACE}Sacip = off\n{PEER}{peer}", "sacip0")
    assert [peer.sacip for peer in config.peers] == [False, True]


def test_a_key_that_is_given_again_counts_and_is_warned_of():
    config = parse(f"{INTERFACE}MTU=1400\nMTU=1300\n", "sacip0", "a.conf")
    assert config.interface.mtu == 1300
    assert config.warnings == ("a.conf, line 4: MTU is given again; this one counts",)


def test_a_second_interface_section_goes_on_with_the_first():
    assert parse(f"{INTERFACE}{PEER}[Interface]\nMTU=1400\n", "s").interface.mtu == 1400


def test_empty_lists_are_no_mistake():
    config = parse(f"{INTERFACE}Address =\nDNS =\n", "s")
    assert (config.interface.addresses, config.interface.dns_servers) == ((), ())


def test_inner_addresses_that_were_hardly_meant_are_warned_of():
    other = f"[Peer]\nPublicKey={to_base64(B)}\nAllowedIPs=10.9.0.2/32, 10.9.1.5/24\n"
    third = f"[Peer]\nPublicKey={to_base64(SHARED)}\n"
    config = parse(INTERFACE + PEER + other + third, "s")
    assert config.warnings == (
        "line 8: 10.9.0.2/32 belonged to an earlier peer and now belongs to this one",
        "line 8: host bits in AllowedIPs are cleared: 10.9.1.0/24",
        "line 9: this peer has no AllowedIPs: no inner packet can go to it or come from it",
    )


def test_routes_are_sorted_longest_first_and_none_with_table_off():
    peer = (
        f"[Peer]\nPublicKey={to_base64(A)}\nAllowedIPs=10.0.0.0/8,10.9.0.2,fd00::/64,10.0.0.0/8\n"
    )
    routes = [str(network) for network in parse(INTERFACE + peer, "s").routes]
    assert routes == ["fd00::/64", "10.9.0.2/32", "10.0.0.0/8"]
    assert parse(f"{INTERFACE}Table = off\n{peer}", "s").routes == ()


@pytest.mark.parametrize(
    ("text", "line", "cause", "fix"),
    [
        ("", None, "there is no [Interface] section", "sacip-tun genkey"),
        ("[Interface]\nMTU = 1400", 1, "there is no PrivateKey", "sacip-tun genkey"),
        (INTERFACE + "[Peer]\nNat=allow", 3, "this peer has no PublicKey", "sacip-tun pubkey"),
        (f"{INTERFACE}MTU=1279\nAddress=fd00::1/64", 3, "too small for an IPv6", "1280"),
        (f"{INTERFACE}Address=10.0.0.1/8, 10.0.0.1/8", 3, "given twice", "delete"),
        (f"{INTERFACE}{PEER}Nat=strict\nSacip=off", 6, "Nat = strict needs SACIP", "Sacip = on"),
        (f"{INTERFACE}{PEER}Relay=yes\nSacip=off", 6, "Relay = yes needs SACIP", "Sacip = on"),
        (f"{INTERFACE}MTU =", 3, "MTU has no value", "leave it out"),
        (f"{INTERFACE}PostUp =", 3, "PostUp has no value", "leave it out"),
        (f"{INTERFACE}MTU = 99999", 3, "'99999' is not a usable MTU", "576 to 65455"),
        ("[Interface]\nPrivateKey = abc", 2, "not a private key", "sacip-tun genkey"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_its_remedy(text, line, cause, fix):
    error = failure(text)
    assert error.line == line
    assert cause in str(error)
    assert fix in error.fix
    assert str(error).startswith("a.conf")


def test_an_interface_needs_a_name_that_the_kernel_takes():
    assert "cannot be the name of an interface" in str(failure(INTERFACE, "a b"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_which_line_to_fill_in(path):
    with pytest.raises(ConfigError) as caught:
        parse(path.read_text(), "sacip0", path.name)
    line = path.read_text().splitlines()[(caught.value.line or 0) - 1]
    assert line.startswith("PrivateKey = <")
    assert caught.value.fix == "fill in this line"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_right_once_it_is_filled_in(path):
    lines = path.read_text().splitlines()
    number = 10
    for at, line in enumerate(lines):
        if "<" in line and not line.startswith("#"):
            number += 1
            key = to_base64(clamped(bytes([number]) * 32))
            before, _, rest = line.partition("<")
            after = rest.partition(">")[2]
            lines[at] = before + ("192.0.2.1" if "Endpoint" in line else key) + after
    config = parse("\n".join(lines), path.stem)
    assert config.warnings == ()
    assert config.peers


KEY_NAMES = [key.name for rows in KEYS.values() for key in rows.values()]
LINE = st.one_of(
    st.text(),
    st.sampled_from(["[Interface]", "[Peer]", "[peer", "#"]),
    st.builds(
        "{} = {}".format,
        st.sampled_from(KEY_NAMES),
        st.one_of(st.text(), st.sampled_from([to_base64(PRIVATE), to_base64(A), "10.0.0.1/8"])),
    ),
)


@given(st.lists(LINE).map("\n".join), st.sampled_from(["sacip0", "", "é"]))
def test_any_text_is_a_config_or_a_config_error(text, name):
    with contextlib.suppress(ConfigError):
        assert parse(text, name).interface.private_key == PRIVATE


@given(st.binary())
def test_any_bytes_that_are_text_are_a_config_or_a_config_error(content):
    with pytest.raises(ConfigError):
        parse(content.decode("utf-8", "replace"), "sacip0")


def test_as_many_allowed_ips_as_wireguard_tests_with_are_read():
    networks = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32" for n in range(20_000))
    config = parse(
        f"{INTERFACE}[Peer]\nPublicKey={to_base64(A)}\nAllowedIPs={','.join(networks)}", "s"
    )
    assert len(config.peers[0].allowed_ips) == 20_000


def test_an_endpoint_is_sought_in_every_network_and_each_that_holds_it_told_in_order():
    lines = "10.1.0.0/16, 0.0.0.0/0, 10.1.2.0/24, fd00::/16, 10.1.2.3/32, 10.1.2.4/32"
    config = parse(
        f"{INTERFACE}[Peer]\nPublicKey = {to_base64(A)}\nAllowedIPs = {lines}\n"
        f"[Peer]\nPublicKey = {to_base64(B)}\nEndpoint = 10.1.2.3:5\nAllowedIPs = 10.0.0.0/8\n",
        "sacip0",
    )
    told = [text.partition("AllowedIPs ")[2].partition(":")[0] for text in config.warnings]
    assert [network for network in told if network] == [
        "10.1.0.0/16",
        "10.1.2.0/24",
        "10.1.2.3/32",
        "10.0.0.0/8",
    ]
