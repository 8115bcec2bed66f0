"""When is it certain that a start cannot succeed, and why: pure, in words with a way out.

Certain means that waiting does not help. What may be over in a moment (a registry that answers
503, a volume that another node lets go of) is told as trouble and waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kale_spawner.errors import DiskFull, Refused, StartFailed
from kale_spawner.model.mounted import claims_by_volume
from kale_spawner.model.mounts import WORKSPACE
from kale_spawner.wire import APP_CONTAINER, GATEWAY_CONTAINER

Object = Mapping[str, Any]

_NO_IMAGE = re.compile(
    r"not found|manifest unknown|denied|unauthorized|authentication required|forbidden"
    r"|no match for platform|no such host|invalid reference|does not exist|not present with pull"
    r"|connection refused|no route to host|x509",
    re.IGNORECASE,
)
_MAY_PASS = re.compile(
    r"timeout|timed out|deadline|429|too ?many ?requests|50[0234]|temporar|reset by peer|EOF",
    re.IGNORECASE,
)
_NO_CLASS = re.compile(r'storageclass[^"]*"(?P<name>[^"]*)" not found', re.IGNORECASE)
_NO_VOLUME = re.compile(
    r"code = (InvalidArgument|ResourceExhausted|OutOfRange|PermissionDenied|Unauthenticated"
    r"|Unimplemented|FailedPrecondition)"
)
_BUSY_SOURCE = re.compile(r"not ready|not bound|is being|in progress|pending", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|ENOSPC|Errno 28|disk quota exceeded", re.IGNORECASE)
_NO_RIGHT = re.compile(r'User "[^"]*" cannot (\w+) resource "([^"]+)"')
_TRIES = 3
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
                  "RegistryUnavailable", "ImageInspectError")  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """All that the cluster shows of a start.

    pod: None before it is there. claims: by name, those of the plan. events: of the pod and the
    claims, of this start only, oldest first. unschedulable_for: seconds; grace: how many of
    them are given to an autoscaler that has not said anything. beside: see `Plan`.
    """

    pod: Object | None = None
    claims: Mapping[str, Object] = field(default_factory=dict)
    events: tuple[Object, ...] = ()
    unschedulable_for: float = 0.0
    grace: float = 15.0
    beside: str = ""


def failure(scene: Scene) -> StartFailed | None:
    """Why the start cannot succeed any more, or None."""
    return (
        _claims_failed(scene)
        or _containers_failed(scene)
        or _pod_failed(scene)
        or _unschedulable(scene)
    )


def trouble(scene: Scene) -> str:
    """What hinders the start at the moment, in the cluster's own words; "" for nothing."""
    warnings = [
        message
        for event in scene.events
        if event.get("type") == "Warning"
        and (message := str(event.get("message") or ""))
        and not message.startswith("Error: ")
    ]
    return _short(warnings[-1]) if warnings else ""


def statuses(pod: Object | None) -> list[Object]:
    """Of all containers, init containers first."""
    status = (pod or {}).get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def count(event: Object) -> int:
    """How often it happened."""
    series = event.get("series") or {}
    return max(int(event.get("count") or 1), int(series.get("count") or 1))


def unschedulable(pod: Object | None) -> str:
    """The scheduler's reason why the pod has no node, or ""."""
    for condition in ((pod or {}).get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message") or "no node fits")
    return ""


def _claims_failed(scene: Scene) -> StartFailed | None:
    for event in _reason(scene, "ProvisioningFailed"):
        name = event["involvedObject"]["name"]
        claim = scene.claims.get(name) or {}
        if (claim.get("status") or {}).get("phase") == "Bound":
            continue
        message = str(event.get("message") or "")
        if found := _NO_CLASS.search(message):
            return no_class(found["name"], name)
        if _BUSY_SOURCE.search(message):
            continue
        if _NO_VOLUME.search(message) or count(event) >= _TRIES:
            filled = (claim.get("spec") or {}).get("dataSource")
            instead = "Copy or restore it anew under another name" if filled else "Try another size"
            return StartFailed(
                f'Volume "{name}" could not be made: {message}. '
                f"{instead}, or ask your administrator.",
                "volume",
            )
    for name, claim in scene.claims.items():
        if (claim.get("status") or {}).get("phase") == "Lost":
            return StartFailed(
                f'The disk behind volume "{name}" is gone. Ask your administrator.', "volume"
            )
    return None


def no_class(storage_class: str, claim: str, present: Iterable[str] = ()) -> StartFailed:
    """The storage class does not exist."""
    known = ", ".join(sorted(present))
    there = f" This cluster has: {known}." if known else ""
    return StartFailed(
        f'There is no storage class "{storage_class}" for volume "{claim}".{there} '
        "Choose another, or ask your administrator (setting KaleVolumes.storage_classes).",
        "storage-class",
    )


def not_grown(claim: str, size: str, detail: str) -> StartFailed:
    """The API server refused a larger size, in its own words."""
    if "exceeded quota" in detail or _NO_RIGHT.search(detail):
        return refusal(detail)
    return Refused(
        f'Volume "{claim}" could not grow to {size}: {_short(detail)}. Leave it at its size, '
        "copy it to a larger one, or ask your administrator.",
        "growth",
    )


def _containers_failed(scene: Scene) -> StartFailed | None:
    for status in statuses(scene.pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason") or "", str(waiting.get("message") or "")
        if reason in _IMAGE_REASONS and _image_is_hopeless(scene, reason, message):
            return _no_image(status, _pull_error(scene, status) or message)
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return StartFailed(
                f"The server's container cannot be started: {message or reason}. "
                "Ask your administrator.",
                "container",
            )
        crashed = _crash(scene, status)
        if crashed:
            return crashed
    return None


def _image_is_hopeless(scene: Scene, reason: str, message: str) -> bool:
    if reason in ("ErrImageNeverPull", "InvalidImageName"):
        return True
    pulls = [event for event in _reason(scene, "Failed") if "pull" in str(event.get("message"))]
    said = " ".join([message, *(str(event.get("message")) for event in pulls)])
    if _NO_IMAGE.search(said):
        return True
    if reason == "ErrImagePull":
        return False
    return not _MAY_PASS.search(said) or sum(count(event) for event in pulls) >= _TRIES


def _pull_error(scene: Scene, status: Object) -> str:
    image = str(status.get("image") or "")
    for event in reversed(list(_reason(scene, "Failed"))):
        message = str(event.get("message") or "")
        if message.startswith("Failed to pull image") and image in message:
            return message.split(": ", 1)[-1]
    return ""


def _no_image(status: Object, message: str) -> StartFailed:
    whose = "gateway's image" if status["name"] == GATEWAY_CONTAINER else "image"
    way_out = (
        "Ask your administrator (setting KaleGateway.image)."
        if status["name"] == GATEWAY_CONTAINER
        else "Choose another image, or ask your administrator whether this one exists."
    )
    return StartFailed(
        f'The {whose} "{status.get("image")}" cannot be pulled: {_short(message)}. {way_out}',
        "image",
    )


def _crash(scene: Scene, status: Object) -> StartFailed | None:
    """A container that ended twice ends again."""
    state = status.get("state") or {}
    down = state.get("terminated") or (state.get("waiting") or {}).get("reason")
    if not down or int(status.get("restartCount") or 0) < 1:
        return None
    last = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if not last or last.get("exitCode") == 0:
        return None
    if last.get("reason") == "OOMKilled":
        return StartFailed(
            "The server needs more memory than its limit and was ended. "
            "Choose a larger profile, or ask your administrator.",
            "memory",
        )
    said = str(last.get("message") or "")
    if status["name"] == APP_CONTAINER and _FULL.search(said):
        return DiskFull(_fullest(scene))
    whose = "The gateway" if status["name"] == GATEWAY_CONTAINER else "The server's program"
    said = _last_words(said)
    return StartFailed(
        f"{whose} keeps ending as soon as it is started (exit code {last.get('exitCode')})"
        f"{': ' + said if said else ''}. "
        "Try another image, or an empty workspace; its log tells your administrator more.",
        "crash",
    )


def _fullest(scene: Scene) -> str:
    """The claim under the app's home: where programs write when they start; else the only one."""
    alone = next(iter(scene.claims)) if len(scene.claims) == 1 else ""
    return claims_by_volume(scene.pod or {}).get(WORKSPACE, alone)


def _last_words(text: str) -> str:
    """Of a log the last line counts, of a message all."""
    lines = [line for line in text.splitlines() if line.strip()]
    return _short(lines[-1] if len(lines) > 3 else text)


def _pod_failed(scene: Scene) -> StartFailed | None:
    status = (scene.pod or {}).get("status") or {}
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    said = status.get("message") or status.get("reason") or "its program ended by itself"
    return StartFailed(f"The server ended while it was starting: {_short(str(said))}.", "ended")


def _unschedulable(scene: Scene) -> StartFailed | None:
    message = unschedulable(scene.pod)
    if not message or any(_reason(scene, "TriggeredScaleUp")):
        return None
    if scene.unschedulable_for < scene.grace and not any(_reason(scene, "NotTriggerScaleUp")):
        return None
    if scene.beside:
        return Refused(
            f"Volume {scene.beside}, where this server has no room: {_short(message)}. Stop that "
            "server, or choose another volume.",
            "unschedulable",
        )
    return Refused(
        f"No machine of the cluster has room for this server: {_short(message)} "
        "Stop another server, choose a smaller profile, or ask your administrator.",
        "unschedulable",
    )


def _reason(scene: Scene, reason: str) -> list[Object]:
    return [event for event in scene.events if event.get("reason") == reason]


def _short(text: str, most: int = 400) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= most else text[:most] + "…"


def refusal(detail: str) -> StartFailed:
    """Why the API server refused (403) what a start would create, from its own text."""
    if "exceeded quota" in detail:
        said = _short(detail.split("exceeded quota:", 1)[-1])
        volumes = "storage" in said or "persistentvolumeclaims" in said
        way = "delete one that you do not need" if volumes else "stop a server that you do not need"
        what = "smaller or fewer volumes" if volumes else "a smaller profile"
        return Refused(
            f"Your quota does not allow this: {said}. Choose {what}, {way}, or ask your "
            "administrator for more.",
            "quota",
        )
    if lacking := _NO_RIGHT.search(detail):
        verb, resource = lacking.groups()
        return Refused(
            f"The hub may not {verb} {resource} here. Ask your administrator to let it: "
            "kale-spawner doctor says which rights are missing.",
            "denied",
        )
    if "violates PodSecurity" in detail:
        said = _short(detail.split("violates PodSecurity", 1)[-1])
        return Refused(
            f"The cluster's Pod Security Standard does not allow this server: {said}. "
            "Ask your administrator.",
            "policy",
        )
    return Refused(
        f"The cluster does not allow this: {_short(detail)}. Ask your administrator.", "denied"
    )
