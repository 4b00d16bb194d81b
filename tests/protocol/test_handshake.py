"""The handshake, held against an independent implementation of Noise.

The oracle is the package `noiseprotocol`, told WireGuard's prologue and given known ephemeral keys:
every byte of both messages and both transport keys must be the same.
"""

import hmac
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from sacip_tun.protocol.errors import Drop, LocalError, RemoteError
from sacip_tun.protocol.handshake import (
    IDENTIFIER,
    Handshake,
    State,
    TransportKeys,
    mac,
    open_initiation,
    respond,
)
from sacip_tun.protocol.keys import NO_PRESHARED_KEY, StaticIdentity
from sacip_tun.protocol.messages import Initiation, Response
from sacip_tun.protocol.session import Session

STATIC_I, STATIC_R = bytes(range(32)), bytes(range(32, 64))
EPHEMERAL_I, EPHEMERAL_R = bytes(range(64, 96)), bytes(range(96, 128))
INITIATOR, RESPONDER = StaticIdentity(STATIC_I), StaticIdentity(STATIC_R)
STAMP = b"\x40\0\0\0\0\0\0\x0a\0\x5a\xc1\x01"
PSK = bytes(range(128, 160))
LOW_ORDER = [bytes(32), b"\1" + bytes(31)]

with_and_without_psk = pytest.mark.parametrize("psk", [NO_PRESHARED_KEY, PSK], ids=["plain", "psk"])


def oracle(psk: bytes, *, initiator: bool) -> Any:
    noise = NoiseConnection.from_name(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    noise.set_psks(psk)
    noise.set_prologue(b"WireGuard v1 zx2c4 Jason@zx2c4.com")
    static, ephemeral = (STATIC_I, EPHEMERAL_I) if initiator else (STATIC_R, EPHEMERAL_R)
    noise.set_keypair_from_private_bytes(Keypair.STATIC, static)
    noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    if initiator:
        noise.set_as_initiator()
        noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, RESPONDER.public)
    else:
        noise.set_as_responder()
    with pytest.warns(UserWarning, match="ephemeral keypairs is already set"):
        noise.start_handshake()
    return noise


def initiate(handshake: Handshake) -> Initiation:
    return handshake.initiate(
        INITIATOR, RESPONDER.public, index=0x11111111, timestamp=STAMP, ephemeral=EPHEMERAL_I
    )


def answer(initiation: Initiation, psk: bytes) -> tuple[Response, TransportKeys]:
    opened = open_initiation(RESPONDER, initiation)
    return respond(opened, psk, index=0x22222222, ephemeral=EPHEMERAL_R)


def started() -> tuple[Handshake, Initiation]:
    handshake = Handshake()
    return handshake, initiate(handshake)


def noise_part(message: Initiation | Response) -> bytes:
    """What Noise itself puts on the wire: no WireGuard header, no macs."""
    start = 8 if isinstance(message, Initiation) else 12
    return message.encode()[start:-32]


@with_and_without_psk
def test_initiator_against_the_oracle(psk: bytes) -> None:
    noise = oracle(psk, initiator=False)
    handshake, initiation = started()
    assert bytes(noise.read_message(noise_part(initiation))) == STAMP
    raw = bytes(noise.write_message(b""))
    response = Response(0x22222222, 0x11111111, raw[:32], raw[32:])
    keys = handshake.consume_response(INITIATOR, psk, response)

    session = Session(keys, now=0.0)
    for text in (b"sixteen bytes ok", b"x" * 64):
        assert bytes(noise.decrypt(session.seal(text)[16:])) == text
    for counter in range(2):
        sealed = bytes(noise.encrypt(b"from the oracle"))
        nonce = bytes(4) + counter.to_bytes(8, "little")
        assert session.opener.decrypt(nonce, sealed, None) == b"from the oracle"


@with_and_without_psk
def test_responder_against_the_oracle(psk: bytes) -> None:
    noise = oracle(psk, initiator=True)
    raw = bytes(noise.write_message(STAMP))
    initiation = Initiation(0x11111111, raw[:32], raw[32:80], raw[80:])
    opened = open_initiation(RESPONDER, initiation)
    assert opened.peer_public == INITIATOR.public
    assert opened.timestamp == STAMP
    assert opened.remote_index == 0x11111111
    response, keys = respond(opened, psk, index=0x22222222, ephemeral=EPHEMERAL_R)
    assert bytes(noise.read_message(noise_part(response))) == b""

    session = Session(keys, now=0.0)
    assert bytes(noise.decrypt(session.seal(b"sixteen bytes ok")[16:])) == b"sixteen bytes ok"
    sealed = bytes(noise.encrypt(b"from the oracle"))
    assert session.opener.decrypt(bytes(12), sealed, None) == b"from the oracle"


@with_and_without_psk
def test_every_byte_is_the_oracles(psk: bytes) -> None:
    noise_i, noise_r = oracle(psk, initiator=True), oracle(psk, initiator=False)
    _, initiation = started()
    raw = bytes(noise_i.write_message(STAMP))
    assert noise_part(initiation) == raw
    noise_r.read_message(raw)
    response, keys = answer(initiation, psk)
    assert noise_part(response) == bytes(noise_r.write_message(b""))
    assert keys.send == noise_r.noise_protocol.cipher_state_encrypt.k
    assert keys.receive == noise_r.noise_protocol.cipher_state_decrypt.k


@with_and_without_psk
def test_both_ends_agree(psk: bytes) -> None:
    handshake, initiation = started()
    response, theirs = answer(Initiation.parse(initiation.encode()), psk)
    ours = handshake.consume_response(INITIATOR, psk, Response.parse(response.encode()))
    assert (ours.send, ours.receive) == (theirs.receive, theirs.send)
    assert ours.send != ours.receive
    assert (ours.local_index, ours.remote_index) == (0x11111111, 0x22222222)
    assert (theirs.local_index, theirs.remote_index) == (0x22222222, 0x11111111)
    assert ours.initiator
    assert not theirs.initiator


def test_identifier_is_the_prologue_that_the_oracle_was_given() -> None:
    assert IDENTIFIER == b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def test_states() -> None:
    handshake = Handshake()
    assert handshake.state is State.ZEROED
    assert handshake.local_index is None
    initiation = initiate(handshake)
    assert handshake.state is State.CREATED_INITIATION
    assert handshake.local_index == 0x11111111
    response, _ = answer(initiation, PSK)
    handshake.consume_response(INITIATOR, PSK, response)
    assert handshake.state is State.ZEROED
    assert handshake.local_index is None


def test_a_response_counts_once() -> None:
    handshake, initiation = started()
    response, _ = answer(initiation, PSK)
    handshake.consume_response(INITIATOR, PSK, response)
    with pytest.raises(RemoteError) as caught:
        handshake.consume_response(INITIATOR, PSK, response)
    assert caught.value.reason is Drop.UNKNOWN_INDEX


def test_a_response_to_something_else_is_refused() -> None:
    handshake, initiation = started()
    response, _ = answer(initiation, PSK)
    with pytest.raises(RemoteError) as caught:
        handshake.consume_response(INITIATOR, PSK, replace(response, receiver=0x33333333))
    assert caught.value.reason is Drop.UNKNOWN_INDEX
    assert handshake.state is State.CREATED_INITIATION


def test_abandoned_handshakes_take_no_response() -> None:
    handshake, initiation = started()
    response, _ = answer(initiation, PSK)
    handshake.abandon()
    handshake.abandon()
    assert handshake.state is State.ZEROED
    with pytest.raises(RemoteError) as caught:
        handshake.consume_response(INITIATOR, PSK, response)
    assert caught.value.reason is Drop.UNKNOWN_INDEX


def test_a_new_initiation_replaces_the_old() -> None:
    handshake, first = started()
    second = handshake.initiate(
        INITIATOR, RESPONDER.public, index=7, timestamp=STAMP, ephemeral=EPHEMERAL_R
    )
    late, _ = answer(first, PSK)
    with pytest.raises(RemoteError):
        handshake.consume_response(INITIATOR, PSK, late)
    response, _ = answer(second, PSK)
    assert handshake.consume_response(INITIATOR, PSK, response).local_index == 7


@pytest.mark.parametrize("field", ["ephemeral", "static", "timestamp"])
def test_any_change_of_an_initiation_is_noticed(field: str) -> None:
    _, initiation = started()
    value: bytes = getattr(initiation, field)
    for at in range(len(value)):
        changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        with pytest.raises(RemoteError) as caught:
            open_initiation(RESPONDER, replace(initiation, **{field: changed}))
        assert caught.value.reason is Drop.BAD_HANDSHAKE


@pytest.mark.parametrize("field", ["ephemeral", "empty"])
def test_any_change_of_a_response_is_noticed_and_harmless(field: str) -> None:
    handshake, initiation = started()
    response, theirs = answer(initiation, PSK)
    value: bytes = getattr(response, field)
    for at in range(len(value)):
        changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        with pytest.raises(RemoteError) as caught:
            handshake.consume_response(INITIATOR, PSK, replace(response, **{field: changed}))
        assert caught.value.reason is Drop.BAD_HANDSHAKE
    assert handshake.consume_response(INITIATOR, PSK, response).send == theirs.receive


def test_the_preshared_key_must_be_the_same() -> None:
    handshake, initiation = started()
    response, _ = answer(initiation, PSK)
    with pytest.raises(RemoteError) as caught:
        handshake.consume_response(INITIATOR, NO_PRESHARED_KEY, response)
    assert caught.value.reason is Drop.BAD_HANDSHAKE


def test_an_initiation_for_somebody_else_is_refused() -> None:
    _, initiation = started()
    with pytest.raises(RemoteError) as caught:
        open_initiation(INITIATOR, initiation)
    assert caught.value.reason is Drop.BAD_HANDSHAKE


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_ephemerals_are_refused(point: bytes) -> None:
    handshake, initiation = started()
    with pytest.raises(RemoteError) as caught:
        open_initiation(RESPONDER, replace(initiation, ephemeral=point))
    assert caught.value.reason is Drop.BAD_HANDSHAKE
    response, _ = answer(initiation, PSK)
    with pytest.raises(RemoteError) as caught:
        handshake.consume_response(INITIATOR, PSK, replace(response, ephemeral=point))
    assert caught.value.reason is Drop.BAD_HANDSHAKE
    assert handshake.state is State.CREATED_INITIATION


def test_a_low_order_static_key_is_refused() -> None:
    """An initiator can seal any 32 bytes as its static key, also some that are not one."""
    lie = SimpleNamespace(public=bytes(32), exchange=INITIATOR.exchange)
    impostor = cast("StaticIdentity", lie)
    initiation = Handshake().initiate(
        impostor, RESPONDER.public, index=1, timestamp=STAMP, ephemeral=EPHEMERAL_I
    )
    with pytest.raises(RemoteError) as caught:
        open_initiation(RESPONDER, initiation)
    assert caught.value.reason is Drop.BAD_HANDSHAKE


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_peer_with_a_low_order_key_is_our_mistake(point: bytes) -> None:
    handshake = Handshake()
    with pytest.raises(LocalError, match="public key"):
        handshake.initiate(INITIATOR, point, index=1, timestamp=STAMP, ephemeral=EPHEMERAL_I)
    assert handshake.state is State.ZEROED


def test_answering_twice_gives_unrelated_keys() -> None:
    _, initiation = started()
    opened = open_initiation(RESPONDER, initiation)
    _, one = respond(opened, PSK, index=1, ephemeral=EPHEMERAL_R)
    _, other = respond(opened, PSK, index=2, ephemeral=bytes(32))
    assert len({one.send, one.receive, other.send, other.receive}) == 4


def test_both_ends_may_start_at_once() -> None:
    """Ours goes on while theirs is answered: both end well."""
    ours, initiation = started()
    theirs = Handshake()
    counter_initiation = theirs.initiate(
        RESPONDER, INITIATOR.public, index=9, timestamp=STAMP, ephemeral=EPHEMERAL_R
    )
    opened = open_initiation(INITIATOR, counter_initiation)
    counter_response, _ = respond(opened, PSK, index=8, ephemeral=bytes(32))
    response, _ = answer(initiation, PSK)
    assert ours.consume_response(INITIATOR, PSK, response).remote_index == 0x22222222
    assert theirs.consume_response(RESPONDER, PSK, counter_response).remote_index == 8


def test_repr_hides_secrets() -> None:
    handshake, initiation = started()
    opened = open_initiation(RESPONDER, initiation)
    response, _ = answer(initiation, PSK)
    keys = handshake.consume_response(INITIATOR, PSK, response)
    shown = repr((handshake, opened, keys))
    for secret in (keys.send, keys.receive, opened.symmetric.chain, opened.symmetric.hash):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


@given(st.binary(max_size=64), st.binary(max_size=200))
def test_the_mac_is_hmac(key: bytes, data: bytes) -> None:
    assert mac(key, data) == hmac.digest(key, data, "blake2s")
