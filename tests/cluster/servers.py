"""Servers on the real cluster: their settings, and what tests do to them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CoreV1Api
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import Configuration

import localcluster
from kale_spawner.spawner import KaleSpawner
from kale_spawner.web.shown import Shown

JUPYTER, VSCODE, GATEWAY = (
    f"localhost/kale-spawner/{name}:dev" for name in ("jupyter-kale", "vscode-kale", "gateway")
)
CONFIG: dict[str, Any] = {
    "KaleSpawner": {"start_timeout": 120},
    "KaleGateway": {"image": GATEWAY},
    "KaleImages": {
        "images": [
            {"id": "jupyter", "display_name": "J", "image": JUPYTER, "bind": "env"},
            {
                "id": "vscode",
                "display_name": "V",
                "image": VSCODE,
                "bind": "env",
                "kind": "code-server",
            },
            # As images are started that nobody vouches for, Arrikto's and Kubeflow's own among them.
            {"id": "jupyter-told", "display_name": "J", "image": JUPYTER, "bind": "command"},
            {
                "id": "vscode-told",
                "display_name": "V",
                "image": VSCODE,
                "bind": "command",
                "kind": "code-server",
            },
            {
                "id": "singleuser",
                "display_name": "S",
                "image": JUPYTER,
                "gateway_mode": "none",
                "command": ["python3", "-m", "http.server", "8888"],
            },
            {"id": "missing", "display_name": "M", "image": "localhost/kale-spawner/none:1"},
            {
                "id": "broken",
                "display_name": "B",
                "image": JUPYTER,
                "command": ["sh", "-c", "echo no such module >/dev/termination-log; exit 3"],
            },
        ]
    },
}
LEVEL = {"pod-security.kubernetes.io/enforce": "restricted"}
Make = Callable[..., KaleSpawner]


def settings(config: dict[str, Any] | None = None) -> dict[str, Any]:
    """`CONFIG` and, over it, these."""
    merged = {key: dict(value) for key, value in CONFIG.items()}
    for group, values in (config or {}).items():
        merged.setdefault(group, {}).update(values)
    return merged


async def connect(kubeconfig: str, address: str = "") -> None:
    """Spawners made from now on talk to this cluster; address: of a door in front of it."""
    await kube_config.load_kube_config(config_file=kubeconfig)
    if address:
        configuration = Configuration.get_default_copy()
        configuration.host = address
        Configuration.set_default(configuration)


async def start(spawner: KaleSpawner, options: dict[str, Any] | None = None) -> str:
    """Start as the hub does, and keep the address as it does."""
    spawner.user_options = options or {}
    spawner.clear_state()
    spawner.api_token = "secret-token"
    url = await asyncio.wait_for(spawner.start(), spawner.start_timeout)
    spawner.server.ip, port = str(url).removeprefix("http://").rsplit(":", 1)
    spawner.server.port = int(port)
    return str(url)


async def refused(spawner: KaleSpawner, options: dict[str, Any] | None = None) -> Shown:
    with pytest.raises(Shown) as caught:
        await start(spawner, options)
    return caught.value


async def pod_made(spawner: KaleSpawner) -> None:
    """Return once the pod of a start under way was created, and its watch has seen it."""
    for _ in range(2000):
        start = spawner._starting
        if start and start.uid and start.key(start.name) in start.watches.pods.resources:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no pod was made")


async def under_way(spawner: KaleSpawner, options: dict[str, Any]) -> asyncio.Future[str]:
    """A start that goes on, once its pod was created."""
    spawner.user_options = options
    starting: asyncio.Future[str] = spawner.start()
    await pod_made(spawner)
    return starting


def shell(cluster: localcluster.Status, namespace: str, pod: str, command: str) -> str:
    """What a command prints in the app's container."""
    kubectl = Path(cluster.kubeconfig).parent / "bin" / "kubectl"
    done = subprocess.run(
        [kubectl, "--kubeconfig", cluster.kubeconfig, "exec", "--namespace", namespace]
        + [pod, "--container", "notebook", "--", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def claims(core: CoreV1Api, namespace: str) -> dict[str, Any]:
    found = core.list_namespaced_persistent_volume_claim(namespace).items
    return {
        claim.metadata.name: claim for claim in found if claim.metadata.deletion_timestamp is None
    }


def pods(core: CoreV1Api, namespace: str) -> list[str]:
    return [pod.metadata.name for pod in core.list_namespaced_pod(namespace).items]
