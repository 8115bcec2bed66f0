"""Volumes from snapshots, copies, shared ones and larger ones, with real data in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.client import CoreV1Api, CustomObjectsApi, StorageV1Api

import localcluster
from kale_spawner.kube.watch import SNAPSHOTS
from tests.cluster.servers import Make, claims, pods, refused, shell, start
from tests.cluster.waiting import eventually

WORKSPACE = {"name": "alice-workspace", "size": "1Gi"}
FILL = "head -c 30000000 /dev/urandom > /home/jovyan/numbers && sync && sha256sum < /home/jovyan/numbers"


@pytest.fixture
def custom(core_v1: CoreV1Api) -> CustomObjectsApi:
    return CustomObjectsApi(core_v1.api_client)


def snapshot(custom: CustomObjectsApi, namespace: str, name: str, claim: str, user: str) -> None:
    """As one that was taken for this user, ready to be used."""
    group, version, plural = SNAPSHOTS
    metadata = {
        "name": name,
        "labels": {"component": "singleuser-storage", "hub.jupyter.org/username": user},
        "annotations": {"hub.jupyter.org/username": user},
    }
    body = {
        "apiVersion": f"{group}/{version}",
        "kind": "VolumeSnapshot",
        "metadata": metadata,
        "spec": {
            "volumeSnapshotClassName": "rok-csi",
            "source": {"persistentVolumeClaimName": claim},
        },
    }
    custom.create_namespaced_custom_object(group, version, namespace, plural, body)

    def ready() -> bool:
        found = custom.get_namespaced_custom_object(group, version, namespace, plural, name)
        return bool((found.get("status") or {}).get("readyToUse"))

    eventually(ready)


async def test_from_a_snapshot_a_copy_and_a_larger_one(
    make: Make,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    custom: CustomObjectsApi,
    namespace: str,
) -> None:
    spawner = make()
    await start(spawner, {"workspace": WORKSPACE})
    wrote = shell(cluster, namespace, spawner.pod_name, FILL)
    snapshot(custom, namespace, "monday", "alice-workspace", "alice")
    shell(cluster, namespace, spawner.pod_name, "echo later > /home/jovyan/numbers; sync")
    lab = make(server="lab")
    choice: dict[str, Any] = {
        "workspace": {"source": "snapshot", "origin": "monday", "name": "restored", "size": "2Gi"},
        "data_volumes": [
            {"source": "clone", "origin": "alice-workspace", "name": "copy", "mount": "/copy"}
        ],
    }
    await start(lab, choice)
    read = "sha256sum < /home/jovyan/numbers; cat /copy/numbers"
    assert shell(cluster, namespace, lab.pod_name, read).splitlines() == [wrote, "later"]
    made = claims(core_v1, namespace)
    assert made["restored"].spec.data_source.name == "monday"
    assert made["copy"].spec.data_source.name == "alice-workspace"
    assert '"monday"' in made["restored"].metadata.annotations["kale-spawner/origin"]
    # The snapshot may go; a start with the same choice uses what is there.
    await lab.stop()
    group, version, plural = SNAPSHOTS
    custom.delete_namespaced_custom_object(group, version, namespace, plural, "monday")
    await start(lab, choice)
    assert shell(cluster, namespace, lab.pod_name, read).splitlines() == [wrote, "later"]
    assert set(claims(core_v1, namespace)) == {"alice-workspace", "restored", "copy"}


async def test_a_snapshot_of_somebody_elses_reads_like_none(
    make: Make, core_v1: CoreV1Api, custom: CustomObjectsApi, namespace: str
) -> None:
    bob = make(user="bob")
    await start(bob, {"workspace": {"name": "bob-workspace", "size": "1Gi"}})
    snapshot(custom, namespace, "bobs", "bob-workspace", "bob")
    # The label alone is not enough: an escaped name can be another's.
    group, version, plural = SNAPSHOTS
    label = {"metadata": {"labels": {"hub.jupyter.org/username": "alice"}}}
    custom.patch_namespaced_custom_object(group, version, namespace, plural, "bobs", label)
    said = [
        await refused(make(), {"workspace": {"source": "snapshot", "origin": each, "name": "mine"}})
        for each in ("bobs", "nobodys")
    ]
    assert said[0].status_code == 400
    first, second = (each.jupyterhub_message for each in said)
    assert first.replace("bobs", "") == second.replace("nobodys", "")
    assert set(claims(core_v1, namespace)) == {"bob-workspace"}
    assert pods(core_v1, namespace) == [bob.pod_name]


async def test_a_shared_snapshot_is_started_from_by_whom_it_reaches(
    make: Make,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    custom: CustomObjectsApi,
    namespace: str,
) -> None:
    admin = make(user="admin")
    await start(admin, {"workspace": {"name": "course", "size": "1Gi"}})
    wrote = shell(cluster, namespace, admin.pod_name, FILL)
    snapshot(custom, namespace, "lesson-1", "course", "admin")
    group, version, plural = SNAPSHOTS
    marks: dict[str, Any] = {
        "labels": {"kale-spawner/shared": "true"},
        "annotations": {"kale-spawner/groups": "students"},
    }
    patched = {"metadata": marks}
    custom.patch_namespaced_custom_object(group, version, namespace, plural, "lesson-1", patched)
    choice = {"workspace": {"source": "snapshot", "origin": "lesson-1", "name": "mine"}}
    outsider = await refused(make(user="bob"), choice)
    assert 'no snapshot "lesson-1"' in outsider.jupyterhub_message
    student = make(user="ann")
    student.user.groups = [type("Group", (), {"name": "students"})()]
    await start(student, choice)
    read = "sha256sum < /home/jovyan/numbers"
    assert shell(cluster, namespace, student.pod_name, read) == wrote
    owner = claims(core_v1, namespace)["mine"].metadata.annotations["hub.jupyter.org/username"]
    assert owner == "ann"


async def test_a_volume_grows_at_a_start_with_its_files(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    await start(spawner, {"workspace": WORKSPACE})
    wrote = shell(cluster, namespace, spawner.pod_name, FILL)
    await spawner.stop()
    told: list[str] = []

    async def listen() -> None:
        async for event in spawner.progress():
            told.append(event["message"])

    larger = {"workspace": {"source": "existing", "name": "alice-workspace", "size": "2Gi"}}
    spawner.clear_state()
    listening = asyncio.ensure_future(listen())
    await start(spawner, larger)
    await asyncio.wait_for(listening, 10)
    read = "sha256sum < /home/jovyan/numbers"
    assert shell(cluster, namespace, spawner.pod_name, read) == wrote
    assert any("grows from 1Gi to 2Gi" in each for each in told), told

    def grown() -> bool:
        claim = core_v1.read_namespaced_persistent_volume_claim("alice-workspace", namespace)
        return bool(claim.status.capacity["storage"] == "2Gi")

    eventually(grown)
    smaller = await refused(make(), {"workspace": {**larger["workspace"], "size": "1Gi"}})
    assert smaller.status_code == 400
    assert "cannot shrink" in smaller.jupyterhub_message


async def test_a_data_set_is_shared_read_only_with_a_group(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    admin = make(user="admin")
    await start(admin, {"workspace": {"name": "images", "size": "1Gi"}})
    shell(cluster, namespace, admin.pod_name, "echo cats > /home/jovyan/labels; sync")
    marks: dict[str, Any] = {
        "labels": {"kale-spawner/shared": "true"},
        "annotations": {"kale-spawner/groups": "vision, audio"},
    }
    core_v1.patch_namespaced_persistent_volume_claim("images", namespace, {"metadata": marks})
    choice: dict[str, Any] = {
        "workspace": {"source": "none"},
        "data_volumes": [{"source": "shared", "name": "images", "mount": "/images"}],
    }
    outsider = await refused(make(user="bob"), choice)
    assert "shared with you" in outsider.jupyterhub_message
    for user in ("ann", "alice"):
        member = make(user=user)
        member.user.groups = [type("Group", (), {"name": "audio"})()]
        await start(member, choice)
        write = "cat /images/labels; echo dogs > /images/labels || echo refused"
        said = shell(cluster, namespace, member.pod_name, f"({write}) 2>/dev/null")
        assert said.splitlines() == ["cats", "refused"]
        found = core_v1.read_namespaced_pod(member.pod_name, namespace)
        (term,) = (
            found.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
        )
        assert term.match_fields[0].values == [found.spec.node_name]
    assert set(claims(core_v1, namespace)) == {"images"}


async def test_one_server_only_means_one(make: Make, core_v1: CoreV1Api, namespace: str) -> None:
    config = {"KaleVolumes": {"access_modes": ["ReadWriteOncePod"]}}
    await start(make(config, server="lab"), {"workspace": {"name": "single", "size": "1Gi"}})
    said = await refused(make(config), {"workspace": {"source": "existing", "name": "single"}})
    assert said.status_code == 400
    assert "used by server lab" in said.jupyterhub_message
    assert "stop server lab" in said.jupyterhub_message


async def test_a_quota_and_a_class_are_told_before_anything_is_made(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    hard = {"requests.storage": "3Gi"}
    quota = {"metadata": {"name": "team"}, "spec": {"hard": hard}}
    core_v1.create_namespaced_resource_quota(namespace, quota)
    eventually(lambda: bool(core_v1.read_namespaced_resource_quota("team", namespace).status.hard))
    said = await refused(make(), {"workspace": {"size": "4Gi"}})
    assert said.status_code == 400
    assert "leaves 3Gi of storage" in said.jupyterhub_message
    assert 'ResourceQuota "team"' in said.jupyterhub_message
    other = await refused(make({"KaleVolumes": {"storage_class": "none-such"}}), {})
    assert other.status_code == 400
    assert 'no storage class "none-such", only' in other.jupyterhub_message
    assert claims(core_v1, namespace) == {}
    assert pods(core_v1, namespace) == []


async def test_volumes_and_profiles_of_other_zones_are_told_before_a_pod_is_made(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    zone = "topology.kubernetes.io/zone"
    bound: list[str] = []

    def there(name: str, where: str) -> None:
        """A volume of alice's in a zone."""
        term = {"matchExpressions": [{"key": zone, "operator": "In", "values": [where]}]}
        size, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
        reference = {"namespace": namespace, "name": name}
        spec: dict[str, Any] = {
            "capacity": size,
            "accessModes": modes,
            "hostPath": {"path": f"/tmp/{name}"},
            "claimRef": reference,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "storageClassName": "by-hand",
        }
        core_v1.create_persistent_volume(
            {"metadata": {"name": f"{namespace}-{name}"}, "spec": spec}
        )
        bound.append(f"{namespace}-{name}")
        metadata = {
            "name": name,
            "labels": {"component": "singleuser-storage", "hub.jupyter.org/username": "alice"},
            "annotations": {"hub.jupyter.org/username": "alice"},
        }
        asked: dict[str, Any] = {
            "accessModes": modes,
            "storageClassName": "by-hand",
            "volumeName": f"{namespace}-{name}",
            "resources": {"requests": size},
        }
        core_v1.create_namespaced_persistent_volume_claim(
            namespace, {"metadata": metadata, "spec": asked}
        )
        eventually(lambda: claims(core_v1, namespace)[name].status.phase == "Bound")

    try:
        there("north", "north")
        there("south", "south")
        row = {"source": "existing", "name": "south", "mount": "/south"}
        choice = {"workspace": {"source": "existing", "name": "north"}, "data_volumes": [row]}
        both = await refused(make(), choice)
        assert 'Volume "south" is in zone south, but volume "north" is in north' in (
            both.jupyterhub_message
        )
        eastern = make({"KaleSpawner": {"node_selector": {zone: "east"}}})
        alone = await refused(eastern, {"workspace": choice["workspace"]})
        assert 'Volume "north" is in zone north, but this profile is in east' in (
            alone.jupyterhub_message
        )
        assert pods(core_v1, namespace) == []
        assert set(claims(core_v1, namespace)) == {"north", "south"}
    finally:
        for name in bound:
            core_v1.delete_persistent_volume(name)


async def test_a_snapshot_of_another_driver_is_told_before_anything_is_made(
    make: Make, core_v1: CoreV1Api, custom: CustomObjectsApi, namespace: str
) -> None:
    storage = StorageV1Api(core_v1.api_client)
    foreign = f"{namespace}-foreign"[-60:].strip("-")
    storage.create_storage_class({"metadata": {"name": foreign}, "provisioner": "other.example"})
    try:
        config = {"KaleVolumes": {"storage_classes": ["rok-csi", foreign]}}
        await start(make(config), {"workspace": WORKSPACE})
        snapshot(custom, namespace, "monday", "alice-workspace", "alice")
        row = {"source": "snapshot", "origin": "monday", "name": "new", "mount": "/new"}
        choice = {
            "workspace": {"source": "none"},
            "data_volumes": [{**row, "storage_class": foreign}],
        }
        said = await refused(make(config, server="lab"), choice)
        assert said.status_code == 400
        assert "data_volumes.0.storage_class" in said.jupyterhub_message
        assert "is of driver other.example" in said.jupyterhub_message
        assert set(claims(core_v1, namespace)) == {"alice-workspace"}
    finally:
        storage.delete_storage_class(foreign)


async def test_an_address_of_roks_stands_on_the_claim(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    url = "https://rok.example/rok/buckets/b/files/f/versions/v"
    config = {"KaleVolumes": {"rok_hosts": ["rok.example"], "rok_secret": "{user_slug}-rok"}}
    choice = {"workspace": {"source": "rok", "origin": url, "name": "mine", "size": "1Gi"}}
    assert "not offered here" in (await refused(make(), choice)).jupyterhub_message
    elsewhere = {"workspace": {**choice["workspace"], "origin": url.replace("rok.", "evil.")}}
    assert "not allowed here" in (await refused(make(config), elsewhere)).jupyterhub_message
    await start(make(config), choice)
    made = claims(core_v1, namespace)["mine"].metadata.annotations
    assert (made["rok/origin"], made["rok/creds-secret-name"]) == (url, "alice-rok")


async def test_without_a_workspace_a_server_has_only_so_much_room(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """The kubelet ends a pod that takes more, some minutes later."""
    spawner = make()
    await start(spawner, {"workspace": {"source": "none", "size": "64Mi"}})
    assert claims(core_v1, namespace) == {}
    pod = core_v1.read_namespaced_pod(spawner.pod_name, namespace)
    volumes = {each.name: each.empty_dir for each in pod.spec.volumes}
    assert volumes["kale-workspace"].size_limit == "64Mi"
