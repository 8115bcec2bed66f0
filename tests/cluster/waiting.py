"""Waiting on the state of objects: woken by the API server's watch, ended by a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kubernetes import watch
from kubernetes.client import ApiException, CoreV1Api

PATIENCE = 90.0
"""Seconds; generous, since the machine may be busy. A test that passes does not use them."""


def seen(
    listing: Callable[..., Any],
    name: str,
    met: Callable[[Any], bool],
    *arguments: Any,
    patience: float = PATIENCE,
) -> Any:
    """The object `name` of `listing(*arguments)` once `met`; AssertionError with its last state."""
    deadline = time.monotonic() + patience
    last: Any = None
    while (left := deadline - time.monotonic()) > 0:
        events = watch.Watch().stream(
            listing,
            *arguments,
            field_selector=f"metadata.name={name}",
            timeout_seconds=max(int(left), 1),
        )
        for event in events:
            last = event["object"]
            if event["type"] != "DELETED" and met(last):
                return last
    raise AssertionError(f"{name} did not come to the wanted state in {patience} s: {last}")


def gone(read: Callable[..., Any], *arguments: Any) -> None:
    """Return once `read(*arguments)` finds nothing."""

    def nothing() -> bool:
        try:
            read(*arguments)
        except ApiException as error:
            if error.status == 404:
                return True
            raise
        return False

    eventually(nothing)


def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """For what nothing tells of: look again and again, until the deadline."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not so after {patience} s"
        time.sleep(0.05)


def run(core: CoreV1Api, namespace: str, pod: dict[str, Any]) -> str:
    """What the pod's first container printed, once it ended; AssertionError where it failed."""
    core.create_namespaced_pod(namespace, pod)
    name = pod["metadata"]["name"]
    ended = seen(
        core.list_namespaced_pod,
        name,
        lambda found: found.status.phase in ("Succeeded", "Failed"),
        namespace,
    )
    said = core.read_namespaced_pod_log(name, namespace)
    assert ended.status.phase == "Succeeded", said
    return str(said)
