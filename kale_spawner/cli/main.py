"""`kale-spawner`: what it can be told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kale_spawner.cli import doctor, volumes

_ABOUT = "Your volumes and snapshots on a JupyterHub, and a check of its cluster."
_MORE = """\
examples:
  kale-spawner volumes create data --size 20Gi
  kale-spawner snapshots take data --wait
  kale-spawner restore monday --server lab
  kale-spawner doctor --config jupyterhub_config.py

The hub, and your token for it: JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN, or --hub and
--token-file. "kale-spawner COMMAND --help" tells the rest."""


def made_parser() -> argparse.ArgumentParser:
    """Of all that the command can be told."""
    parser = argparse.ArgumentParser(
        prog="kale-spawner",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    volumes.add_commands(commands)
    doctor.add_command(commands)
    return parser


def main(given: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 refused, failed or something missing, 2 wrong usage."""
    arguments = made_parser().parse_args(given)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
