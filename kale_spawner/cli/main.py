"""`kale-spawner`: what it can be told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kale_spawner.cli import doctor, volumes


def main(given: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 refused, failed or something missing, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="kale-spawner", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    volumes.add_commands(commands)
    doctor.add_command(commands)
    arguments = parser.parse_args(given)
    try:
        return int(doctor.run(arguments) if "config" in arguments else volumes.run(arguments))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
