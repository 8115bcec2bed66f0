"""A real cluster for the tests of this folder: without one they fail, they are never skipped."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client import CoreV1Api
from kubernetes.config import new_client_from_config
from kubespawner.clients import _client_cache

import images
import localcluster
from kale_spawner.spawner import KaleSpawner
from tests.cluster.faults import Door
from tests.cluster.servers import LEVEL, Make, connect, settings
from tests.cluster.waiting import seen
from tests.spawning import make_spawner

NAME = "test"


UNCLOSED = (
    "ignore:unclosed.*<ssl.SSLSocket:ResourceWarning",
    "ignore:Unclosed c:ResourceWarning",
    "ignore:Exception ignored in.*(SSLSocket|ClientSession|TCPConnector|transport)"
    ":pytest.PytestUnraisableExceptionWarning",
)
"""What Python may say of kubespawner's clients, which are closed after each test: their TLS
connections end a moment later, and nothing tells when."""


def pytest_configure(config: pytest.Config) -> None:
    for line in UNCLOSED:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[localcluster.Status]:
    """The cluster `test` with the images of this project; taken down after the last test."""
    yield localcluster.up(NAME, load=images.build())
    if not request.config.getoption("--keep"):
        localcluster.down(NAME)


@pytest.fixture(scope="session")
def api_client(cluster: localcluster.Status) -> Iterator[client.ApiClient]:
    with new_client_from_config(cluster.kubeconfig) as made:
        yield made


@pytest.fixture(scope="session")
def core_v1(api_client: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api_client)


@pytest.fixture
def namespace(request: pytest.FixtureRequest, core_v1: client.CoreV1Api) -> Iterator[str]:
    """A namespace of the test's own, ready for pods. --keep leaves it there."""
    words = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    name = f"{words}-{secrets.token_hex(3)}"
    core_v1.create_namespace({"metadata": {"name": name}})
    seen(core_v1.list_namespaced_service_account, "default", lambda _: True, name)
    yield name
    if not request.config.getoption("--keep"):
        core_v1.delete_namespace(name, grace_period_seconds=0)


@pytest.fixture
async def passage() -> Door | None:
    """Between spawners and the API server; tests of faults put one there."""
    return None


@pytest.fixture
async def make(
    passage: Door | None,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Make]:
    """Makes spawners for the test's namespace; their servers are stopped after it."""
    core_v1.patch_namespace(namespace, {"metadata": {"labels": LEVEL}})
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    await connect(cluster.kubeconfig, passage.address if passage else "")
    made: list[KaleSpawner] = []

    def making(config: dict[str, Any] | None = None, **kwargs: Any) -> KaleSpawner:
        made.append(make_spawner(settings(config), namespace=namespace, **kwargs))
        return made[-1]

    yield making
    for spawner in made:
        await spawner.stop(now=True)
    await KaleSpawner._stop_all_reflectors()
    for shared in list(_client_cache.values()):
        await shared.api_client.close()
    # aiohttp closes TLS connections a moment later: docs.aiohttp.org, "Graceful Shutdown"
    await asyncio.sleep(0.25)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failing test's output says what the cluster saw."""
    report: Any = yield
    used: dict[str, Any] = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed and "namespace" in used:
        core, name = used["core_v1"], used["namespace"]
        report.sections.append((f"events of {name}", _events(core, name)))
        report.sections.extend(_logs(core, name))
    return report


def _events(core: client.CoreV1Api, namespace: str) -> str:
    found = core.list_namespaced_event(namespace).items
    return "\n".join(
        f"{event.involved_object.kind} {event.involved_object.name}: "
        f"{event.type} {event.reason}: {event.message}"
        for event in sorted(found, key=lambda event: event.metadata.creation_timestamp)
    )


def _logs(core: client.CoreV1Api, namespace: str) -> Iterator[tuple[str, str]]:
    for pod in core.list_namespaced_pod(namespace).items:
        for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
            title = f"log of {pod.metadata.name}/{container.name}"
            try:
                said = core.read_namespaced_pod_log(
                    pod.metadata.name, namespace, container=container.name, tail_lines=100
                )
            except client.ApiException as error:
                said = f"no log: {error.reason} {error.body}"
            yield title, said
