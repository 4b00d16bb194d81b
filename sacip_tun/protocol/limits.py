"""Every limit of the WireGuard transport, with unit and source.

"WireGuard 6.1" and the like are sections of the WireGuard paper (Donenfeld, NDSS 2017, revision of
2020); "kernel" is drivers/net/wireguard of Linux. Times are seconds.
"""

# A session is renewed after this many messages (WireGuard 6.1).
REKEY_AFTER_MESSAGES = 1 << 60
# No counter at or above this is sent or accepted (WireGuard 6.1: 2^64 - 2^13 - 1). The kernel
# allows 64 more; ours is the stricter, and both ends have rekeyed long before.
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1

# The initiator renews a session of this age when it sends (WireGuard 6.1, 6.2).
REKEY_AFTER_TIME = 120.0
# Nothing is sent or accepted under a session of this age (WireGuard 6.1).
REJECT_AFTER_TIME = 180.0
# An unanswered initiation is repeated after this time plus a jitter (WireGuard 6.1, 6.4).
REKEY_TIMEOUT = 5.0
# At most this much random delay is added to REKEY_TIMEOUT, so that two ends that started together
# do not go on colliding (kernel: 333 ms).
REKEY_JITTER = 0.334
# Repeating stops this long after the first initiation (WireGuard 6.1, 6.4).
REKEY_ATTEMPT_TIME = 90.0
# Initiations after the first within REKEY_ATTEMPT_TIME (kernel: MAX_TIMER_HANDSHAKES).
MAX_HANDSHAKE_RETRIES = int(REKEY_ATTEMPT_TIME / REKEY_TIMEOUT)
# Data came and nothing went back for this long: send an empty message (WireGuard 6.1, 6.5).
KEEPALIVE_TIMEOUT = 10.0
# Data went out and nothing came back for this long: start a handshake (WireGuard 6.5).
NEW_HANDSHAKE_TIMEOUT = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT
# The initiator renews a session of this age when it receives, because an answer may not be able to
# wait for the next packet to send (WireGuard 6.2).
REKEY_AFTER_TIME_RECEIVING = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
# Every key of a peer is erased when no session was agreed for this long (WireGuard 6.3).
ERASE_KEYS_AFTER_TIME = 3 * REJECT_AFTER_TIME

# A cookie secret lives this long, and so does every cookie made with it (WireGuard 6.6).
COOKIE_REFRESH_TIME = 120.0
# A cookie is not used in its last seconds: it could expire on the way (kernel: 5 s).
COOKIE_LATENCY = 5.0

# More initiations than this in a second from one peer are not answered (kernel). They are replays
# or a broken peer: an honest one sends one in REKEY_TIMEOUT.
INITIATIONS_PER_SECOND = 50
# Handshake messages that one source may send in a second while we are under load (kernel).
HANDSHAKES_PER_SOURCE_PER_SECOND = 20
# And at once, after a pause (kernel).
HANDSHAKE_BURST_PER_SOURCE = 5
# Sources remembered by the rate limit; beyond that, new ones wait. About 1 MB when full.
MAX_RATE_LIMITED_SOURCES = 4096
# More handshake messages than this in a second mean load: cookies are demanded. Answering one
# costs 0.25 ms of one core (measured), so that load starts at a fifteenth of a core.
UNDER_LOAD_HANDSHAKES_PER_SECOND = 256

# Counters this far behind the highest are still accepted (kernel: 8192 bits less one word).
REPLAY_WINDOW = 8128
