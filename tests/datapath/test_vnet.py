from superpackets import VNET

from sacip_tun.datapath.vnet import PLAIN, VNET_FORMAT, VNET_HEADER


def test_the_header_is_that_of_a_legacy_device() -> None:
    assert VNET_HEADER == VNET.size == len(PLAIN) == 10
    fields = (1, 5, 28, 1392, 20, 6)  # seen on a TUN, UDP_L4
    assert VNET_FORMAT.pack(*fields) == VNET.pack(*fields)
