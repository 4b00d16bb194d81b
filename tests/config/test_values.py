"""Single values: what wg and wg-quick take is taken, and every refusal says what to write."""

import contextlib
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.config import ConfigError, EndpointName, Nat, Offload, values
from sacip_tun.protocol.keys import to_base64

KEY = bytes(range(32))
READERS = [
    values.interface_name,
    values.private_key,
    values.public_key,
    values.preshared_key,
    values.port,
    values.fwmark,
    values.keepalive,
    values.dscp,
    values.mtu,
    values.table,
    values.true_or_false,
    values.on_or_off,
    values.yes_or_no,
    values.nat,
    values.offload,
    values.address,
    values.allowed_ip,
    values.dns,
    values.endpoint,
]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.interface_name, "wg-quick_=+.0", "wg-quick_=+.0"),
        (values.private_key, to_base64(KEY), KEY),
        (values.public_key, to_base64(KEY), KEY),
        (values.preshared_key, to_base64(KEY), KEY),
        (values.preshared_key, to_base64(bytes(32)), None),
        (values.port, "0", 0),
        (values.port, "65535", 65535),
        (values.fwmark, "OFF", 0),
        (values.fwmark, "51820", 51820),
        (values.fwmark, "0xCA6C", 0xCA6C),
        (values.fwmark, "4294967295", 0xFFFFFFFF),
        (values.keepalive, "Off", 0),
        (values.keepalive, "25", 25),
        (values.dscp, "0", 0),
        (values.dscp, "63", 63),
        (values.dscp, "Inherit", None),
        (values.dscp, "CS0", 0),
        (values.dscp, "cs6", 48),
        (values.dscp, "AF11", 10),
        (values.dscp, "af23", 22),
        (values.dscp, "AF41", 34),
        (values.dscp, "EF", 46),
        (values.dscp, "le", 1),
        (values.dscp, "voice-admit", 44),
        (values.mtu, "1420", 1420),
        (values.mtu, "576", 576),
        (values.mtu, "65455", 65455),
        (values.table, "Auto", "auto"),
        (values.table, "OFF", "off"),
        (values.table, "51820", "51820"),
        (values.table, "main", "main"),
        (values.true_or_false, "True", True),
        (values.on_or_off, "OFF", False),
        (values.yes_or_no, "Yes", True),
        (values.yes_or_no, "no", False),
        (values.nat, "Strict", Nat.STRICT),
        (values.offload, "Auto", Offload.AUTO),
        (values.offload, "on", Offload.ON),
        (values.offload, "OFF", Offload.OFF),
        (values.address, "10.9.0.1/24", IPv4Interface("10.9.0.1/24")),
        (values.address, "10.9.0.1", IPv4Interface("10.9.0.1/32")),
        (values.allowed_ip, "10.9.0.0/24", (IPv4Network("10.9.0.0/24"), False)),
        (values.allowed_ip, "10.9.0.7/24", (IPv4Network("10.9.0.0/24"), True)),
        (values.allowed_ip, "10.9.0.7", (IPv4Network("10.9.0.7/32"), False)),
        (values.dns, "9.9.9.9", IPv4Address("9.9.9.9")),
        (values.dns, "2620:fe::fe", IPv6Address("2620:fe::fe")),
        (values.dns, "corp.example", "corp.example"),
        (values.endpoint, "hub.example:51820", EndpointName("hub.example", 51820)),
        (values.endpoint, "192.0.2.1:1", EndpointName("192.0.2.1", 1)),
        (values.endpoint, "[2001:db8::1]:51820", EndpointName("2001:db8::1", 51820)),
        (values.endpoint, "[fe80::1%eth0]:51820", EndpointName("fe80::1%eth0", 51820)),
    ],
)
def test_what_is_right_is_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "cause", "fix"),
    [
        (values.interface_name, "sixteen-letters-", "cannot be the name", "1 to 15 characters"),
        (values.interface_name, "..", "cannot be the name", "1 to 15 characters"),
        (values.interface_name, "a/b", "cannot be the name", "1 to 15 characters"),
        (
            values.private_key,
            "short=",
            "44 characters of base64 that end in '=', this has 6",
            "gen",
        ),
        (values.private_key, "x" * 44, "not a private key", "sacip-tun genkey"),
        (values.private_key, to_base64(bytes(32)), "all zeros", "sacip-tun genkey"),
        (values.public_key, "nonsense", "not a public key", "sacip-tun pubkey"),
        (values.public_key, to_base64(bytes(32)), "all zeros", "sacip-tun pubkey"),
        (values.preshared_key, "nonsense", "not a preshared key", "sacip-tun genpsk"),
        (values.port, "65536", "not a UDP port", "0 to 65535"),
        (values.port, "-1", "not a UDP port", "0 to 65535"),
        (values.port, "²", "not a UDP port", "0 to 65535"),
        (values.fwmark, "010", "not a firewall mark", "51820 or 0xca6c"),
        (values.fwmark, "0x1ffffffff", "not a firewall mark", "32 bits"),
        (values.fwmark, "4294967296", "not a firewall mark", "32 bits"),
        (values.keepalive, "65536", "not a keepalive interval", "'off' or seconds"),
        (values.keepalive, "25s", "not a keepalive interval", "'off' or seconds"),
        (values.dscp, "64", "not a DSCP", "a number from 0 to 63"),
        (values.dscp, "AF44", "not a DSCP", "AF11 to AF43"),
        (values.dscp, "CS8", "not a DSCP", "CS0 to CS7"),
        (values.dscp, "0x2e", "not a DSCP", "'inherit'"),
        (values.mtu, "575", "not a usable MTU", "576 to 65455"),
        (values.mtu, "65456", "not a usable MTU", "576 to 65455"),
        (values.mtu, "9" * 5000, "not a usable MTU", "576 to 65455"),
        (values.table, "0", "not a routing table", "from 1"),
        (values.table, "-x", "not a routing table", "auto, off"),
        (values.true_or_false, "yes", "not one of its values", "true or false"),
        (values.on_or_off, "yes", "not one of its values", "on or off"),
        (values.yes_or_no, "on", "not one of its values", "yes or no"),
        (values.nat, "deny", "not one of its values", "allow or strict"),
        (values.offload, "yes", "not one of its values", "auto or on or off"),
        (values.address, "10.9.0.1/33", "not an address", "10.9.0.1/24"),
        (values.address, "10.9.0.1/255.255.255.0", "not an address", "10.9.0.1/24"),
        (values.address, "fe80::1%eth0/64", "not an address", "fd00:9::1/64"),
        (values.address, "224.0.0.1/24", "cannot be the address of a host", "another"),
        (values.address, "0.0.0.0/0", "cannot be the address of a host", "another"),
        (values.allowed_ip, "10.9.0", "not a network", "10.9.0.0/24"),
        (values.dns, "1.2.3", "not the address of a DNS server", ""),
        (values.dns, "$(reboot)", "neither", "letters"),
        (values.endpoint, "hub.example", "no port", "host.example:51820"),
        (values.endpoint, "hub.example:0", "no port", "1 to 65535"),
        (values.endpoint, ":51820", "no port", "host.example:51820"),
        (values.endpoint, "2001:db8::1:51820", "ambiguous", "[2001:db8::1]:51820"),
        (values.endpoint, "[192.0.2.1]:51820", "not an IPv6 address", "[2001:db8::1]"),
        (values.endpoint, "[]:51820", "not an IPv6 address", "[2001:db8::1]"),
        (values.endpoint, "192.168.1.300:51820", "not an IPv4 address", "0 to 255"),
        (values.endpoint, "hub_of mine:51820", "name of a host", "letters"),
        (values.endpoint, "bücher.example:51820", "name of a host", "letters"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(read, text, cause, fix):
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = f"{caught.value.cause} | {caught.value.fix}"
    assert cause in caught.value.cause
    assert fix in message


@pytest.mark.parametrize("read", READERS)
@given(text=st.text())
def test_any_text_raises_nothing_but_config_error(read, text):
    with contextlib.suppress(ConfigError):
        read(text)


@pytest.mark.parametrize("text", ["x" * 44, to_base64(KEY)[:-2], " " + to_base64(KEY)])
@pytest.mark.parametrize("read", [values.private_key, values.preshared_key])
def test_a_secret_is_never_repeated(read, text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert text.strip() not in f"{caught.value} {caught.value.fix} {caught.value!r}"


def test_an_endpoint_is_written_as_it_was_read():
    for text in ("hub.example:51820", "[2001:db8::1]:51820", "192.0.2.1:7"):
        assert str(values.endpoint(text)) == text


@pytest.mark.parametrize("text", ["<private key>", "<host>:51820", "10.0.0.1, <other>"])
def test_a_placeholder_is_recognised(text):
    with pytest.raises(ConfigError, match=r"Endpoint is still a placeholder: <"):
        values.refuse_placeholder("Endpoint", text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("4", 4), ("1024", 1024)])
def test_megabytes(text, value):
    assert values.megabytes(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1025", "4M", "0x4", "\u0664"])
def test_no_megabytes(text):
    with pytest.raises(ConfigError):
        values.megabytes(text)
