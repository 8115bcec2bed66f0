"""What to tell the user while a server starts: pure, and only what the cluster shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kale_spawner.model import marks
from kale_spawner.model.claim import Origin
from kale_spawner.model.failures import Object, Scene, statuses, unschedulable
from kale_spawner.model.quantity import parse_size
from kale_spawner.wire import APP_CONTAINER

_QUOTED = re.compile(r'"([^"]+)"')


@dataclass(frozen=True)
class Step:
    """One line of progress. Its text is its identity: what is told once is not told again."""

    percent: int
    message: str


def steps(scene: Scene, created: frozenset[str] = frozenset()) -> list[Step]:
    """All that is known to have happened, in the order in which it does.

    created: the claims that this start made; the others were there.
    """
    return [*_claims(scene, created), *_pod(scene)]


def _claims(scene: Scene, created: frozenset[str]) -> Iterator[Step]:
    for name, claim in sorted(scene.claims.items()):
        if name in created:
            size = claim["spec"]["resources"]["requests"]["storage"]
            yield Step(10, f"Volume {name} ({size}) was made{_filled_from(claim)}")
        else:
            yield Step(10, f"Volume {name} is used again")
        if growth := _growth(claim):
            yield Step(20, f"Volume {name} grows {growth}")
    for event in scene.events:
        if event["involvedObject"].get("kind") != "PersistentVolumeClaim":
            continue
        name = event["involvedObject"]["name"]
        if event.get("type") == "Warning":
            yield Step(15, f"Volume {name}: {event.get('message')}")
        elif event.get("reason") == "Provisioning":
            yield Step(20, f"Volume {name} is being prepared")
        elif event.get("reason") == "ProvisioningSucceeded":
            yield Step(25, f"Volume {name} is ready")
        elif event.get("reason") == "FileSystemResizeSuccessful":
            yield Step(50, f"Volume {name} has grown")


def _filled_from(claim: Object) -> str:
    origin = Origin.from_json((claim["metadata"].get("annotations") or {}).get(marks.ORIGIN))
    if origin is None:
        return ""
    what = {"snapshot": "from snapshot", "clone": "as a clone of"}.get(origin.source, "from")
    return f" {what} {origin.name}"


def _growth(claim: Object) -> str:
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    wanted = claim["spec"]["resources"]["requests"]["storage"]
    if not has or parse_size(wanted) <= parse_size(has):
        return ""
    return f"from {has} to {wanted}"


def _pod(scene: Scene) -> Iterator[Step]:
    pod = scene.pod
    if pod is None:
        return
    yield Step(15, "The server was handed to the cluster")
    waiting = unschedulable(pod)
    if waiting:
        yield Step(20, f"Waiting for room in the cluster: {waiting}")
    node = (pod.get("spec") or {}).get("nodeName")
    if node:
        yield Step(30, f"Machine {node} will run the server")
    if node and _condition(pod, "PodReadyToStartContainers"):
        count = len(scene.claims)
        if count:
            yield Step(50, "The volume is attached" if count == 1 else "The volumes are attached")
    yield from _events(scene, node)
    yield from _containers(pod)


def _events(scene: Scene, node: str | None) -> Iterator[Step]:
    for event in scene.events:
        if event["involvedObject"].get("kind") != "Pod":
            continue
        reason, message = event.get("reason"), str(event.get("message") or "")
        if reason == "TriggeredScaleUp":
            yield Step(25, "The cluster is adding a machine; this takes some minutes")
        elif reason in ("Pulling", "Pulled") and (image := _QUOTED.search(message)):
            if reason == "Pulling":
                yield Step(55, f"Image {image[1]} is being pulled")
            else:
                yield Step(65, f"Image {image[1]} is there")
        elif (
            event.get("type") == "Warning"
            and not message.startswith("Error: ")
            and (reason != "FailedScheduling" or node is None)
        ):
            yield Step(30, message)


def _containers(pod: Object) -> Iterator[Step]:
    for status in statuses(pod):
        state: dict[str, Any] = status.get("state") or {}
        restarts = int(status.get("restartCount") or 0)
        if restarts:
            yield Step(75, f"Container {status['name']} ended and was started again ({restarts})")
        if status["name"] != APP_CONTAINER:
            continue
        if "running" in state:
            yield Step(80, "The app is starting")


def _condition(pod: Object, kind: str) -> bool:
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in (pod.get("status") or {}).get("conditions") or ()
    )
