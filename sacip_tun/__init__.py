"""sacip-tun: a VPN tunnel that does not notice when your address changes.

Four rooms, one direction: daemon (runs) > datapath (moves) > linux (touches) > protocol (thinks).
"""

__version__ = "0.1.0"
