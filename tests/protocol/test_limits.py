"""The constants that the WireGuard paper publishes, and what follows from them."""

from sacip_tun.protocol import limits


def test_the_published_constants() -> None:
    assert limits.REKEY_AFTER_MESSAGES == 2**60
    assert limits.REJECT_AFTER_MESSAGES == 2**64 - 2**13 - 1
    assert limits.REKEY_AFTER_TIME == 120
    assert limits.REJECT_AFTER_TIME == 180
    assert limits.REKEY_ATTEMPT_TIME == 90
    assert limits.REKEY_TIMEOUT == 5
    assert limits.KEEPALIVE_TIMEOUT == 10
    assert limits.COOKIE_REFRESH_TIME == 120


def test_what_follows_from_them() -> None:
    assert limits.MAX_HANDSHAKE_RETRIES == 18
    assert limits.NEW_HANDSHAKE_TIMEOUT == 15
    assert limits.REKEY_AFTER_TIME_RECEIVING == 165
    assert limits.ERASE_KEYS_AFTER_TIME == 540
