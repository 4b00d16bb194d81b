"""Keys in base64 as `wg` writes them, and the identity."""

import pytest

from sacip_tun.protocol.errors import LocalError
from sacip_tun.protocol.keys import (
    NO_PRESHARED_KEY,
    StaticIdentity,
    clamped,
    from_base64,
    public_key,
    to_base64,
)

# RFC 7748 section 6.1.
ALICE_PRIVATE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB_PRIVATE = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


def test_public_keys_of_rfc_7748() -> None:
    assert public_key(ALICE_PRIVATE) == ALICE_PUBLIC
    assert public_key(BOB_PRIVATE) == BOB_PUBLIC


def test_exchange_of_rfc_7748() -> None:
    assert StaticIdentity(ALICE_PRIVATE).exchange(BOB_PUBLIC) == SHARED
    assert StaticIdentity(BOB_PRIVATE).exchange(ALICE_PUBLIC) == SHARED


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_exchange_refuses_low_order(point: bytes) -> None:
    with pytest.raises(ValueError, match="shared"):
        StaticIdentity(ALICE_PRIVATE).exchange(point)


def test_clamping_changes_the_look_and_not_the_key() -> None:
    key = clamped(b"\xff" * 32)
    assert key == b"\xf8" + b"\xff" * 30 + b"\x7f"
    assert clamped(key) == key
    assert clamped(bytes(32)) == bytes(31) + b"\x40"
    assert public_key(clamped(BOB_PRIVATE)) == BOB_PUBLIC


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_32_bytes_are_a_key(length: int) -> None:
    with pytest.raises(LocalError, match=f"32 bytes, this one has {length}"):
        StaticIdentity(bytes(length))
    with pytest.raises(LocalError, match="32 bytes"):
        clamped(bytes(length))


def test_base64_round_trip() -> None:
    text = to_base64(ALICE_PUBLIC)
    assert text == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    assert from_base64(text) == ALICE_PUBLIC


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "this one has 0"),
        ("A" * 43, "this one has 43"),
        ("A" * 43 + "==", "this one has 45"),
        (" " + "A" * 42 + "=", "not base64"),
        ("A" * 42 + "\n=", "not base64"),
        ("Å" * 43 + "=", "not base64"),
        ("-" * 43 + "=", "not base64"),
        ("A" * 43 + "\0", "not base64"),
        # 33 and 31 bytes in 44 characters; 32 bytes with a bit set that nobody reads.
        ("A" * 44, "not the base64 of 32 bytes"),
        ("A" * 42 + "==", "not the base64 of 32 bytes"),
        ("A" * 42 + "B=", "not the base64 of 32 bytes"),
    ],
)
def test_base64_complaints_never_quote_the_key(text: str, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint) as caught:
        from_base64(text)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_repr_hides_the_secret() -> None:
    identity = StaticIdentity(ALICE_PRIVATE)
    assert to_base64(ALICE_PUBLIC) in repr(identity)
    assert to_base64(ALICE_PRIVATE) not in repr(identity)
    assert ALICE_PRIVATE.hex() not in repr(identity)


def test_no_preshared_key_is_zero() -> None:
    assert bytes(32) == NO_PRESHARED_KEY


def test_a_secret_that_is_remembered_is_the_same_and_can_be_forgotten() -> None:
    ours, theirs = StaticIdentity(bytes(range(32))), StaticIdentity(bytes(range(32, 64)))
    fresh = ours.exchange(theirs.public)
    ours.remember(theirs.public)
    for _ in range(3):
        assert ours.exchange(theirs.public) == fresh == theirs.exchange(ours.public)
    assert fresh.hex() not in repr(ours)
    ours.forget(theirs.public)
    ours.forget(theirs.public)
    assert ours.exchange(theirs.public) == fresh


def test_a_point_of_low_order_stays_refused() -> None:
    ours = StaticIdentity(bytes(range(32)))
    ours.remember(bytes(32))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"."):
            ours.exchange(bytes(32))
