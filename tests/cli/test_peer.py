"""peer add, list and remove: what is printed is a file that both programs take."""

import json
import re
import socket
import stat
import threading
from ipaddress import ip_address, ip_interface

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from sacip_tun.cli.newpeer import free_addresses
from sacip_tun.cli.qr import BEGIN, END, drawn
from sacip_tun.config import editing, parse
from sacip_tun.config.model import Config, InterfaceConfig, PeerConfig
from sacip_tun.outcome import Failure
from sacip_tun.protocol.keys import clamped, public_key, to_base64

OWN, OTHER = (to_base64(clamped(bytes([number]) * 32)) for number in (7, 8))
HUB = f"""\
# Home. Do not lose this line.
[Interface]
PrivateKey = {OWN}
Address = 10.9.0.1/24, fd09::1/64
ListenPort = 51820

[Peer]
# Name = old
PublicKey = {OTHER}
AllowedIPs = 10.9.0.2/32, fd09::2
"""


class Wg:
    """Answers on a hub's UAPI socket."""

    def __init__(self, directories):
        directories.uapi.mkdir()
        self.requests = []
        self.errno = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(directories.uapi / "hub.sock"))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                request = b""
                while not request.endswith(b"\n\n") and (more := client.recv(4096)):
                    request += more
                self.requests.append(request.decode().split())
                client.sendall(f"errno={self.errno}\n\n".encode())


@pytest.fixture
def hub(directories):
    path = directories.own / "hub.conf"
    path.parent.mkdir(parents=True)
    path.write_text(HUB)
    path.chmod(0o600)
    return path


@pytest.fixture
def wg(directories):
    made = Wg(directories)
    yield made
    made.close()


ADD = ("peer", "add", "phone", "--interface", "hub", "--endpoint", "vpn.example")


def test_it_is_saved_let_in_and_printed(run, hub, wg):
    code, out, err = run(*ADD)
    assert code == 0, err
    assert "10.9.0.3, fd09::3" in err
    config, text = parse(out, "phone"), hub.read_text()
    assert text.startswith(HUB)
    assert [place.name for place in editing.places(text)] == ["old", "phone"]
    saved = parse(text, "hub").peers[1]
    assert config.peers[0].public_key == public_key(parse(HUB, "hub").interface.private_key)
    assert public_key(config.interface.private_key) == saved.public_key
    assert config.peers[0].preshared_key == saved.preshared_key != None  # noqa: E711
    assert str(config.peers[0].endpoint) == "vpn.example:51820"
    assert config.interface.addresses == (ip_interface("10.9.0.3/32"), ip_interface("fd09::3/128"))
    assert [str(network) for network in config.peers[0].allowed_ips] == ["10.9.0.0/24", "fd09::/64"]
    (request,) = wg.requests
    assert request[:2] == ["set=1", f"public_key={saved.public_key.hex()}"]
    assert request[3:] == [
        "replace_allowed_ips=true",
        "allowed_ip=10.9.0.3/32",
        "allowed_ip=fd09::3/128",
    ]
    # The key is the new peer's: the hub keeps it nowhere.
    assert to_base64(config.interface.private_key) not in text + err


@pytest.mark.usefixtures("hub")
def test_only_keys_that_every_wireguard_knows_are_printed(run):
    out = run(*ADD, "--dns", "10.9.0.1", "--persistent-keepalive", "25")[1]
    known = "PrivateKey Address DNS PublicKey PresharedKey AllowedIPs Endpoint PersistentKeepalive"
    assert re.findall(r"(?m)^(\w+) =", out) == known.split()


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("vpn.example:7", "vpn.example:7"),
        ("192.0.2.1", "192.0.2.1:51820"),
        ("2001:db8::1", "[2001:db8::1]:51820"),
        ("[2001:db8::1]", "[2001:db8::1]:51820"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7"),
    ],
)
def test_endpoints_as_people_write_them(run, hub, given, printed):
    out = run("peer", "add", "a", "--interface", str(hub), "--endpoint", given)[1]
    assert f"Endpoint = {printed}\n" in out


@pytest.mark.usefixtures("hub")
def test_a_second_one_has_the_next_addresses(run):
    run(*ADD)
    code, out, err = run("peer", "add", "laptop", "--interface", "hub", "--endpoint", "a")
    assert (code, "10.9.0.4/32, fd09::4/128" in out) == (0, True)
    assert "it is not up" in err


@pytest.mark.usefixtures("hub", "wg")
def test_an_address_that_somebody_has_who_is_not_in_the_file_is_not_given_away(run, daemon):
    fake = daemon("hub")
    of_wg = {"public_key": OWN, "allowed_ips": ["10.9.0.3/32", "fd09::/126"], "state": "idle"}
    fake.answer({"ok": True, "peers": [of_wg]})
    code, out, err = run(*ADD)
    assert (code, "Address = 10.9.0.4/32, fd09::4/128" in out) == (0, True), err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("old", "--endpoint", "a"), 1, "already"),
        (("new\nline", "--endpoint", "a"), 2, "cannot be the name"),
        (("#", "--endpoint", "a"), 2, "cannot be the name"),
        (("a", "--endpoint", "a:b:c"), 5, "IPv6"),
        (("a", "--endpoint", "a", "--dns", "1.2.3"), 5, "DNS"),
        (("a", "--endpoint", "a", "--allowed-ips", "x"), 5, "network"),
        (("a", "--endpoint", "a", "--persistent-keepalive", "x"), 5, "off"),
        (("a", "--endpoint", "a", "--qr", "--output", "x"), 2, "not allowed with"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(run, hub, wg, words, code, said):
    done = run("peer", "add", *words, "--interface", "hub")
    assert (done[0], said in done[2]) == (code, True), done
    assert hub.read_text() == HUB
    assert wg.requests == []


def test_a_hub_that_refuses_leaves_the_file_as_it_was(run, hub, wg):
    wg.errno = -22
    code, out, err = run(*ADD)
    assert (code, out, "Invalid argument" in err) == (1, "", True)
    assert hub.read_text() == HUB


def test_a_file_that_cannot_be_written_lets_nobody_in(run, hub, wg, tmp_path):
    code, _, err = run(*ADD, "--output", str(tmp_path / "no" / "phone.conf"))
    assert (code, "cannot be made" in err) == (1, True)
    assert hub.read_text() == HUB
    assert [request[-1] for request in wg.requests] == ["allowed_ip=fd09::3/128", "remove=true"]


@pytest.mark.usefixtures("hub")
def test_a_file_of_its_own_is_only_its_owners_and_never_written_over(run, tmp_path):
    path = tmp_path / "phone.conf"
    assert run(*ADD, "--output", str(path))[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse(path.read_text(), "phone").peers
    other = run("peer", "add", "b", "--interface", "hub", "--endpoint", "a", "--output", str(path))
    assert (other[0], "exists already" in other[2]) == (2, True)


@pytest.mark.usefixtures("hub")
def test_without_an_interface_the_one_that_is_up_is_meant(run, daemon):
    assert run("peer", "list")[0] == 2
    fake = daemon("hub")
    fake.answer({"ok": True, "peers": []})
    assert run("peer", "list")[0] == 0
    daemon("other")
    assert "hub, other" in run("peer", "list")[2]


def test_the_file_is_the_one_that_the_tunnel_was_brought_up_from(run, daemon, tmp_path):
    path = tmp_path / "hub.conf"
    path.write_text(HUB)
    path.chmod(0o600)
    daemon("hub").answer({"ok": True, "peers": [], "source": str(path)})
    for interface in ((), ("--interface", "hub")):
        code, out, err = run("peer", "list", *interface)
        assert (code, "old" in out) == (0, True), err


@pytest.mark.usefixtures("hub")
def test_a_list_has_names_and_states(run, daemon):
    code, out, _ = run("peer", "list", "--interface", "hub")
    assert (code, out.split()[-4:]) == (0, ["10.9.0.2/32,", "fd09::2", "not", "up"])
    fake = daemon("hub")
    known = {"public_key": OTHER, "allowed_ips": ["10.9.0.2/32"], "state": "connected"}
    strange = {"public_key": OWN, "allowed_ips": [], "state": "idle", "handshake_age": None}
    fake.answer({"ok": True, "peers": [{**known, "handshake_age": 62.0}, strange]})
    out = run("peer", "list", "--interface", "hub")[1].splitlines()
    assert out[0].split() == ["NAME", "PUBLIC", "KEY", "ALLOWED", "IPS", "STATE"]
    assert out[1].endswith("10.9.0.2/32  connected, last handshake 1 minute, 2 seconds ago")
    assert out[1].startswith(f"old   {OTHER}")
    assert out[2].endswith("idle, not in the file")
    document = json.loads(run("peer", "list", "--interface", "hub", "--json")[1])
    assert document["schema"] == "sacip-tun/peers/1"
    assert [(peer["name"], peer["saved"]) for peer in document["peers"]] == [
        ("old", True),
        (None, False),
    ]


@pytest.mark.parametrize("wanted", ["phone", "key"])
def test_removing_undoes_what_adding_did(run, hub, wg, wanted):
    out = run(*ADD)[1]
    key = to_base64(public_key(parse(out, "phone").interface.private_key))
    code, out, err = run("peer", "remove", key if wanted == "key" else wanted, "--interface", "hub")
    assert (code, out) == (0, ""), err
    assert hub.read_text() == HUB
    assert wg.requests[-1][-1] == "remove=true"


@pytest.mark.usefixtures("hub")
def test_removing_nobody(run, wg):
    code, _, err = run("peer", "remove", "nobody", "--interface", "hub")
    assert (code, "there are: old" in err) == (5, True)
    assert wg.requests == []


@pytest.mark.usefixtures("hub")
def test_a_phone_reads_the_code(run):
    """zxing-cpp knows nothing of the encoder."""
    out = run(*ADD, "--qr")[1]
    assert read_code(out).startswith("[Interface]\nPrivateKey = ")
    assert len(parse(read_code(out), "phone").peers) == 1
    assert max(len(line) for line in plain(out)) <= 80, "it fits a terminal"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=600))
def test_every_text_is_read_as_it_was(text):
    assert read_code(drawn(text)) == text


def plain(text):
    return [line.removeprefix(BEGIN).removesuffix(END) for line in text.splitlines()]


def read_code(text):
    """Decode what a terminal shows: two rows of modules a line, light where there is a block."""
    rows = []
    for line in plain(text):
        rows += [[c in "█▀" for c in line], [c in "█▄" for c in line]]
    scale = 3
    width = len(rows[0]) * scale
    pixels = bytearray()
    for row in rows:
        pixels += bytes(255 * light for light in row for _ in range(scale)) * scale
    (found,) = zxingcpp.read_barcodes(
        memoryview(bytes(pixels)).cast("B", (len(rows) * scale, width))
    )
    return found.text


def made(addresses, *peers):
    interface = InterfaceConfig("hub", bytes(32), tuple(map(ip_interface, addresses)))
    networks = [tuple(ip_interface(text).network for text in peer) for peer in peers]
    return Config(
        interface,
        tuple(PeerConfig(bytes([n]), allowed_ips=some) for n, some in enumerate(networks)),
    )


@pytest.mark.parametrize(
    ("addresses", "peers", "wanted"),
    [
        (["10.9.0.1/24"], [], "10.9.0.2"),
        (["10.9.0.7/24"], [], "10.9.0.1"),
        (
            ["10.9.0.1/24"],
            [["10.9.0.3/32", "10.9.0.2/32"], ["0.0.0.0/0", "10.9.0.0/24"]],
            "10.9.0.4",
        ),
        (["10.9.0.1/24"], [["10.9.0.0/28"], ["10.9.0.16/29"]], "10.9.0.24"),
        (["10.9.0.1/30"], [], "10.9.0.2"),
        (["10.9.0.1/31"], [], "10.9.0.0"),
        (["fd09::1/64"], [["fd09::2/127"]], "fd09::4"),
        (["fd09::/127"], [], "fd09::1"),
    ],
)
def test_the_next_free_address(addresses, peers, wanted):
    assert free_addresses(made(addresses, *peers)) == (ip_address(wanted),)


def test_a_full_network_and_one_that_is_none():
    with pytest.raises(Failure, match="no address is free"):
        free_addresses(made(["10.9.0.1/30"], ["10.9.0.2/32"]))
    with pytest.raises(Failure, match="no network"):
        free_addresses(made(["10.9.0.1/32"]))


@given(st.sets(st.integers(1, 62)), st.integers(1, 62))
def test_it_is_the_lowest_that_nobody_has(taken, own):
    peers = [[f"10.9.0.{number}/32"] for number in taken]
    free = set(range(1, 63)) - taken - {own}
    hub = made([f"10.9.0.{own}/26"], *peers)
    if free:
        assert free_addresses(hub) == (ip_address(f"10.9.0.{min(free)}"),)
    else:
        with pytest.raises(Failure):
            free_addresses(hub)
