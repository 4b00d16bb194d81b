from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum

from sacip_tun.datapath.checksum import finished, finished_rows, row_sums, word_sum


@given(st.binary(min_size=1, max_size=200).filter(any))
def test_the_checksum_is_that_of_scapy(data: bytes) -> None:
    assert finished(word_sum(data)) == checksum(data)


@given(st.binary(min_size=2, max_size=200).filter(any))
def test_a_packet_with_its_checksum_sums_to_zero(data: bytes) -> None:
    even = data + b"\0" if len(data) & 1 else data
    assert word_sum(even + finished(word_sum(even)).to_bytes(2, "big")) == 0


@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 5), st.randoms())
def test_rows_are_summed_as_one_by_one(count: int, width: int, gap: int, random: Random) -> None:
    data = np.frombuffer(random.randbytes(count * (width + gap)), np.uint8)
    rows = data.reshape(count, width + gap)[:, :width]
    sums = row_sums(rows)
    assert (sums % 0xFFFF).tolist() == [word_sum(row.tobytes()) for row in rows]
    assert all(sums < 2**25)


@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_the_longest_row_does_not_overflow(fill: int) -> None:
    sums = row_sums(np.full((2, 65_535), fill, np.uint8)) % 0xFFFF
    assert sums.tolist() == [word_sum(bytes([fill]) * 65_535)] * 2


def test_checksums_are_finished_alike_for_rows() -> None:
    totals = [0, 1, 0xFFFE, 0xFFFF, 0x10000, 2**32 - 1]
    rows = finished_rows(np.array(totals, np.uint32)).tolist()
    assert rows == [finished(total) for total in totals]
    assert all(0 <= row < 0xFFFF for row in rows)
