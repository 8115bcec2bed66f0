"""Snapshots, restores, growth and deletion of volumes with real data in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi

import localcluster
from kale_spawner.errors import Busy, ChoiceInvalid, Denied, KaleError, Missing, Refused
from kale_spawner.kube.objects import Objects
from kale_spawner.kube.watch import SNAPSHOTS
from kale_spawner.model.choices import DataVolume
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.snapshot import SnapshotSet
from kale_spawner.spawner import KaleSpawner
from kale_spawner.volumes import Claims, Sets, Snapshots
from kale_spawner.web.views import volume_view
from tests.cluster.servers import Make, claims, pods, refused, shell, start
from tests.cluster.waiting import eventually

CHOICE: dict[str, Any] = {
    "profile": "singleuser",
    "workspace": {"name": "alice-workspace", "size": "1Gi"},
    "data_volumes": [{"mount": "/data", "size": "400Mi"}],
}
WRITE = (
    "head -c 5000000 /dev/urandom > /home/jovyan/one; head -c 5000000 /dev/urandom > /data/two;"
    "sync; sha256sum < /home/jovyan/one; sha256sum < /data/two"
)
READ = "sha256sum < /home/jovyan/one; sha256sum < /data/two"


def snapshots(core: CoreV1Api, namespace: str) -> list[str]:
    group, version, plural = SNAPSHOTS
    listing = CustomObjectsApi(core.api_client).list_namespaced_custom_object
    found = listing(group, version, namespace, plural)["items"]
    return [each["metadata"]["name"] for each in found]


async def ready(spawner: KaleSpawner, *names: str) -> None:
    await asyncio.wait_for(Snapshots(spawner).until_ready(names), 60)


async def all_ready(spawner: KaleSpawner, name: str) -> SnapshotSet:
    await asyncio.wait_for(Sets(spawner).until_all_ready(name), 60)
    return (await spawner._inventory()).sets()[name]


async def settled(spawner: KaleSpawner) -> None:
    """All that goes on after its request was answered is over."""
    while spawner.background:
        await asyncio.wait(set(spawner.background))


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_whole_server_is_kept_and_restored_as_another_and_over_itself(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str, grouped: bool
) -> None:
    spawner = make({"KaleVolumes": {"group_snapshots": grouped}})
    await start(spawner, CHOICE)
    wrote = shell(cluster, namespace, spawner.pod_name, WRITE)
    saved = await spawner.snapshot_all("monday")
    assert (saved.size, saved.grouped) == (2, grouped)
    with pytest.raises(Busy, match='"monday" of a server is there already'):
        await spawner.snapshot_all("monday")
    await all_ready(spawner, "monday")
    shell(cluster, namespace, spawner.pod_name, "rm /home/jovyan/one /data/two; sync")
    choice, names = await Sets(spawner).restored("monday", "lab")
    assert names == {
        "alice-workspace": "alice--lab-workspace",
        "alice-data-1": "alice--lab-data-1",
    }
    lab = make(server="lab")
    await start(lab, choice)
    assert shell(cluster, namespace, lab.pod_name, READ) == wrote
    await lab.stop()
    await spawner.stop()
    before = {name: claim.metadata.uid for name, claim in claims(core_v1, namespace).items()}
    over, new = await Sets(spawner).restored("monday", "")
    assert not set(new.values()) & set(before)
    await start(spawner, over)
    assert shell(cluster, namespace, spawner.pod_name, READ) == wrote
    after = {name: claim.metadata.uid for name, claim in claims(core_v1, namespace).items()}
    assert after.items() >= before.items()
    assert set(after) - set(before) == set(new.values())
    # What is there now is what a further start uses, and what the next snapshot is of.
    await spawner.stop()
    await start(spawner, spawner.user_options)
    assert shell(cluster, namespace, spawner.pod_name, READ) == wrote
    await spawner.snapshot_all("tuesday")
    again = await all_ready(spawner, "tuesday")
    assert {each.volume for each in again.snapshots} == set(new.values())
    for name in ("monday", "tuesday"):
        await Sets(spawner).delete_all(name)
    eventually(lambda: not snapshots(core_v1, namespace))
    assert shell(cluster, namespace, spawner.pod_name, READ) == wrote


async def test_a_group_that_a_hub_left_is_made_known_by_the_next(
    make: Make,
    core_v1: CoreV1Api,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawner = make()
    await start(spawner, CHOICE)
    with monkeypatch.context() as ended:
        ended.setattr(Sets, "_adopt", lambda sets, name: None)
        assert (await spawner.snapshot_all("left")).taking
        eventually(lambda: len(snapshots(core_v1, namespace)) == 2)
    have = await spawner._inventory()
    assert (have.snapshots, list(have.sets())) == ({}, ["left"])
    assert have.sets()["left"].volumes == ("alice-workspace", "alice-data-1")
    with pytest.raises(Busy, match="not ready yet"):
        await Sets(spawner).restored("left", "lab")
    await make().storage_views()
    saved = await all_ready(spawner, "left")
    assert [each.volume for each in saved.snapshots] == ["alice-workspace", "alice-data-1"]
    assert [each.last_mount for each in saved.snapshots] == ["/home/jovyan", "/data"]


async def test_where_the_hub_may_not_group_one_is_taken_after_the_other(
    make: Make, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner = make()
    await start(spawner, CHOICE)

    async def denied(*_: object) -> None:
        raise Denied("no", "may not patch")

    with monkeypatch.context() as without:
        without.setattr(Objects, "label_claim", denied)
        saved = await spawner.snapshot_all("single")
    assert (saved.grouped, len(saved.snapshots)) == (False, 2)
    await all_ready(spawner, "single")


async def test_a_volume_is_deleted_only_by_name_unmounted_and_after_its_last_snapshot(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make({"KaleVolumes": {"snapshot_before_delete": "always"}})
    volumes = Claims(spawner)
    await start(spawner, CHOICE)
    wrote = shell(cluster, namespace, spawner.pod_name, WRITE)
    with pytest.raises(Busy, match="used by your server"):
        await volumes.delete("alice-data-1")
    await spawner.stop()
    pod = {"metadata": {"name": "job"}, "spec": _job("alice-data-1")}
    core_v1.create_namespaced_pod(namespace, pod)
    with pytest.raises(Busy, match="used by pod job"):
        await volumes.delete("alice-data-1")
    core_v1.delete_namespaced_pod("job", namespace, grace_period_seconds=0)
    eventually(lambda: not core_v1.list_namespaced_pod(namespace).items)
    for name in ("bobs", "alice-data-2"):
        with pytest.raises(Missing):
            await volumes.delete(name)
    await volumes.create(DataVolume(source="clone", origin="alice-data-1", name="copy"))
    with pytest.raises(Busy, match='"copy" is to be a clone of "alice-data-1"'):
        await volumes.delete("alice-data-1")
    with pytest.raises(ChoiceInvalid, match='"copy" is to be a clone of it'):
        await volumes.grow("alice-data-1", "3Gi")
    await volumes.delete("copy")
    last = await volumes.delete("alice-data-1")
    assert last is not None
    with pytest.raises(Busy, match="being deleted already"):
        await volumes.delete("alice-data-1")
    said = await refused(make(), CHOICE)
    assert "being deleted" in said.jupyterhub_message
    await asyncio.wait_for(settled(spawner), 60)
    assert set(claims(core_v1, namespace)) == {"alice-workspace"}
    row = {"source": "snapshot", "origin": last, "mount": "/data", "name": "back"}
    await start(spawner, {**CHOICE, "data_volumes": [row]})
    assert shell(cluster, namespace, spawner.pod_name, READ) == wrote


async def test_a_deletion_during_a_start_is_refused(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    await start(spawner, CHOICE)
    await spawner.stop()
    starting = asyncio.ensure_future(start(spawner, CHOICE))
    while not spawner.holds.starting:
        await asyncio.sleep(0)
    with pytest.raises(Busy, match="about to be used by your server"):
        await Claims(spawner).delete("alice-workspace")
    await starting
    assert set(claims(core_v1, namespace)) == {"alice-workspace", "alice-data-1"}
    assert not spawner.holds.starting


async def test_a_snapshot_that_fails_deletes_nothing(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    await start(spawner, CHOICE)
    await spawner.stop()
    group, version, _ = SNAPSHOTS
    custom = CustomObjectsApi(core_v1.api_client)
    plural = "volumesnapshotclasses"
    kept = custom.get_cluster_custom_object(group, version, plural, "rok-csi")
    custom.delete_cluster_custom_object(group, version, plural, "rok-csi")
    spawner.facts.asked.clear()
    try:
        with pytest.raises(Refused, match="no class of snapshots"):
            await Claims(spawner).delete("alice-data-1", last=True)
    finally:
        kept["metadata"] = {"name": "rok-csi", "annotations": kept["metadata"]["annotations"]}
        custom.create_cluster_custom_object(group, version, plural, kept)
        spawner.facts.asked.clear()
    assert set(claims(core_v1, namespace)) == {"alice-workspace", "alice-data-1"}
    assert snapshots(core_v1, namespace) == []
    assert not spawner.holds.deleting


async def test_a_running_volume_grows_and_a_copy_is_made(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    volumes = Claims(spawner)
    await start(spawner, CHOICE)
    wrote = shell(cluster, namespace, spawner.pod_name, WRITE)
    assert (await volumes.grow("alice-workspace", "2Gi")).is_growing
    size = "df -B1 --output=size /home/jovyan | tail -1"
    eventually(lambda: int(shell(cluster, namespace, spawner.pod_name, size)) > 2000 * 2**20)
    for wrong, says in (("1Gi", "cannot shrink"), ("2Gi", "already"), ("0", "empty")):
        with pytest.raises(ChoiceInvalid, match=says):
            await volumes.grow("alice-workspace", wrong)
    made = await volumes.create(DataVolume(source="clone", origin="alice-workspace", name="copy"))
    assert (made.size_bytes, made.origin and made.origin.name) == (2 * 2**30, "alice-workspace")
    row = {"source": "existing", "name": "copy", "mount": "/copy"}
    lab = make(server="lab")
    await start(
        lab, {"profile": "singleuser", "workspace": {"source": "none"}, "data_volumes": [row]}
    )
    assert shell(cluster, namespace, lab.pod_name, "sha256sum < /copy/one") == wrote.split("\n")[0]


async def test_a_growth_that_the_driver_refuses_is_told_and_asked_for_with_less(
    make: Make, cluster: localcluster.Status, namespace: str
) -> None:
    spawner = make()
    volumes = Claims(spawner)
    await start(spawner, CHOICE)
    wrote = shell(cluster, namespace, spawner.pod_name, WRITE)
    assert (await volumes.grow("alice-workspace", "1000Ti")).is_growing

    async def shows(state: str) -> None:
        await volumes._seen(lambda have: state_of(have) == state, 60, f"it is never {state}")

    def state_of(have: Inventory) -> str:
        return volume_view(have.claims["alice-workspace"], Cluster()).state

    await shows("growth_failed")
    assert "has at most 16 TiB" in (await spawner._inventory()).claims["alice-workspace"].stuck
    with pytest.raises(ChoiceInvalid, match="asked for already"):
        await volumes.grow("alice-workspace", "1000Ti")
    await volumes.grow("alice-workspace", "1100Mi")
    await shows("ready")
    size = "df -B1 --output=size /home/jovyan | tail -1"
    eventually(lambda: int(shell(cluster, namespace, spawner.pod_name, size)) > 1080 * 2**20)
    assert shell(cluster, namespace, spawner.pod_name, READ) == wrote


async def test_snapshots_by_themselves_at_stop_and_before_another_image(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    settings = {
        "snapshot_at_stop": True,
        "snapshot_before_image_change": True,
        "keep_automatic": 2,
    }
    spawner = make({"KaleVolumes": settings})
    choice = {**CHOICE, "data_volumes": []}
    for _ in range(3):
        await start(spawner, choice)
        await spawner.stop()
        have = await spawner._inventory()
        await ready(spawner, *have.snapshots)
        await asyncio.gather(*spawner.background)
    eventually(lambda: len(snapshots(core_v1, namespace)) == 2)
    own = await Snapshots(spawner).take("alice-workspace", "mine")
    await start(spawner, {**choice, "profile": "vscode"})
    eventually(lambda: len(snapshots(core_v1, namespace)) == 3)
    assert own.name in snapshots(core_v1, namespace)
    sets = (await spawner._inventory()).sets()
    assert [each.reason for each in sets.values()] == ["image", "stop"]


async def test_a_server_that_ends_by_itself_is_kept_too_and_once(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    settings = {"KaleVolumes": {"snapshot_at_stop": True}}
    spawner = make(settings)
    await start(spawner, {**CHOICE, "data_volumes": []})
    assert await spawner.poll() is None
    state = spawner.get_state()
    core_v1.delete_namespaced_pod(spawner.pod_name, namespace, grace_period_seconds=0)
    eventually(lambda: pods(core_v1, namespace) == [])
    # Seen by the next hub, which asks twice at once, and stops what is not there.
    following = make(settings, state=state)
    following.server.ip, following.server.port = spawner.server.ip, spawner.server.port
    while following._snapshot_due:
        await asyncio.gather(following.poll(), following.poll())
    await following.stop()
    sets = (await spawner._inventory()).sets()
    assert [each.reason for each in sets.values()] == ["stop"]
    assert "kale_snapshot_due" not in following.get_state()


@pytest.mark.parametrize(
    ("what", "left", "kept"), [("keep", 3, 0), ("delete", 1, 0), ("snapshot", 1, 2)]
)
async def test_a_deleted_server_leaves_what_the_setting_says(
    make: Make, core_v1: CoreV1Api, namespace: str, what: str, left: int, kept: int
) -> None:
    config = {"KaleVolumes": {"when_deleted": what}, "KaleSpawner": {"delete_pvc": True}}
    default, lab = make(config), make(config, server="lab")
    await start(default, {**CHOICE, "data_volumes": []})
    await start(lab, {**CHOICE, "workspace": {"size": "1Gi"}})
    await lab.stop()
    await lab.delete_forever()
    await asyncio.gather(*lab.background)
    there = claims(core_v1, namespace)
    assert "alice-workspace" in there
    assert len(there) == left
    assert len(snapshots(core_v1, namespace)) == kept
    # A server that runs, or a claim that anything mounts, loses nothing.
    await default.delete_forever()
    await asyncio.gather(*default.background)
    assert "alice-workspace" in claims(core_v1, namespace)


async def test_a_full_disk_is_told_and_offered_to_grow(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    small = {"profile": "jupyter", "workspace": {"name": "alice-workspace", "size": "320Mi"}}
    await start(spawner, small)
    fill = "dd if=/dev/zero of=/home/jovyan/fill bs=1M 2>&1 | tail -1; rm -rf /home/jovyan/.local; dd if=/dev/zero of=/home/jovyan/rest bs=4k 2>/dev/null; sync; df /home/jovyan | tail -1"
    shell(cluster, namespace, spawner.pod_name, fill)
    await spawner.stop()
    said = await refused(spawner, small)
    assert said.status_code == 424
    assert 'Volume "alice-workspace" is full' in said.jupyterhub_message
    await spawner.stop(now=True)
    page = await spawner._render_page()
    assert "was full at the last start" in page
    grown = {
        **small,
        "workspace": {"source": "existing", "name": "alice-workspace", "size": "640Mi"},
    }
    await start(spawner, grown)
    assert spawner._full == ""


async def test_names_of_others_cannot_be_taken_nor_told_apart(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    bob = make(user="bob")
    await start(
        bob, {**CHOICE, "workspace": {"name": "letters", "size": "1Gi"}, "data_volumes": []}
    )
    await Snapshots(bob).take("letters", "secret")
    spawner = make()
    alice, taken, sets = Claims(spawner), Snapshots(spawner), Sets(spawner)
    for method in (taken.take, alice.delete, taken.delete, sets.delete_all):
        texts = []
        for name in ("letters", "secret", "nothing"):
            with pytest.raises(Missing) as caught:
                await method(name)
            texts.append(str(caught.value).replace(name, ""))
        assert len(set(texts)) == 1
    with pytest.raises(KaleError):
        await alice.create(DataVolume(source="new", name="letters", size="1Gi"))
    with pytest.raises(ChoiceInvalid, match="no snapshot"):
        await alice.create(DataVolume(source="snapshot", origin="secret", name="mine"))
    assert set(claims(core_v1, namespace)) == {"letters"}
    assert snapshots(core_v1, namespace) == ["secret"]
    with pytest.raises(ApiException):
        core_v1.read_namespaced_persistent_volume_claim("mine", namespace)


def _job(claim: str) -> dict[str, Any]:
    """A pod that is nobody's server."""
    return {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "job",
                "image": "localhost/kale-spawner/jupyter-kale:dev",
                "command": ["sleep", "600"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "securityContext": {
                    "runAsUser": 1000,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
