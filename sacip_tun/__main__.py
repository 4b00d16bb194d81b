"""`python -m sacip_tun`: the command line."""

from sacip_tun.cli import program

if __name__ == "__main__":
    program()
