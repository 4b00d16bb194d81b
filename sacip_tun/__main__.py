"""`python -m sacip_tun`: the command line."""

import sys

from sacip_tun.cli import main

if __name__ == "__main__":
    sys.exit(main())
