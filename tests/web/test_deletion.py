"""Servers and users that are deleted through the hub's API, and what becomes of their volumes:
`KaleVolumes.when_deleted` says, whatever KubeSpawner's `delete_pvc` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from kale_spawner.kube.watch import SNAPSHOTS
from kale_spawner.wire import SERVERNAME_LABEL
from tests.web.browserless import call
from tests.web.conftest import Cluster, Hub, StartHub
from tests.web.test_hub import stop, until

CLAIMS = {
    "dan-work": ("dan", ""),
    "dan-lab": ("dan", "lab"),
    "dan-lab-data": ("dan", "lab"),
    "claim-dan": ("dan", ""),
    "claim-dan--lab": ("dan", "lab"),
    "dan-old": ("dan", "gone"),
    "eve-work": ("eve", ""),
}
"""User and server of each; two have the names that KubeSpawner's own claims have."""
EMPTY = "dan-lab-data"
"""Nothing has been written to it."""
OF_LAB = {"dan-lab"}
"""What `lab` made and was last started with: the rest may be what an earlier one of that name left."""
OF_DAN = {name for name, (user, _) in CLAIMS.items() if user == "dan"}


@pytest.fixture(scope="module", params=["keep", "snapshot", "delete"])
def what(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def deleting_hub(start_hub: StartHub, what: str) -> Hub:
    """KubeSpawner's own claims have names of users and servers, and it is to delete them."""
    return start_hub(
        f"c.KaleVolumes.when_deleted = {what!r}\n"
        "c.KaleSpawner.delete_pvc = True\n"
        "c.KaleSpawner.pvc_name_template = 'claim-{user_server}'\n"
        "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0}\n"
        "c.JupyterHub.load_roles[0]['scopes'].append('delete:users')\n"
    )


@pytest.fixture
def seeded(cluster: Cluster, deleting_hub: Hub) -> Iterator[Cluster]:
    """Dan has two servers, of which `lab` was started, with volumes that have content."""
    hub = deleting_hub
    for name, (user, server) in CLAIMS.items():
        cluster.claim(name, user)
        noted = {"metadata": {"annotations": {SERVERNAME_LABEL: server}}}
        bound = {"status": {"phase": "Bound", "capacity": {"storage": "10Gi"}}}
        core, namespace = cluster.core, cluster.namespace
        core.patch_namespaced_persistent_volume_claim(name, namespace, noted)
        if name != EMPTY:
            core.patch_namespaced_persistent_volume_claim_status(name, namespace, bound)
    for user in ("dan", "eve"):
        call(hub.url, hub.token, "POST", f"/users/{user}")
    start_with_dan_lab(hub, "lab")
    until(cluster.pods)
    yield cluster
    cluster.clear()
    snapshots(cluster, "delete_collection")


def start_with_dan_lab(hub: Hub, server: str) -> None:
    body = {"workspace": {"source": "existing", "name": "dan-lab"}, "data_volumes": []}
    started = call(hub.url, hub.token, "POST", f"/users/dan/servers/{server}", body)
    assert started.status == 202, started.text


def everything_stays(cluster: Cluster) -> None:
    """Nor is a last snapshot taken, which a deletion would wait for."""
    time.sleep(1)
    assert going(cluster) == set()
    assert snapshots(cluster)["items"] == []


def snapshots(cluster: Cluster, verb: str = "list") -> Any:
    group, version, plural = SNAPSHOTS
    custom = CustomObjectsApi(cluster.core.api_client)
    call_it = getattr(custom, f"{verb}_namespaced_custom_object")
    return call_it(group, version, cluster.namespace, plural)


def going(cluster: Cluster) -> set[str]:
    """Claims that are gone or about to go; here no controller lets go of them."""
    listed = cluster.core.list_namespaced_persistent_volume_claim(cluster.namespace).items
    return set(CLAIMS) - {
        each.metadata.name for each in listed if not each.metadata.deletion_timestamp
    }


def finish_snapshots(cluster: Cluster) -> dict[str, str]:
    """Make those ready that there are, as a driver would; which volume each is of."""
    group, version, plural = SNAPSHOTS
    custom = CustomObjectsApi(cluster.core.api_client)
    status = {"status": {"readyToUse": True, "restoreSize": "10Gi"}}
    found = {}
    for each in snapshots(cluster)["items"]:
        name = each["metadata"]["name"]
        found[name] = each["spec"]["source"]["persistentVolumeClaimName"]
        custom.patch_namespaced_custom_object_status(
            group, version, cluster.namespace, plural, name, status
        )
    return found


def deleted(cluster: Cluster, hub: Hub, path: str, body: Any, expected: set[str]) -> set[str]:
    """Call DELETE, be the driver meanwhile, and return of which volumes snapshots were taken."""
    taken: set[str] = set()

    def done() -> bool:
        taken.update(finish_snapshots(cluster).values())
        return deleting.done() and going(cluster) >= expected

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(call, hub.url, hub.token, "DELETE", path, body)
        until(done)
        assert deleting.result().status in (202, 204), deleting.result().text
    return taken


def test_a_deleted_server_and_a_deleted_user_leave_what_the_setting_says(
    seeded: Cluster, deleting_hub: Hub, what: str
) -> None:
    hub = deleting_hub
    expected = set() if what == "keep" else OF_LAB
    taken = deleted(seeded, hub, "/users/dan/servers/lab", {"remove": True}, expected)
    model = call(hub.url, hub.token, "GET", "/users/dan?include_stopped_servers").json
    assert "lab" not in model["servers"]
    assert seeded.pods() == []
    assert going(seeded) == expected
    assert taken == (OF_LAB if what == "snapshot" else set())

    expected = set() if what == "keep" else OF_DAN
    taken = deleted(seeded, hub, "/users/dan", None, expected)
    assert call(hub.url, hub.token, "GET", "/users/dan").status == 404
    assert going(seeded) == expected
    assert taken == (OF_DAN - {EMPTY} if what == "snapshot" else set())


def test_a_claim_that_another_server_mounts_stays(
    seeded: Cluster, deleting_hub: Hub, what: str
) -> None:
    hub = deleting_hub
    start_with_dan_lab(hub, "other")
    until(lambda: len(seeded.pods()) == 2)
    deleted(seeded, hub, "/users/dan/servers/lab", {"remove": True}, set())
    everything_stays(seeded)
    assert len(seeded.pods()) == 1
    expected = set() if what == "keep" else OF_LAB
    deleted(seeded, hub, "/users/dan/servers/other", {"remove": True}, expected)
    assert going(seeded) == expected


def test_a_claim_that_another_server_was_started_with_stays(
    seeded: Cluster, deleting_hub: Hub, what: str
) -> None:
    hub = deleting_hub
    stop(hub, "dan", "lab")
    start_with_dan_lab(hub, "other")
    until(seeded.pods)
    stop(hub, "dan", "other")
    deleted(seeded, hub, "/users/dan/servers/lab", {"remove": True}, set())
    everything_stays(seeded)
    # Then it belongs to that one.
    expected = set() if what == "keep" else OF_LAB
    deleted(seeded, hub, "/users/dan/servers/other", {"remove": True}, expected)
    assert going(seeded) == expected


def test_with_their_user_both_of_two_servers_with_one_claim_go(
    seeded: Cluster, deleting_hub: Hub, what: str
) -> None:
    hub = deleting_hub
    stop(hub, "dan", "lab")
    start_with_dan_lab(hub, "other")
    until(seeded.pods)
    stop(hub, "dan", "other")
    expected = set() if what == "keep" else OF_DAN
    deleted(seeded, hub, "/users/dan", None, expected)
    assert going(seeded) == expected


def test_of_a_user_whom_the_hub_does_not_delete_everything_stays(
    seeded: Cluster, deleting_hub: Hub
) -> None:
    """JupyterHub fails over a named server that runs, after it has begun with the others."""
    hub = deleting_hub
    refused = call(hub.url, hub.token, "DELETE", "/users/dan")
    assert refused.status == 500
    assert call(hub.url, hub.token, "GET", "/users/dan").status == 200
    everything_stays(seeded)
    stop(hub, "dan", "lab")
