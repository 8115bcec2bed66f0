"""The pod: kubespawner's manifest, made into one with volumes, a gateway and a closed app.

Pure: a manifest in, a new one out. What the administrator set through kubespawner wins where
both say something (security context, resources, environment).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from kale_spawner import wire
from kale_spawner.model.mounts import Mount
from kale_spawner.model.plan import Plan

Manifest = dict[str, Any]

APP_MAY_KNOW = frozenset(
    {
        "JUPYTERHUB_BASE_URL",
        "JUPYTERHUB_DEFAULT_URL",
        "JUPYTERHUB_PUBLIC_HUB_URL",
        "JUPYTERHUB_PUBLIC_URL",
        "JUPYTERHUB_ROOT_DIR",
        "JUPYTERHUB_SERVER_NAME",
        "JUPYTERHUB_USER",
    }
)
"""The hub's variables that the app gets. The rest are the gateway's: tokens, OAuth, the API."""

_GATEWAY_TMP = "kale-gateway-tmp"
_RESTRICTED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_APP_USER: Manifest = {"runAsUser": 1000, "runAsGroup": 0}
_GATEWAY_USER: Manifest = {"runAsUser": 65532, "runAsGroup": 65532}


@dataclass(frozen=True)
class Gateway:
    """The proxy container. mode "sidecar" is an init container that stays (Kubernetes >= 1.29)."""

    image: str
    kind: wire.ServerKind
    mode: Literal["sidecar", "container"] = "sidecar"
    pull_policy: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class App:
    """How the image is started: Kubernetes' words; None leaves the image's own."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None


def add_volumes(pod: Manifest, plan: Plan) -> Manifest:
    """The plan's volumes, mounted in the app's container and nowhere else."""
    pod = copy.deepcopy(pod)
    app = app_container(pod)
    for mount in plan.mounts:
        pod["spec"].setdefault("volumes", []).append(_volume(mount))
        entry: Manifest = {"name": mount.volume, "mountPath": mount.path}
        if mount.read_only:
            entry["readOnly"] = True
        app.setdefault("volumeMounts", []).append(entry)
    return pod


def add_gateway(pod: Manifest, gateway: Gateway) -> Manifest:
    """Tell the app to keep to the loopback, and put the gateway before it.

    The gateway's port is declared on the app's container: kubespawner and NetworkPolicies of
    Zero to JupyterHub look for it there.
    """
    pod = copy.deepcopy(pod)
    spec, container = pod["spec"], app_container(pod)
    env = container.get("env") or []
    container["env"] = _app_env(env, gateway.kind)
    container["ports"] = [
        {
            "name": wire.GATEWAY_PORT_NAME,
            "containerPort": wire.GATEWAY_PORT,
            "protocol": "TCP",
        }
    ] + [
        port for port in container.get("ports") or () if port.get("name") != wire.GATEWAY_PORT_NAME
    ]
    sidecar = _gateway_container(env, gateway)
    if gateway.mode == "sidecar":
        sidecar["restartPolicy"] = "Always"
        spec["initContainers"] = [sidecar, *(spec.get("initContainers") or [])]
    else:
        spec["containers"].append(sidecar)
    volume = {"name": _GATEWAY_TMP, "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    spec.setdefault("volumes", []).append(volume)
    return pod


def place(pod: Manifest, node: str) -> Manifest:
    """The pod on this node only: whatever else the administrator requires still holds.

    By name, since the label of the host need not equal it; terms are alternatives, so each of
    them has to ask for it.
    """
    if not node:
        return pod
    pod = copy.deepcopy(pod)
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    asked = {"key": "metadata.name", "operator": "In", "values": [node]}
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        term.setdefault("matchFields", []).append(asked)
    return pod


def set_app(pod: Manifest, app: App) -> Manifest:
    """The app started as `app` says."""
    pod = copy.deepcopy(pod)
    container = app_container(pod)
    for part in ("command", "args"):
        value = getattr(app, part)
        if value is not None:
            container[part] = list(value)
    return pod


def harden(pod: Manifest) -> Manifest:
    """User and groups of Kubeflow's images, and the *restricted* Pod Security Standard.

    Only what the administrator left open is set, and only for the image's container: their own
    containers (one that prepares the network as root, say) stay as they are.
    """
    pod = copy.deepcopy(pod)
    spec, container = pod["spec"], app_container(pod)
    whole = spec.get("securityContext") or {}
    own = container.get("securityContext") or {}
    spec["securityContext"] = {
        "fsGroup": 100,
        "fsGroupChangePolicy": "OnRootMismatch",
        "supplementalGroups": [100],
        **whole,
    }
    # A program that fails at once has its last words told to the user: see `failures`.
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    ours = {key: value for key, value in (_APP_USER | _RESTRICTED).items() if key not in whole}
    if (whole | own).get("runAsUser") == 0:
        ours.pop("runAsNonRoot", None)
    container["securityContext"] = {**ours, **own}
    spec.setdefault("enableServiceLinks", False)
    spec.setdefault("terminationGracePeriodSeconds", 5)
    return pod


def app_container(pod: Manifest) -> Manifest:
    """The container of the image itself."""
    for container in pod["spec"]["containers"]:
        if container["name"] == wire.APP_CONTAINER:
            return cast(Manifest, container)
    raise KeyError(f"the pod has no container {wire.APP_CONTAINER!r}")


def _volume(mount: Mount) -> Manifest:
    if mount.claim is not None:
        return {"name": mount.volume, "persistentVolumeClaim": {"claimName": mount.claim}}
    return {
        "name": mount.volume,
        "emptyDir": {"sizeLimit": mount.size_limit} if mount.size_limit else {},
    }


def _is_hubs(name: str) -> bool:
    return name.startswith(("JUPYTERHUB_", "JPY_"))


def _app_env(env: list[Manifest], kind: wire.ServerKind) -> list[Manifest]:
    """Without the hub's secrets; with what Kubeflow's images are told by."""
    values = {entry["name"]: entry.get("value") for entry in env}
    prefix = values.get("JUPYTERHUB_SERVICE_PREFIX") or "/"
    kept = [entry for entry in env if not _is_hubs(entry["name"]) or entry["name"] in APP_MAY_KNOW]
    own = {"NB_PREFIX": prefix, wire.APP_HOST_ENV: "127.0.0.1"}
    return [entry for entry in kept if entry["name"] not in own] + [
        {"name": name, "value": value} for name, value in own.items()
    ]


def _gateway_container(env: list[Manifest], gateway: Gateway) -> Manifest:
    hubs = [entry for entry in env if _is_hubs(entry["name"]) and entry["name"] != "JPY_API_TOKEN"]
    container: Manifest = {
        "name": wire.GATEWAY_CONTAINER,
        "image": gateway.image,
        "env": [*hubs, {"name": wire.KIND_ENV, "value": gateway.kind.to_json()}],
        "resources": copy.deepcopy(dict(gateway.resources)),
        "volumeMounts": [{"name": _GATEWAY_TMP, "mountPath": "/tmp"}],
        "securityContext": {**_GATEWAY_USER, **_RESTRICTED, "readOnlyRootFilesystem": True},
    }
    if gateway.pull_policy:
        container["imagePullPolicy"] = gateway.pull_policy
    return container
