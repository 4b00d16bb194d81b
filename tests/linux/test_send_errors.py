import errno

import pytest

from sacip_tun.linux.send_errors import SendError, fix, meaning


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENETUNREACH, SendError.NO_ROUTE),
        (errno.ENETDOWN, SendError.NO_ROUTE),
        (errno.EHOSTUNREACH, SendError.NO_NEIGHBOUR),
        (errno.EADDRNOTAVAIL, SendError.BAD_SOURCE),
        (errno.EINVAL, SendError.BAD_SOURCE),
        (errno.ENODEV, SendError.BAD_SOURCE),
        (errno.EPERM, SendError.FORBIDDEN),
        (errno.EACCES, SendError.FORBIDDEN),
        (errno.ENOBUFS, SendError.FULL),
        (errno.EAGAIN, SendError.FULL),
        (errno.EMSGSIZE, SendError.TOO_BIG),
        (errno.ECONNREFUSED, SendError.STRAY),
        (errno.EPROTO, SendError.STRAY),
        (0, SendError.STRAY),
    ],
)
def test_each_errno_has_one_meaning(number, expected):
    assert meaning(number) is expected


def test_only_what_the_user_can_mend_has_a_fix():
    assert "nft" in fix(errno.EPERM)
    assert "route" in fix(errno.EACCES)
    assert fix(errno.ENETUNREACH) == ""
