"""`kale-spawner volumes`, `snapshots` and `restore`: what the Volumes page does, in a terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kale_spawner.cli.hub import Hub, HubError, connect

_WAIT_SECONDS = 600.0
_COLUMNS = {
    "volumes": ("name", "size", "state_text", "servers", "origin_text"),
    "snapshots": ("name", "volume", "size", "state_text", "set"),
    "sets": ("name", "server", "state_text", "volumes", "created"),
}
_HEADS = {"state_text": "state", "origin_text": "from", "servers": "used by"}

Work = Callable[[Hub, argparse.Namespace], Any]


def add_commands(commands: Any) -> None:
    """Tell argparse of them."""
    volumes = _group(commands, "volumes", "list, make, copy, grow and delete your volumes")
    _list(volumes, "volumes", "list your volumes")
    show = _command(volumes, "show", "show one volume", _show)
    _name(show, "the volume")
    create = _command(
        volumes, "create", "make a new, empty volume (from a snapshot: restore --as)", _create
    )
    _name(create, "what the new volume is called")
    preset = "default: what the administrator set"
    create.add_argument("--size", help=f"how large it is, like 20Gi; {preset}")
    create.add_argument("--storage-class", metavar="CLASS", help=f"its storage class; {preset}")
    create.add_argument(
        "--access-mode", metavar="MODE", help=f"how it can be mounted, like ReadWriteMany; {preset}"
    )
    clone = _command(volumes, "clone", "copy a volume, as it is on the disk now", _clone)
    _name(clone, "the volume to copy")
    clone.add_argument(
        "--as", dest="new", metavar="NEW", help="the copy's name; default: NAME-copy"
    )
    clone.add_argument("--size", help="make the copy larger than the original, like 20Gi")
    grow = _command(volumes, "grow", "make a volume larger", _grow)
    _name(grow, "the volume")
    grow.add_argument("size", metavar="SIZE", help="how large it becomes, like 20Gi")
    grow.add_argument("--wait", action="store_true", help="wait until it has grown")
    delete = _command(volumes, "delete", "delete a volume with all its files", _delete)
    _name(delete, "the volume")
    last = delete.add_mutually_exclusive_group()
    last.add_argument(
        "--snapshot",
        action="store_const",
        const="true",
        help="take a last snapshot of it first",
    )
    last.add_argument(
        "--no-snapshot",
        dest="snapshot",
        action="store_const",
        const="false",
        help="delete it without a last snapshot",
    )
    _yes(delete)

    about = "list, take and delete snapshots of your volumes and servers"
    snapshots = _group(commands, "snapshots", about)
    _list(snapshots, "snapshots", "list your snapshots, each of one volume")
    sets = _command(snapshots, "sets", "list your snapshots of whole servers", _sets)
    sets.set_defaults(columns="sets")
    about = "take a snapshot of one volume, or of all volumes of a server"
    take = _command(snapshots, "take", about, _take)
    take.add_argument("volume", nargs="?", metavar="VOLUME", help="the volume to take it of")
    take.add_argument(
        "--server", help='take it of all volumes of this server ("" is the default server)'
    )
    take.add_argument("--name", help="what the snapshot is called; default: the hub names it")
    take.add_argument("--wait", action="store_true", help="wait until it is ready")
    about = "delete a snapshot, of one volume or of a whole server"
    gone = _command(snapshots, "delete", about, _forget)
    _name(gone, "the snapshot")
    gone.add_argument("--of", choices=("volume", "server"), help="which, where two have that name")
    _yes(gone)

    about = "bring back what a snapshot holds, in new volumes; the old ones stay as they are"
    restore = _command(commands, "restore", about, _restore)
    _name(restore, "a snapshot of a whole server, or with --as one of a volume", "SNAPSHOT")
    where = restore.add_mutually_exclusive_group()
    where.add_argument("--server", help="start a new server of this name on the new volumes")
    where.add_argument(
        "--over",
        metavar="SERVER",
        help='start this stopped server on the new volumes ("" is the default server)',
    )
    where.add_argument(
        "--as", dest="volume", metavar="VOLUME", help="make one new volume of this name"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 done, 1 refused or failed."""
    try:
        hub = connect(arguments.hub, arguments.token_file, arguments.user)
        answer = arguments.work(hub, arguments)
    except HubError as exc:
        print(exc, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(answer, indent=2))
    elif isinstance(answer, list):
        print(table(answer, _COLUMNS[arguments.columns]))
    elif isinstance(answer, Mapping):
        shown = {key: _text(value) for key, value in _told(hub, answer).items()}
        print("\n".join(f"{key}: {text}" for key, text in shown.items() if text))
    return 0


def _told(hub: Hub, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What people read of it: a restore's new volumes by the old ones, an address to open."""
    told = {key: value for key, value in answer.items() if not isinstance(value, dict)}
    if isinstance(names := answer.get("volumes"), dict):
        told["volumes"] = [f"{new} from {old}" for old, new in names.items()]
    if "url" in told:
        told["url"] = hub.address(told["url"])
    return told


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """For people: columns as wide as what is in them."""
    lines = [[_HEADS.get(each, each).upper() for each in columns]]
    lines += [[_text(row[each]) for each in columns] for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _group(commands: Any, name: str, about: str) -> Any:
    parser = commands.add_parser(name, help=about, description=_sentence(about))
    return parser.add_subparsers(title="commands", metavar="WHAT", required=True)


def _command(group: Any, name: str, about: str, work: Work) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(
        name, help=about, description=_sentence(about)
    )
    _common(parser)
    parser.set_defaults(work=work)
    return parser


def _sentence(about: str) -> str:
    return f"{about[:1].upper()}{about[1:]}."


def _list(group: Any, kind: str, about: str) -> None:
    listed = _command(group, "list", about, lambda hub, _: hub.call("GET", kind)[kind])
    listed.set_defaults(columns=kind)


def _name(parser: argparse.ArgumentParser, about: str, metavar: str = "NAME") -> None:
    parser.add_argument("name", metavar=metavar, help=about)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hub", metavar="URL", help="the hub; default: JUPYTERHUB_API_URL")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with your token for the hub; default: what JUPYTERHUB_API_TOKEN holds",
    )
    parser.add_argument("--user", help="whose volumes, for administrators; default: your own")
    parser.add_argument("--json", action="store_true", help="print the hub's answer, for programs")
    parser.set_defaults(run=run)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="go on without a question")


def _sure(arguments: argparse.Namespace, what: str) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise HubError(f"{what} Nobody can be asked here; say --yes.")
    if input(f"{what} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise HubError("Nothing was done.")


def _show(hub: Hub, arguments: argparse.Namespace) -> Any:
    return hub.call("GET", "volumes", arguments.name)


def _create(hub: Hub, arguments: argparse.Namespace) -> Any:
    body = {"source": "new", "name": arguments.name} | _given(
        size=arguments.size,
        storage_class=arguments.storage_class,
        access_mode=arguments.access_mode,
    )
    return hub.call("POST", "volumes", body=body)


def _clone(hub: Hub, arguments: argparse.Namespace) -> Any:
    name = arguments.new or f"{arguments.name[:57]}-copy"
    body = {"source": "clone", "origin": arguments.name, "name": name}
    return hub.call("POST", "volumes", body=body | _given(size=arguments.size))


def _grow(hub: Hub, arguments: argparse.Namespace) -> Any:
    answer = hub.call("PATCH", "volumes", arguments.name, body={"size": arguments.size})
    if answer["state"] == "growth_failed":
        raise HubError(f"{arguments.name}: {answer['state_text']}")
    return _waited(hub, arguments, "volumes", arguments.name, "growing") or answer


def _delete(hub: Hub, arguments: argparse.Namespace) -> Any:
    volume = hub.call("GET", "volumes", arguments.name)
    first = ", after a last snapshot" if arguments.snapshot == "true" else ""
    size = volume["size"]
    _sure(arguments, f'This deletes the volume "{arguments.name}" ({size}) with its files{first}.')
    query = f"?snapshot={arguments.snapshot}" if arguments.snapshot else ""
    return hub.call("DELETE", "volumes", arguments.name, query=query)


def _sets(hub: Hub, _: argparse.Namespace) -> Any:
    return hub.call("GET", "snapshot-sets")["sets"]


def _take(hub: Hub, arguments: argparse.Namespace) -> Any:
    if (arguments.volume is None) == (arguments.server is None):
        raise HubError("Name a volume, or a server with --server.")
    if arguments.server is not None:
        kind, body = "snapshot-sets", {"server": arguments.server}
    else:
        kind, body = "snapshots", {"volume": arguments.volume}
    answer = hub.call("POST", kind, body=body | _given(name=arguments.name))
    return _waited(hub, arguments, kind, answer["name"], "taking") or answer


def _forget(hub: Hub, arguments: argparse.Namespace) -> Any:
    state, name = hub.call("GET", "storage"), arguments.name
    there = [
        kind
        for kind, key in (("snapshot-sets", "sets"), ("snapshots", "snapshots"))
        if any(each["name"] == name for each in state[key])
    ]
    asked = {"server": "snapshot-sets", "volume": "snapshots"}.get(arguments.of)
    if len(there) > 1 and asked is None:
        raise HubError(
            f'There is a snapshot "{name}" of a volume, and one of a whole server. '
            "Say which: --of volume, or --of server."
        )
    kind = asked or (there or ["snapshots"])[0]
    whose = " of a whole server" if kind == "snapshot-sets" else ""
    _sure(arguments, f'This deletes the snapshot "{name}"{whose}.')
    return hub.call("DELETE", kind, name)


def _restore(hub: Hub, arguments: argparse.Namespace) -> Any:
    if arguments.volume is not None:
        body = {"source": "snapshot", "origin": arguments.name, "name": arguments.volume}
        return hub.call("POST", "volumes", body=body)
    over = arguments.over is not None
    if not over and not arguments.server:
        raise HubError("Say where: --server NEW, --over SERVER, or --as VOLUME.")
    server = arguments.over if over else arguments.server
    body = {"server": server, "over": over}
    return hub.call("POST", "snapshot-sets", arguments.name, "restore", body=body)


def _given(**values: str | None) -> dict[str, str]:
    return {key: value for key, value in values.items() if value is not None}


def _waited(hub: Hub, arguments: argparse.Namespace, kind: str, name: str, state: str) -> Any:
    """As it is once it is not in this state any more; None where nobody waits."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while arguments.wait:
        version = hub.call("GET", "storage")["version"]
        now = hub.call("GET", kind, name)
        if now["state"] in ("failed", "growth_failed"):
            raise HubError(f"{name}: {now['state_text']}")
        if now["state"] != state:
            return now
        if time.monotonic() > deadline:
            raise HubError(f"{name}: not done after {_WAIT_SECONDS:.0f} seconds")
        hub.call("GET", "storage", query=f"?wait=20&seen={version}")
    return None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) or "default" for each in value)
    return "" if value is None else str(value)
