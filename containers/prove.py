"""`make lab`: the lab of docker-compose.yml brought up, and moved about under live connections.

    python containers/prove.py [--only ROAM ...] [--own] [--report docs]

Where a Docker engine runs, it is used; where none does, or with --own, one is started for this
time: it makes the base image by debootstrap, asks no registry, and leaves nothing behind.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired

import page
from composed import IMAGE, TREE, Environment, Lab, engine_runs
from engine import DOWNLOAD, Engine
from proof import Proof, Prover, sound, told
from roams import ROAMS, Roam

from sacip_tun.lab.endings import ENDINGS
from sacip_tun.linux.errors import SetupError
from sacip_tun.outcome import Exit


@contextmanager
def engine(*, own: bool) -> Iterator[Environment]:
    """Give the environment of an engine with the lab's image, running as long as this does."""
    if not own and engine_runs():
        print("making the lab's image", flush=True)
        Lab(os.environ).compose("build", "keys", patience=DOWNLOAD)
        yield os.environ
        return
    print("starting a Docker engine for this lab alone", flush=True)
    with Engine() as started:
        print("making the base image and the lab's; a minute or two", flush=True)
        started.import_base()
        started.build(TREE, IMAGE)
        started.isolate()
        yield started.environment


def proven(lab: Lab, roams: Sequence[Roam]) -> tuple[list[Proof], bool]:
    """Make the roams, tell of each, and say whether all are sound."""
    prover, proofs = Prover(lab), []
    for roam in roams:
        proofs.append(prover.prove(roam))
        print(told(proofs[-1]), flush=True)
    return proofs, all(sound(proof, prover.shell) for proof in proofs)


def main() -> int:
    """Run; 0 where nothing was lost."""
    names = [roam.name for roam in ROAMS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROAM")
    parser.add_argument("--own", action="store_true", help="start an engine even where one runs")
    parser.add_argument("--report", type=Path, help="put the figures into handover.md there")
    options = parser.parse_args()
    for number in ENDINGS:
        # As Ctrl-C does: through every `finally`.
        signal.signal(number, signal.default_int_handler)
    try:
        with engine(own=options.own) as environment, Lab(environment) as lab:
            proofs, all_sound = proven(lab, [roam for roam in ROAMS if roam.name in options.only])
    except SetupError as error:
        print(f"lab: error: {error.cause}\nlab: fix: {error.fix}", file=sys.stderr)
        return Exit.NO_PRIVILEGE if error.missing else Exit.FAILED
    except (CalledProcessError, TimeoutExpired) as error:
        print(f"lab: error: {error}", *getattr(error, "__notes__", ()), file=sys.stderr)
        return Exit.FAILED
    except ConnectionError as error:
        print(f"lab: error: there is no telnet session: {error}", file=sys.stderr)
        return Exit.FAILED
    except KeyboardInterrupt:
        print("lab: stopped; all of it is gone", file=sys.stderr)
        return Exit.FAILED
    if options.report:
        page.write(options.report / "handover.md", proofs)
    print("nothing was lost" if all_sound else "SOMETHING WAS LOST")
    return Exit.OK if all_sound else Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
