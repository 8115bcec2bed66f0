"""`python3 -m localcluster`: the local cluster's command line."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from localcluster import cluster, programs
from setup.system import RefusedError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python3 -m localcluster", description=cluster.__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default="demo", help="which cluster (default: demo)")
    up = verbs.add_parser("up", parents=[named], help="bring a cluster up")
    up.add_argument("--load", nargs="+", default=[], type=Path, metavar="ARCHIVE")
    up.add_argument("--control-plane-only", action="store_true", help="an API without a node")
    verbs.add_parser("down", parents=[named], help="remove a cluster and all that is in it")
    status = verbs.add_parser("status", parents=[named], help="how a cluster is")
    status.add_argument("--json", action="store_true")
    load = verbs.add_parser("load", parents=[named], help="import images")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    verbs.add_parser("build", help="build the Go programs, nothing else")
    inside = verbs.add_parser("exec", parents=[named], help="run a command inside a cluster")
    inside.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return parser.parse_args()


def main() -> int:
    asked = _arguments()
    if asked.verb == "up":
        found = cluster.up(asked.name, asked.load, asked.control_plane_only)
        print(f"cluster {asked.name} is up: export KUBECONFIG={found.kubeconfig}")
    elif asked.verb == "down":
        cluster.down(asked.name)
    elif asked.verb == "status":
        found = cluster.status(asked.name)
        for key, value in asdict(found).items() if not asked.json else ():
            print(f"{key:20} {value}")
        if asked.json:
            print(json.dumps(asdict(found)))
        return 0 if found.running else 1
    elif asked.verb == "load":
        cluster.load_images(asked.name, asked.archives)
    elif asked.verb == "build":
        programs.build()
    else:
        return cluster.run_inside(asked.name, asked.command[asked.command[:1] == ["--"] :])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RefusedError as error:
        sys.exit(f"localcluster: {error}")
