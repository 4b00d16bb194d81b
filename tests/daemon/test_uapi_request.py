"""Requests of the UAPI: what they mean, and that no wrong one gets through."""

import errno
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.config import EndpointName
from sacip_tun.daemon.changes import AUTOMATIC, Change, PeerChange
from sacip_tun.daemon.uapi_request import Refused, SetRequest, allowed_ip
from sacip_tun.protocol.prefix import Prefix, network_of, prefix_of

A, B = bytes(range(32)), bytes(range(1, 33))


def read(*lines: str) -> Change:
    request = SetRequest()
    for line in lines:
        request.add(line.encode())
    return request.change


def refusal(*lines: str) -> int:
    with pytest.raises(Refused) as caught:
        _ = read(*lines)
    return caught.value.number


def code(text: str) -> int:
    return prefix_of(ip_network(text))


def test_everything_that_a_request_can_say():
    change = read(
        f"private_key={A.hex()}", "listen_port=51820", "fwmark=4294967295", "replace_peers=true",
        f"public_key={A.hex()}", f"preshared_key={B.hex()}", "endpoint=[fe80::1%1]:65535",
        "persistent_keepalive_interval=25", "protocol_version=1", "replace_allowed_ips=true",
        "allowed_ip=10.1.2.3/8", "allowed_ip=-fd00::/8",
        f"public_key={B.hex()}", "update_only=true", "remove=true",
    )  # fmt: skip
    one = PeerChange(
        A,
        preshared_key=B,
        endpoint=EndpointName("fe80::1%1", 65535),
        keepalive=25,
        replace_allowed_ips=True,
        allowed_ips=[code("10.0.0.0/8"), ~code("fd00::/8")],
    )
    two = PeerChange(B, update_only=True, remove=True, allowed_ips=[])
    assert change == Change(A, 51820, 0xFFFFFFFF, replace_peers=True, peers=[one, two])


def test_an_interval_of_zero_is_that_of_a_file_without_the_line():
    change = read(f"public_key={A.hex()}", "persistent_keepalive_interval=0")
    assert change.peers == [PeerChange(A, keepalive=AUTOMATIC, allowed_ips=[])]


def test_an_empty_request_changes_nothing():
    assert read() == Change(peers=[])


def test_what_is_replaced_goes_with_what_was_said_before():
    peer = f"public_key={A.hex()}"
    change = read(peer, "allowed_ip=10.0.0.0/8", "replace_allowed_ips=true", "allowed_ip=::/0")
    assert change.peers[0].allowed_ips == [code("::/0")]


@pytest.mark.parametrize(
    "line",
    [
        "private_key=00", f"private_key={'g' * 64}", f"private_key={A.hex()} ", "private_key=",
        f"private_key={' ' * 32}{'0' * 32}",
        "listen_port=65536", "listen_port=-1", "listen_port=", "listen_port=0x1", "listen_port=1 ",
        "fwmark=4294967296", "fwmark=off", "replace_peers=false", "replace_peers=", "unknown=1",
        "allowed_ip=10.0.0.0/8", "endpoint=1.2.3.4:5", "errno=0", "=", "=1",
    ],
)  # fmt: skip
def test_wrong_lines_of_an_interface(line):
    assert refusal(line) == errno.EINVAL


@pytest.mark.parametrize(
    "line",
    [
        "endpoint=host.example:1", "endpoint=1.2.3.4", "endpoint=1.2.3.4:0", "endpoint=[::1]",
        "endpoint=::1:5", "endpoint=[1.2.3.4]:5", "endpoint=1.2.3.4:65536", "endpoint=\xff:1",
        "persistent_keepalive_interval=65536", "persistent_keepalive_interval=off",
        "allowed_ip=10.0.0.0", "allowed_ip=10.0.0.0/33", "allowed_ip=::/129", "allowed_ip=/8",
        "allowed_ip=10.0.0/8", "allowed_ip=10.0.0.0/+8", "allowed_ip=--10.0.0.0/8", "allowed_ip=",
        "allowed_ip=fe80::1%eth0/64", "allowed_ip=10.0.0.0/8/8", "protocol_version=2",
        "protocol_version=", "remove=false", "update_only=1", "replace_allowed_ips=yes",
        "preshared_key=", "public_key=00", "listen_port=1", "private_key=" + A.hex(), "jc=1",
    ],
)  # fmt: skip
def test_wrong_lines_of_a_peer(line):
    assert refusal(f"public_key={A.hex()}", line) == errno.EINVAL


def test_a_line_without_a_value_is_another_mistake():
    assert refusal("listen_port") == errno.EPROTO


def test_the_first_mistake_is_told_and_nothing_after_it_is_read():
    assert refusal("listen_port", "fwmark=off", f"private_key={A.hex()}") == errno.EPROTO


def test_no_key_is_repeated():
    secret = "5" * 63
    with pytest.raises(Refused) as caught:
        _ = read(f"private_key={secret}")
    assert secret not in caught.value.why


@given(st.lists(st.binary(max_size=80).filter(lambda line: line and b"\n" not in line)))
def test_hostile_lines_are_refused(lines):
    request = SetRequest()
    for line in lines:
        request.add(line)
    if not lines:
        assert request.change == Change(peers=[])
        return
    with pytest.raises(Refused) as caught:
        _ = request.change
    assert caught.value.number in {errno.EINVAL, errno.EPROTO}


@given(st.ip_addresses(), st.integers(0, 128), st.booleans())
def test_every_network_is_read(address, length, taken):
    length = min(length, address.max_prefixlen)
    text = f"{'-' if taken else ''}{address}/{length}"
    found = allowed_ip(text.encode())
    assert (found < 0) == taken
    network = network_of(Prefix(~found if taken else found))
    assert network == ip_network(f"{address}/{length}", strict=False)
