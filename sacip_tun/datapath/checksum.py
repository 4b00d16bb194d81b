"""The Internet checksum (RFC 1071), of one packet and of many rows at once.

One's complement addition of 16-bit words is addition modulo 65535, where 0 and 65535 are the same
number. So a sum may be taken in any word size, in any order, and reduced once at the end; a packet
is right if all its words, checksum and pseudo-header included, sum to 0; and the checksum to write
is the negative sum.
"""

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

MODULUS: Final = 0xFFFF

# A sum in native byte order times this is the sum in network order: swapping the bytes of every
# word is multiplication by 256 (RFC 1071 section 2 B).
_TO_NETWORK: Final = np.uint32(256 if sys.byteorder == "little" else 1)


def word_sum(data: bytes | bytearray | memoryview) -> int:
    """Return the sum of the big-endian words, modulo 65535. An odd last byte gets a zero behind."""
    total = int.from_bytes(data, "big") % MODULUS
    return total * 256 % MODULUS if len(data) & 1 else total


def finished(total: int) -> int:
    """Return the checksum for words that sum to `total`."""
    return -total % MODULUS


def row_sums(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the `word_sum` of each row of an (n, width) view: n numbers below 2**25, not reduced.

    Rows need not lie back to back, but must start at an even offset of their buffer to be fast.
    """
    width = rows.shape[1]
    words = rows[:, : width & ~1].view(np.uint16)
    totals: NDArray[np.uint32] = np.add.reduce(words, axis=1, dtype=np.uint32)
    totals = totals % MODULUS * _TO_NETWORK
    if width & 1:
        totals += rows[:, -1].astype(np.uint32) << 8
    return totals


def finished_rows(totals: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the checksum for each total; totals are below 2**32 and need not be reduced."""
    return ~totals % MODULUS  # to invert is to subtract from 2**32 - 1, a multiple of 65535
