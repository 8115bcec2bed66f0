"""Bring a cluster up, take it away, and say how it is. Each may be called twice."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from localcluster import (
    api,
    certificates,
    cgroups,
    configuration,
    images,
    network,
    objects,
    preflight,
    processes,
    programs,
    services,
    store,
)
from localcluster.errors import NotUp
from localcluster.folders import PARTS, Place, cache, clusters, lock_file
from localcluster.network import Network
from setup.locks import locked
from setup.steps import step

_PATIENCE = 180.0
"""Seconds in which a part comes up, on a machine busy with other things."""


@dataclass(frozen=True)
class Status:
    """host_ip: the machine, as pods reach it; node_ip: the API server, as the machine does."""

    name: str
    running: bool
    kubeconfig: str
    host_ip: str
    node_ip: str
    pod_cidr: str
    control_plane_only: bool


def check(name: str = "demo") -> None:
    """Raise RefusedError, with the way out, for the first thing that `up` would stumble over."""
    preflight.check(Place(name))


def up(
    name: str = "demo", load: Iterable[Path | str] = (), control_plane_only: bool = False
) -> Status:
    """Return once the cluster takes pods and has the images of the archives `load`.

    A cluster that is up is left as it is. Remains of one that was killed are removed first: its
    volumes too. `control_plane_only` gives an API that stores objects, with no node behind it.
    Raises ClusterError.
    """
    check(name)
    place = Place(name)
    archives = [Path(archive) for archive in load]
    with _one_at_a_time(place):
        known = status(name)
        if known.running and known.control_plane_only == control_plane_only:
            there = _remembered(place)["images"]
            load_images(name, (path for path in archives if store.identity(path) not in there))
            return known
        programs.build(programs.CONTROL_PLANE if control_plane_only else programs.ALL)
        _remove(place)
        try:
            _start(place, archives, control_plane_only)
        except BaseException:
            # Its logs are left to be read.
            processes.end(place)
            raise
    return status(name)


def down(name: str = "demo") -> None:
    """Remove the cluster with all that is in it; nothing where there is none."""
    place = Place(name)
    with _one_at_a_time(place):
        _remove(place)
        with contextlib.suppress(OSError):
            clusters().rmdir()


def status(name: str = "demo") -> Status:
    """How it is, now. Of a cluster that is not there, the addresses are empty."""
    place = Place(name)
    try:
        written = _remembered(place)
    except FileNotFoundError:
        return Status(name, False, str(place.kubeconfig), "", "", "", False)
    addresses = Network(IPv4Network(written["block"]))
    alone = written["control_plane_only"]
    return Status(
        name=name,
        running=written["up"]
        and processes.first(place) is not None
        and api.Api(place.folder / "pki", addresses).ready(),
        kubeconfig=str(place.kubeconfig),
        host_ip=str(addresses.host_ip),
        node_ip=str(addresses.node_ip),
        pod_cidr=str(addresses.pods),
        control_plane_only=alone,
    )


def load_images(name: str, archives: Iterable[Path | str]) -> None:
    """Import OCI archives into a cluster that runs. Raises NotUp for what is none."""
    place = Place(name)
    _pid(place)
    for archive in archives:
        identity = store.identity(Path(archive))
        _load(place, Path(archive))
        _remember(place, images=[*_remembered(place)["images"], identity])


def run_inside(name: str, command: list[str]) -> int:
    """Run `command` in the cluster's namespaces, on this terminal; return its exit code."""
    return subprocess.run(processes.command_inside(_pid(Place(name)), command)).returncode


def _start(place: Place, archives: list[Path], alone: bool) -> None:
    for part in PARTS:
        (place.folder / part).mkdir(parents=True, exist_ok=True, mode=0o711)
    loaded: list[str] = []
    if not alone:
        pause = place.folder / "pause.tar"
        images.write_pause(programs.named("pause").path, pause)
        loaded = store.fill(place.folder / "containerd/root", [pause, *archives])
    with step(f"cluster {place.name}: addresses, certificates, namespaces"):
        addresses = _prepare(place, alone)
        pid = processes.start(place)
        network.attach(addresses, place.tag, pid)
    server = api.Api(place.folder / "pki", addresses)
    with step(f"cluster {place.name}: API server, storage classes"):
        _until(place, "kube-apiserver", server.ready)
        _until(place, "kube-apiserver", lambda: objects.ensure(server))
    if not alone:
        with step(f"cluster {place.name}: node, storage driver"):
            _until(place, "kube-controller-manager", lambda: api.accounts_ready(server))
            ready = api.node_ready(place.name)
            _until(place, "kubelet", lambda: ready(server))
    _remember(place, up=True, images=loaded)


def _prepare(place: Place, alone: bool) -> Network:
    (place.folder / "pki").chmod(0o700)
    (place.folder / "kubelet/plugins_registry").mkdir(mode=0o750)
    addresses = _take_addresses(place, alone)
    certificates.make(place.folder / "pki", addresses, place.name)
    configuration.write(place, addresses)
    running = services.control_plane(addresses, alone)
    if not alone:
        running += services.node(addresses, place.name)
    plan = {
        "name": place.name,
        "tag": place.tag,
        "programs": str(cache() / "go"),
        "api": addresses.api,
        "node_ip": str(addresses.node_ip),
        "host_ip": str(addresses.host_ip),
        "services": [asdict(service) for service in running],
    }
    (place.folder / "inside.json").write_text(json.dumps(plan, indent=2))
    (place.folder / "bin").symlink_to(programs.named("kubectl").path.parent)
    return addresses


def _take_addresses(place: Place, alone: bool) -> Network:
    """Choose them and write them down, one cluster at a time."""
    with locked(lock_file("addresses")):
        others = [json.loads(path.read_text()) for path in clusters().glob("*/cluster.json")]
        addresses = network.choose(IPv4Network(other["block"]) for other in others)
        state = {
            "tag": f"kale{secrets.token_hex(4)}",
            "block": str(addresses.block),
            "control_plane_only": alone,
            "up": False,
            "images": [],
        }
        place.state.write_text(json.dumps(state))
    return addresses


def _remembered(place: Place) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(place.state.read_text())
    return content


def _remember(place: Place, **news: Any) -> None:
    place.state.write_text(json.dumps({**_remembered(place), **news}))


def _remove(place: Place) -> None:
    if tag := place.tag:
        processes.end(place)
        network.detach(tag)
        cgroups.remove(tag)
    if place.folder.exists():
        shutil.rmtree(place.folder)


def _load(place: Place, archive: Path) -> None:
    with step(f"cluster {place.name}: image {archive.stem}"):
        _until(place, "containerd", (place.folder / "run/containerd.sock").exists)
        command = services.containerd_client("images", "import", "-")
        with archive.open("rb") as content:
            done = subprocess.run(
                processes.command_inside(_pid(place), command),
                stdin=content,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise NotUp(f"{archive} cannot be imported: {done.stderr.strip()}")


def _pid(place: Place) -> int:
    found = processes.first(place)
    if found is None:
        raise NotUp(f"cluster {place.name} does not run: `python3 -m localcluster up` brings it up")
    return found


def _until(place: Place, program: str, met: Callable[[], bool]) -> None:
    """Wait for a state; raise NotUp, naming `program`'s log, when it does not come."""
    deadline = time.monotonic() + _PATIENCE
    log = place.logs / f"{program}.log"
    while not met():
        if processes.first(place) is None:
            said = (place.logs / "inside.log").read_text().strip()
            raise NotUp(f"cluster {place.name} ended by itself: {said or log}")
        if time.monotonic() > deadline:
            raise NotUp(f"{program} is not up after {_PATIENCE:.0f} s; its log is {log}")
        time.sleep(0.1)


def _one_at_a_time(place: Place) -> contextlib.AbstractContextManager[None]:
    return locked(lock_file(f"cluster-{place.name}"))
