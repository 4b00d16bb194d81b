"""mac1, mac2 and cookies: the round trip, and every way to tamper with it."""

from dataclasses import replace
from hashlib import blake2s
from ipaddress import ip_address

import pytest

from sacip_tun.protocol.address import Endpoint
from sacip_tun.protocol.cookie import CookieChecker, CookieJar
from sacip_tun.protocol.errors import Drop, RemoteError
from sacip_tun.protocol.limits import COOKIE_LATENCY, COOKIE_REFRESH_TIME
from sacip_tun.protocol.messages import CookieReply, Initiation, Response

PUBLIC = bytes(range(32))
NONCE = bytes(range(24))
SOURCE = Endpoint(ip_address("192.0.2.1"), 51820)
START = 1000.0
MESSAGES = [
    Initiation(0x04030201, b"e" * 32, b"s" * 48, b"t" * 28).encode(),
    Response(0x04030201, 5, b"e" * 32, b"n" * 16).encode(),
]


class Secrets:
    """Entropy that never repeats and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, count: int) -> bytes:
        self.asked += 1
        return bytes([self.asked]) * count


def pair() -> tuple[CookieChecker, CookieJar]:
    return CookieChecker(PUBLIC, Secrets()), CookieJar(PUBLIC)


def with_cookie() -> tuple[CookieChecker, CookieJar]:
    """A checker, and a jar that holds its cookie for SOURCE since START."""
    checker, jar = pair()
    datagram = jar.seal(MESSAGES[0], now=START)
    jar.consume(checker.reply(datagram, SOURCE, nonce=NONCE, now=START), now=START)
    return checker, jar


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("message", MESSAGES)
def test_mac1_by_the_paper(message: bytes) -> None:
    datagram = CookieJar(PUBLIC).seal(message, now=START)
    key = blake2s(b"mac1----" + PUBLIC).digest()
    assert len(datagram) == len(message)
    assert datagram[:-32] == message[:-32]
    assert datagram[-32:-16] == blake2s(message[:-32], key=key, digest_size=16).digest()
    assert datagram[-16:] == bytes(16)


@pytest.mark.parametrize("message", MESSAGES)
def test_mac1_round_trip_and_every_change(message: bytes) -> None:
    checker, jar = pair()
    datagram = jar.seal(message, now=START)
    assert checker.mac1_ok(datagram)
    for at in range(len(datagram) - 16):
        assert not checker.mac1_ok(flipped(datagram, at))
    assert checker.mac1_ok(flipped(datagram, len(datagram) - 1))


def test_mac1_of_another_responder() -> None:
    datagram = CookieJar(bytes(32)).seal(MESSAGES[0], now=START)
    assert not CookieChecker(PUBLIC, Secrets()).mac1_ok(datagram)


def test_no_cookie_no_mac2_and_no_secret_spent() -> None:
    secrets = Secrets()
    checker = CookieChecker(PUBLIC, secrets)
    datagram = CookieJar(PUBLIC).seal(MESSAGES[0], now=START)
    assert not checker.mac2_ok(datagram, SOURCE, now=START)
    assert secrets.asked == 0


def test_cookie_by_the_paper() -> None:
    checker, jar = with_cookie()
    cookie = blake2s(
        bytes([192, 0, 2, 1, 51820 >> 8, 51820 & 255]), key=b"\1" * 32, digest_size=16
    ).digest()
    datagram = jar.seal(MESSAGES[0], now=START)
    expected = blake2s(datagram[:-16], key=cookie, digest_size=16).digest()
    assert datagram[-16:] == expected
    assert checker.mac2_ok(datagram, SOURCE, now=START)


@pytest.mark.parametrize("message", MESSAGES)
def test_mac2_round_trip_and_every_change(message: bytes) -> None:
    checker, jar = with_cookie()
    datagram = jar.seal(message, now=START + 1)
    assert checker.mac1_ok(datagram)
    assert checker.mac2_ok(datagram, SOURCE, now=START + 1)
    for at in range(len(datagram)):
        assert not checker.mac2_ok(flipped(datagram, at), SOURCE, now=START + 1)


@pytest.mark.parametrize(
    "other",
    [
        Endpoint(ip_address("192.0.2.1"), 51821),
        Endpoint(ip_address("192.0.2.2"), 51820),
        Endpoint(ip_address("::ffff:192.0.2.1"), 51820),
    ],
)
def test_a_cookie_is_for_one_address_and_port(other: Endpoint) -> None:
    checker, jar = with_cookie()
    assert not checker.mac2_ok(jar.seal(MESSAGES[0], now=START), other, now=START)


def test_a_cookie_is_not_for_one_interface() -> None:
    checker, jar = with_cookie()
    elsewhere = replace(SOURCE, interface=7)
    assert checker.mac2_ok(jar.seal(MESSAGES[0], now=START), elsewhere, now=START)


def test_reply_names_the_sender_and_survives_the_wire() -> None:
    checker, jar = pair()
    datagram = jar.seal(MESSAGES[0], now=START)
    reply = checker.reply(datagram, SOURCE, nonce=NONCE, now=START)
    assert reply.receiver == 0x04030201
    assert reply.nonce == NONCE
    jar.consume(CookieReply.parse(reply.encode()), now=START)
    assert checker.mac2_ok(jar.seal(MESSAGES[0], now=START), SOURCE, now=START)


def test_every_change_of_a_reply_is_noticed_and_harmless() -> None:
    checker, jar = pair()
    datagram = jar.seal(MESSAGES[0], now=START)
    reply = checker.reply(datagram, SOURCE, nonce=NONCE, now=START)
    changed = [replace(reply, nonce=flipped(reply.nonce, at)) for at in range(24)]
    changed += [replace(reply, cookie=flipped(reply.cookie, at)) for at in range(32)]
    for forged in changed:
        with pytest.raises(RemoteError) as caught:
            jar.consume(forged, now=START)
        assert caught.value.reason is Drop.BAD_COOKIE
    assert jar.seal(MESSAGES[0], now=START)[-16:] == bytes(16)
    jar.consume(reply, now=START)


def test_a_reply_to_an_older_message_is_refused() -> None:
    checker, jar = pair()
    reply = checker.reply(jar.seal(MESSAGES[0], now=START), SOURCE, nonce=NONCE, now=START)
    jar.seal(MESSAGES[1], now=START)
    with pytest.raises(RemoteError) as caught:
        jar.consume(reply, now=START)
    assert caught.value.reason is Drop.BAD_COOKIE


def test_a_reply_to_nothing_is_refused() -> None:
    checker, jar = pair()
    reply = checker.reply(MESSAGES[0], SOURCE, nonce=NONCE, now=START)
    with pytest.raises(RemoteError) as caught:
        jar.consume(reply, now=START)
    assert caught.value.reason is Drop.BAD_COOKIE


def test_a_reply_counts_once() -> None:
    checker, jar = pair()
    reply = checker.reply(jar.seal(MESSAGES[0], now=START), SOURCE, nonce=NONCE, now=START)
    jar.consume(reply, now=START)
    with pytest.raises(RemoteError):
        jar.consume(reply, now=START)


def test_a_reply_of_another_responder_is_refused() -> None:
    _, jar = pair()
    datagram = jar.seal(MESSAGES[0], now=START)
    reply = CookieChecker(bytes(32), Secrets()).reply(datagram, SOURCE, nonce=NONCE, now=START)
    with pytest.raises(RemoteError):
        jar.consume(reply, now=START)


def test_the_jar_stops_using_a_cookie_before_it_expires() -> None:
    checker, jar = with_cookie()
    last = START + COOKIE_REFRESH_TIME - COOKIE_LATENCY
    assert checker.mac2_ok(jar.seal(MESSAGES[0], now=last - 0.1), SOURCE, now=last - 0.1)
    assert jar.seal(MESSAGES[0], now=last)[-16:] == bytes(16)
    assert jar.seal(MESSAGES[0], now=START)[-16:] == bytes(16)


def test_the_secret_rotates() -> None:
    checker, jar = with_cookie()
    datagram = jar.seal(MESSAGES[0], now=START)
    end = START + COOKIE_REFRESH_TIME
    assert checker.mac2_ok(datagram, SOURCE, now=end - 0.1)
    assert not checker.mac2_ok(datagram, SOURCE, now=end)
    checker.reply(datagram, SOURCE, nonce=NONCE, now=end)
    assert not checker.mac2_ok(datagram, SOURCE, now=end)


def test_the_secret_lives_as_long_as_it_should() -> None:
    secrets = Secrets()
    checker = CookieChecker(PUBLIC, secrets)
    replies = [
        checker.reply(MESSAGES[0], SOURCE, nonce=NONCE, now=START + age)
        for age in (0, COOKIE_REFRESH_TIME - 0.1, COOKIE_REFRESH_TIME)
    ]
    assert secrets.asked == 2
    assert replies[0] == replies[1] != replies[2]
