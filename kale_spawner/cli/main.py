"""`kale-spawner`: what it can be told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from kale_spawner.cli import volumes

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
    _add_doctor(commands)
    return parser


def _add_doctor(commands: Any) -> None:
    about = "check whether the cluster has what the hub's configuration needs"
    more = (
        "Check whether the cluster has what the hub's configuration needs, and say what mends it."
    )
    parser = commands.add_parser("doctor", help=about, description=more)
    parser.add_argument("--config", metavar="FILE", help="the hub's jupyterhub_config.py")
    parser.add_argument(
        "--namespace", help="where the servers run; default: what the configuration says"
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="the way to the cluster; default: as kubectl finds it, or that of the pod it runs in",
    )
    parser.add_argument(
        "--as",
        dest="acting_as",
        metavar="USER",
        help="check the rights of this account: system:serviceaccount:NAMESPACE:NAME",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    """The rest of the command needs nothing of what this imports, which takes seconds."""
    from kale_spawner.cli import doctor

    return doctor.run(arguments)


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
