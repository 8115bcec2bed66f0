"""`kale-spawner doctor`: has this cluster what the hub's configuration needs?"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from kale_spawner.errors import KaleError, SettingsInvalid
from kale_spawner.kube.rights import RIGHTS, Connection, Right
from kale_spawner.model.cluster import Cluster
from kale_spawner.settings import KaleGateway, KaleImages, KaleVolumes

_SIDECAR_SINCE = (1, 29)
_SNAPSHOTTER = "https://github.com/kubernetes-csi/external-snapshotter"
_CRDS = (
    f"kubectl apply -k {_SNAPSHOTTER}/client/config/crd && "
    f"kubectl apply -k {_SNAPSHOTTER}/deploy/kubernetes/snapshot-controller"
)
_CLASS = (
    """kubectl apply -f - <<< '{{"apiVersion": "snapshot.storage.k8s.io/v1", """
    """"kind": "VolumeSnapshotClass", "metadata": {{"name": "{0}"}}, "driver": "{0}", """
    """"deletionPolicy": "Delete"}}'"""
)


@dataclass(frozen=True)
class Finding:
    """state "missing": servers do not start. "warning": something is not offered. mend: the line
    that puts it right."""

    state: Literal["ok", "warning", "missing"]
    text: str
    mend: str = ""

    def __str__(self) -> str:
        mark = {"ok": "+", "warning": "!", "missing": "x"}[self.state]
        return f"{mark} {self.text}" + (f"\n    {self.mend}" if self.mend else "")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 1 where anything needed is missing."""
    try:
        settings = _read(arguments.config)
        found = asyncio.run(_look(settings, arguments))
    except (KaleError, TraitError, OSError) as exc:
        found = [Finding("missing", str(exc) or type(exc).__name__)]
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            print(each)
    return int(any(each.state == "missing" for each in found))


def _read(path: str | None) -> Config:
    """As JupyterHub reads it, and checked as when a hub starts. Raises SettingsInvalid."""
    if path is None:
        return Config()
    file = Path(path).resolve()
    try:
        settings = PyFileConfigLoader(file.name, path=str(file.parent)).load_config()
    except Exception as exc:
        raise SettingsInvalid(f"{path}: {type(exc).__name__}: {exc}") from exc
    from kale_spawner.hubstart import check_settings
    from kale_spawner.spawner import KaleSpawner

    check_settings(settings, KaleSpawner)
    return Config(settings)


async def _look(settings: Config, arguments: argparse.Namespace) -> list[Finding]:
    namespace = arguments.namespace or _namespace(settings)
    there = await Connection.open(arguments.kubeconfig, arguments.acting_as)
    async with there.client:
        version = await there.version()
        found = list(_of_version(version, KaleGateway(config=settings)))
        if await there.has_namespace(namespace) is False:
            mend = f"kubectl create namespace {namespace}"
            found.append(Finding("missing", f'There is no namespace "{namespace}"', mend))
        facts = there.facts
        cluster = await facts.cluster(namespace)
        known = await facts.has_snapshots(namespace) is not False
        found += _of_classes(cluster, KaleVolumes(config=settings), has_snapshots=known)
        found += _of_rights(await there.missing(namespace, RIGHTS), namespace)
        return [*found, *_of_images(settings, await there.images())]


def _namespace(settings: Config) -> str:
    for section in ("KaleSpawner", "KubeSpawner"):
        if name := settings.get(section, {}).get("namespace"):
            return str(name)
    return "default"


def _of_version(version: tuple[int, int], gateway: KaleGateway) -> Iterator[Finding]:
    text = f"Kubernetes {version[0]}.{version[1]}"
    if version < _SIDECAR_SINCE and gateway.mode == "sidecar":
        mend = 'c.KaleGateway.mode = "container"'
        yield Finding("missing", f"{text} has no native sidecars (they came with 1.29)", mend)
    else:
        yield Finding("ok", text)


def _of_classes(
    cluster: Cluster, volumes: KaleVolumes, *, has_snapshots: bool
) -> Iterator[Finding]:
    if cluster.classes is None:
        yield Finding("warning", "Storage classes cannot be read, so that none was checked")
        return
    for name in volumes.classes():
        found, called = cluster.storage_class(name), f'storage class "{name}"'
        if found is None:
            known = ", ".join(sorted(cluster.classes)) or "none"
            called = called if name else "default storage class"
            mend = "c.KaleVolumes.storage_class = one of those, or make one of that name"
            yield Finding("missing", f"There is no {called}, only {known}", mend)
            continue
        yield Finding("ok", f'Storage class "{found.name}" of driver {found.provisioner}')
        if not found.expandable:
            patch = "'{\"allowVolumeExpansion\": true}'"
            mend = f"kubectl patch storageclass {found.name} -p {patch}   (if its driver can)"
            yield Finding("warning", f'Volumes of "{found.name}" cannot grow', mend)
        if has_snapshots:
            yield from _of_snapshots(cluster, found.provisioner)
    if not has_snapshots:
        yield Finding("warning", "This cluster knows of no snapshots (CRDs, controller)", _CRDS)


def _of_snapshots(cluster: Cluster, driver: str) -> Iterator[Finding]:
    if cluster.snapshot_classes is None:
        yield Finding("warning", "Classes of snapshots cannot be read, so that none was checked")
    elif found := cluster.snapshot_class_for(driver):
        yield Finding("ok", f'Snapshots by class "{found.name}" of driver {driver}')
    else:
        text = f"No snapshots: there is no VolumeSnapshotClass of {driver}"
        yield Finding("warning", text, _CLASS.format(driver))
    if group := cluster.group_class_for(driver):
        yield Finding("ok", f'Snapshots of several volumes at one instant: class "{group.name}"')
    elif cluster.snapshot_class_for(driver):
        yield Finding(
            "ok",
            "Snapshots of a server are taken one volume after the other: there is no "
            f"VolumeGroupSnapshotClass of {driver}",
        )


def _of_rights(lacking: Sequence[Right], namespace: str) -> Iterator[Finding]:
    if not lacking:
        yield Finding("ok", "All rights are there")
        return
    for right in lacking:
        what = f"{', '.join(right.verbs)} {right.resource}"
        wanted = f" (for {right.for_what})" if right.for_what else ""
        yield Finding("missing" if right.needed else "warning", f"May not {what}{wanted}")
    # All of them: to apply it never takes away what an earlier one gave.
    mend = "\n    ".join(roles(RIGHTS, namespace))
    yield Finding("warning", "All of its rights as roles, to be bound to the hub's account", mend)


def roles(rights: Sequence[Right], namespace: str) -> list[str]:
    """Lines of YAML: a Role for what is the namespace's, a ClusterRole for the rest."""
    lines: list[str] = []
    for everywhere in (False, True):
        chosen = [each for each in rights if each.everywhere == everywhere]
        if not chosen:
            continue
        place = "" if everywhere else f", namespace: {namespace}"
        lines += [
            "---",
            "apiVersion: rbac.authorization.k8s.io/v1",
            f"kind: {'ClusterRole' if everywhere else 'Role'}",
            f"metadata: {{name: kale-spawner{place}}}",
            "rules:",
        ]
        lines += [
            f'  - {{apiGroups: ["{each.group}"], resources: [{each.resource}], '
            f"verbs: [{', '.join(each.verbs)}]}}"
            for each in chosen
        ]
    return lines


def _of_images(settings: Config, nodes: Sequence[frozenset[str]] | None) -> Iterator[Finding]:
    """nodes: the names of the images on each of them, where that may be seen."""
    images, gateway = KaleImages(config=settings), KaleGateway(config=settings)
    try:
        entries = images.entries()
    except SettingsInvalid as exc:
        yield Finding("missing", str(exc))
        return
    names = {f'"{each.id}"': each.reference(images.registry, images.tag) for each in entries}
    if gateway.mode != "none":
        names["the gateway"] = gateway.image
    for what, reference in names.items():
        image = f"Image of {what}: {reference}"
        with_it = sum(_full(reference) in each for each in nodes or ())
        if nodes is None:
            yield Finding(
                "ok", f"{image} (nodes cannot be seen: whether it is there, a pull tells)"
            )
        elif with_it:
            yield Finding("ok", f"{image} is on {with_it} of {len(nodes)} nodes")
        else:
            yield Finding(
                "warning",
                f"{image} is on no node yet; the first start pulls it. Whether that works, tells",
                f"kubectl run pulled --image={reference} --restart=Never --command -- true; "
                "kubectl get pod pulled --watch",
            )


def _full(reference: str) -> str:
    """As nodes tell it: with the registry and the tag that are left out of it."""
    first, _, rest = reference.partition("/")
    if not rest:
        reference = f"docker.io/library/{reference}"
    elif not ("." in first or ":" in first or first == "localhost"):
        reference = f"docker.io/{reference}"
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in last else f"{reference}:latest"
