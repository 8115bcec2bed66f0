"""The local cluster keeps what it promises: its storage, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.config import new_client_from_config

import images
import localcluster
from localcluster import cgroups, loops, processes
from localcluster.folders import INSIDE, Place
from localcluster.images import PAUSE
from tests.cluster.waiting import eventually, gone, run, seen

SMALL = images.settings()["KALE_GATEWAY_IMAGE"]
"""A small image; it has Python and no shell."""

SNAPSHOTS = ("snapshot.storage.k8s.io", "v1")
GROUPS = ("groupsnapshot.storage.k8s.io", "v1")


def claim(name: str, size: str = "8Mi", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "rok-csi",
            "resources": {"requests": {"storage": size}},
            **spec,
        },
    }


def pod(name: str, script: str, volume: str, image: str = SMALL) -> dict[str, Any]:
    """Runs `script` as a user of Kubeflow's images would, with the claim at /data."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if script:
        container["command"] = ["python3", "-c", script]
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 0,
                "fsGroup": 100,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}],
        },
    }


CHECKSUM = """
import hashlib, pathlib
for path in sorted(pathlib.Path("/data").rglob("*")):
    if path.is_file():
        print(path, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def write(name: str, text: str) -> str:
    """A script for a pod."""
    return f"open('/data/{name}', 'w').write({text!r})"


def bound(found: Any) -> bool:
    return bool(found.status.phase == "Bound")


def running(found: Any) -> bool:
    return bool(found.status.phase == "Running")


MI = 1 << 20

SIZE = "import os; here = os.statvfs('/data'); print(here.f_blocks * here.f_frsize)\n"
"""A script that prints what df calls the size."""

SLEEP = "import time; time.sleep(600)\n"


def images_of(cluster: localcluster.Status) -> Path:
    """The folder with a folder for each volume."""
    return Place(cluster.name).folder / "volumes/volumes"


def devices_of(cluster: localcluster.Status, volume: str) -> list[str]:
    """The loop devices of the volume of that name, which are mounted."""
    image = str(images_of(cluster) / volume / "image")
    attached = loops.attached(Place(cluster.name).folder / "volumes")
    return [device for device, backing in attached.items() if backing == image]


def volume_of(core: client.CoreV1Api, namespace: str, name: str) -> str:
    """The name of a claim's volume, once it is bound."""
    found = seen(core.list_namespaced_persistent_volume_claim, name, bound, namespace)
    return str(found.spec.volume_name)


class TestStorage:
    def test_waits_for_a_consumer(self, core_v1: client.CoreV1Api, namespace: str) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("early"))
        told = first_event(core_v1, namespace, "WaitForFirstConsumer")
        assert told.involved_object.name == "early"
        found = core_v1.read_namespaced_persistent_volume_claim("early", namespace)
        assert found.status.phase == "Pending"
        run(core_v1, namespace, pod("consumer", "pass", "early"))
        found = core_v1.read_namespaced_persistent_volume_claim("early", namespace)
        assert found.status.phase == "Bound"

    def test_data_outlives_pods(self, core_v1: client.CoreV1Api, namespace: str) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("kept"))
        run(core_v1, namespace, pod("writer", write("file", "kept"), "kept"))
        core_v1.delete_namespaced_pod("writer", namespace)
        gone(core_v1.read_namespaced_pod, "writer", namespace)
        assert (
            run(core_v1, namespace, pod("reader", "print(open('/data/file').read())", "kept"))
            == "kept\n"
        )

    def test_data_goes_with_the_claim(
        self, core_v1: client.CoreV1Api, namespace: str, cluster: localcluster.Status
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("left"))
        run(core_v1, namespace, pod("writer", write("file", "left"), "left"))
        found = core_v1.read_namespaced_persistent_volume_claim("left", namespace)
        folder = images_of(cluster) / found.spec.volume_name
        assert (folder / "image").exists()
        core_v1.delete_namespaced_pod("writer", namespace)
        core_v1.delete_namespaced_persistent_volume_claim("left", namespace)
        gone(core_v1.read_persistent_volume, found.spec.volume_name)
        assert not folder.exists()

    def test_a_class_that_is_missing_keeps_it_pending(
        self, core_v1: client.CoreV1Api, namespace: str
    ) -> None:
        wanted = claim("lost", storageClassName="no-such-class")
        core_v1.create_namespaced_persistent_volume_claim(namespace, wanted)
        core_v1.create_namespaced_pod(namespace, pod("waiting", "pass", "lost"))
        told = first_event(core_v1, namespace, "ProvisioningFailed")
        assert '"no-such-class" not found' in told.message
        found = core_v1.read_namespaced_persistent_volume_claim("lost", namespace)
        assert found.status.phase == "Pending"

    def test_snapshot_and_clone_equal_their_source(
        self, core_v1: client.CoreV1Api, api_client: client.ApiClient, namespace: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("origin"))
        fill = "import os; os.mkdir('/data/deep'); "
        fill += "open('/data/deep/noise', 'wb').write(os.urandom(3_000_000))"
        wanted = run(core_v1, namespace, pod("origin", fill + CHECKSUM, "origin"))
        custom = client.CustomObjectsApi(api_client)
        snapshot(custom, namespace, "moment", "origin")
        run(core_v1, namespace, pod("later", write("later", "later"), "origin"))
        restored = claim("restored", dataSource=of_snapshot("moment"))
        cloned = claim("cloned", dataSource={"kind": "PersistentVolumeClaim", "name": "origin"})
        for one in (restored, cloned):
            core_v1.create_namespaced_persistent_volume_claim(namespace, one)
        assert run(core_v1, namespace, pod("restored", CHECKSUM, "restored")) == wanted
        with_later = run(core_v1, namespace, pod("cloned", CHECKSUM, "cloned"))
        assert with_later == run(core_v1, namespace, pod("origin-2", CHECKSUM, "origin"))
        assert with_later != wanted


def snapshot(
    custom: client.CustomObjectsApi, namespace: str, name: str, of: str, kind: str = "rok-csi"
) -> Any:
    """Make the snapshot `name` of the claim `of`, of the class `kind`; return once it is ready."""
    body = {
        "apiVersion": "/".join(SNAPSHOTS),
        "kind": "VolumeSnapshot",
        "metadata": {"name": name},
        "spec": {
            "volumeSnapshotClassName": kind,
            "source": {"persistentVolumeClaimName": of},
        },
    }
    custom.create_namespaced_custom_object(*SNAPSHOTS, namespace, "volumesnapshots", body)
    return seen(
        custom.list_namespaced_custom_object,
        name,
        ready,
        *SNAPSHOTS,
        namespace,
        "volumesnapshots",
    )


def ready(found: Any) -> bool:
    return bool(found.get("status", {}).get("readyToUse", False))


def of_snapshot(name: str) -> dict[str, str]:
    return {"apiGroup": SNAPSHOTS[0], "kind": "VolumeSnapshot", "name": name}


COUNT = """
import os
first, second = (os.open(f'/data/{name}', os.O_CREAT | os.O_RDWR) for name in ('first', 'second'))
for number in range(10**9):
    os.pwrite(first, b'%10d' % number, 0)
    os.pwrite(second, b'%10d' % number, 1 << 20)
"""
COUNTED = """
def counted(name, offset):
    with open(f'/data/{name}') as file:
        file.seek(offset)
        return int(file.read())
first = counted('first', 0)
print(first, first - counted('second', 1 << 20))
"""


class TestCopies:
    def test_of_a_volume_that_is_written_to_are_of_one_moment(
        self, core_v1: client.CoreV1Api, api_client: client.ApiClient, namespace: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("busy", "32Mi"))
        core_v1.create_namespaced_pod(namespace, pod("counter", COUNT, "busy"))
        seen(core_v1.list_namespaced_pod, "counter", running, namespace)
        custom = client.CustomObjectsApi(api_client)
        sources = []
        for name in ("one", "two"):
            snapshot(custom, namespace, name, "busy")
            sources.append(of_snapshot(name))
        sources.append({"kind": "PersistentVolumeClaim", "name": "busy"})
        reached = []
        for number, source in enumerate(sources):
            copied = claim(f"copy-{number}", "64Mi", dataSource=source)
            core_v1.create_namespaced_persistent_volume_claim(namespace, copied)
            reader = pod(f"reader-{number}", COUNTED + SIZE, f"copy-{number}")
            counted, size = run(core_v1, namespace, reader).splitlines()
            count, ahead = counted.split()
            assert ahead in ("0", "1")
            assert size == str(64 * MI)
            reached.append(int(count))
        assert 0 < reached[0] < reached[1] < reached[2]

    def test_smaller_than_its_source_is_refused(
        self, core_v1: client.CoreV1Api, namespace: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("large", "32Mi"))
        run(core_v1, namespace, pod("user", "pass", "large"))
        source = {"kind": "PersistentVolumeClaim", "name": "large"}
        wanted = claim("small", "16Mi", dataSource=source)
        core_v1.create_namespaced_persistent_volume_claim(namespace, wanted)
        core_v1.create_namespaced_pod(namespace, pod("waiting", "pass", "small"))
        told = first_event(core_v1, namespace, "ProvisioningFailed")
        assert f"needs at least {32 * MI} bytes, {16 * MI} were asked for" in told.message


WATCH = """
import os, time
held, wanted = open('/data/held', 'w'), WANTED
while (here := os.statvfs('/data')).f_blocks * here.f_frsize != wanted:
    time.sleep(0.05)
held.write('x' * (12 << 20))
held.flush()
print(os.fstat(held.fileno()).st_size)
"""


def grow(core: client.CoreV1Api, namespace: str, name: str, size: str) -> None:
    core.patch_namespaced_persistent_volume_claim(
        name, namespace, {"spec": {"resources": {"requests": {"storage": size}}}}
    )


def has_size(size: str) -> Callable[[Any], bool]:
    return lambda found: found.status.capacity["storage"] == size


COUNT_IN_TWO = """
import os
files = [os.open(f'/{name}/count', os.O_CREAT | os.O_RDWR) for name in ('left', 'right')]
for number in range(10**9):
    for file in files:
        os.pwrite(file, b'%10d' % number, 0)
"""
COUNTED_IN_TWO = """
left, right = (int(open(f'/{name}/count').read()) for name in ('left', 'right'))
print(left > 0, left - right)
"""


def pod_of_two(name: str, script: str, left: str, right: str) -> dict[str, Any]:
    """Runs `script` with the two claims at /left and /right."""
    made = pod(name, script, "")
    made["spec"]["containers"][0]["volumeMounts"] = [
        {"name": side, "mountPath": f"/{side}"} for side in ("left", "right")
    ]
    made["spec"]["volumes"] = [
        {"name": side, "persistentVolumeClaim": {"claimName": of}}
        for side, of in (("left", left), ("right", right))
    ]
    return made


def snapshot_group(
    custom: client.CustomObjectsApi, namespace: str, name: str, labels: dict[str, str], size: int
) -> dict[str, str]:
    """Make the group `name` of the `size` claims with `labels`; its snapshots by claim, ready."""
    body = {
        "apiVersion": "/".join(GROUPS),
        "kind": "VolumeGroupSnapshot",
        "metadata": {"name": name},
        "spec": {
            "volumeGroupSnapshotClassName": "rok-csi",
            "source": {"selector": {"matchLabels": labels}},
        },
    }
    kind = "volumegroupsnapshots"
    custom.create_namespaced_custom_object(*GROUPS, namespace, kind, body)
    seen(custom.list_namespaced_custom_object, name, ready, *GROUPS, namespace, kind)
    listing = custom.list_namespaced_custom_object
    members: list[str] = []
    deadline = time.monotonic() + 60
    # The group is ready before each of its snapshots says that it belongs to it.
    while len(members) < size:
        assert time.monotonic() < deadline, f"{name} has only {members}"
        time.sleep(0.2)
        members = [
            one["metadata"]["name"]
            for one in listing(*SNAPSHOTS, namespace, "volumesnapshots")["items"]
            if one.get("status", {}).get("volumeGroupSnapshotName") == name
        ]
    found = [
        seen(listing, member, ready, *SNAPSHOTS, namespace, "volumesnapshots") for member in members
    ]
    return {
        one["spec"]["source"]["persistentVolumeClaimName"]: one["metadata"]["name"] for one in found
    }


class TestGroups:
    def test_volumes_of_a_group_are_copied_in_one_moment(
        self,
        core_v1: client.CoreV1Api,
        api_client: client.ApiClient,
        namespace: str,
        cluster: localcluster.Status,
    ) -> None:
        for name in ("left", "right"):
            wanted = claim(name)
            wanted["metadata"]["labels"] = {"of": "one"}
            core_v1.create_namespaced_persistent_volume_claim(namespace, wanted)
        core_v1.create_namespaced_pod(
            namespace, pod_of_two("counter", COUNT_IN_TWO, "left", "right")
        )
        seen(core_v1.list_namespaced_pod, "counter", running, namespace)
        custom = client.CustomObjectsApi(api_client)
        members = snapshot_group(custom, namespace, "both", {"of": "one"}, 2)
        assert set(members) == {"left", "right"}
        for name, member in members.items():
            restored = claim(f"{name}-2", dataSource=of_snapshot(member))
            core_v1.create_namespaced_persistent_volume_claim(namespace, restored)
        reader = pod_of_two("reader", COUNTED_IN_TWO, "left-2", "right-2")
        assert run(core_v1, namespace, reader).split() in (["True", "0"], ["True", "1"])
        custom.delete_namespaced_custom_object(*GROUPS, namespace, "volumegroupsnapshots", "both")
        kept = Place(cluster.name).folder / "volumes/snapshots"
        volumes = [volume_of(core_v1, namespace, name) for name in members]
        eventually(lambda: not any(one.name.endswith(tuple(volumes)) for one in kept.iterdir()))


@pytest.fixture
def slow(api_client: client.ApiClient, namespace: str) -> Iterator[str]:
    """The name of a class of volumes, and of one of snapshots, with a delay of 3 s."""
    storage, custom = client.StorageV1Api(api_client), client.CustomObjectsApi(api_client)
    of_snapshots = (*SNAPSHOTS, "volumesnapshotclasses")
    for name, delay in ((namespace, "3s"), (f"{namespace}-wrong", "soon")):
        of_volumes = storage.read_storage_class("rok-csi")
        of_volumes.metadata = {"name": name}
        of_volumes.parameters = {"delay": delay}
        storage.create_storage_class(of_volumes)
    of_rok = custom.get_cluster_custom_object(*of_snapshots, "rok-csi")
    custom.create_cluster_custom_object(
        *of_snapshots, {**of_rok, "metadata": {"name": namespace}, "parameters": {"delay": "3s"}}
    )
    yield namespace
    storage.delete_storage_class(namespace)
    storage.delete_storage_class(f"{namespace}-wrong")
    custom.delete_cluster_custom_object(*of_snapshots, namespace)


class TestDelays:
    def test_of_a_class_show_work_in_progress(
        self, core_v1: client.CoreV1Api, api_client: client.ApiClient, namespace: str, slow: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(
            namespace, claim("late", storageClassName=slow)
        )
        began = time.monotonic()
        core_v1.create_namespaced_pod(namespace, pod("user", SLEEP, "late"))
        seen(core_v1.list_namespaced_persistent_volume_claim, "late", bound, namespace)
        assert 3 < time.monotonic() - began < 30
        seen(core_v1.list_namespaced_pod, "user", running, namespace)
        began = time.monotonic()
        snapshot(client.CustomObjectsApi(api_client), namespace, "moment", "late", slow)
        assert 3 < time.monotonic() - began < 30

    def test_that_is_no_duration_is_refused(
        self, core_v1: client.CoreV1Api, namespace: str, slow: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(
            namespace, claim("never", storageClassName=f"{slow}-wrong")
        )
        core_v1.create_namespaced_pod(namespace, pod("waiting", "pass", "never"))
        told = first_event(core_v1, namespace, "ProvisioningFailed")
        assert 'parameter delay: "soon" is no duration such as 3s' in told.message


class TestGrowth:
    def test_under_a_pod_that_runs(self, core_v1: client.CoreV1Api, namespace: str) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("grown"))
        holder = pod("holder", WATCH.replace("WANTED", str(10 << 30)), "grown")
        core_v1.create_namespaced_pod(namespace, holder)
        seen(core_v1.list_namespaced_pod, "holder", running, namespace)
        for size in ("24Mi", "10Gi"):
            grow(core_v1, namespace, "grown", size)
            seen(
                core_v1.list_namespaced_persistent_volume_claim, "grown", has_size(size), namespace
            )
        ended = seen(
            core_v1.list_namespaced_pod,
            "holder",
            lambda found: found.status.phase == "Succeeded",
            namespace,
        )
        assert ended.status.container_statuses[0].restart_count == 0
        assert core_v1.read_namespaced_pod_log("holder", namespace) == f"{12 * MI}\n"

    def test_of_a_volume_that_nobody_uses_comes_with_its_next_pod(
        self, core_v1: client.CoreV1Api, namespace: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("grown"))
        noise = "import os; open('/data/noise', 'wb').write(os.urandom(3_000_000))\n"
        wanted = run(core_v1, namespace, pod("first", noise + CHECKSUM, "grown"))
        core_v1.delete_namespaced_pod("first", namespace)
        gone(core_v1.read_namespaced_pod, "first", namespace)
        grow(core_v1, namespace, "grown", "64Mi")
        pending = "FileSystemResizePending"
        found = seen(
            core_v1.list_namespaced_persistent_volume_claim,
            "grown",
            lambda found: pending in [one.type for one in found.status.conditions or []],
            namespace,
        )
        assert found.status.capacity["storage"] == "8Mi"
        said = run(core_v1, namespace, pod("second", SIZE + CHECKSUM, "grown"))
        assert said == f"{64 * MI}\n{wanted}"
        found = seen(
            core_v1.list_namespaced_persistent_volume_claim, "grown", has_size("64Mi"), namespace
        )
        assert pending not in [one.type for one in found.status.conditions or []]


FILL = """
import errno
print(os.listdir('/data'))
written = 0
try:
    with open('/data/all', 'wb', buffering=0) as full:
        while True:
            written += full.write(bytes(1 << 18))
except OSError as error:
    print(errno.errorcode[error.errno])
print(written)
"""


class TestSizes:
    def test_a_volume_is_as_large_as_was_asked_for_and_no_larger(
        self, core_v1: client.CoreV1Api, namespace: str
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("full", "32Mi"))
        said = run(core_v1, namespace, pod("filler", SIZE + FILL, "full")).split("\n")
        assert said[:3] == [str(32 * MI), "[]", "ENOSPC"]
        assert 0.85 < int(said[3]) / (32 * MI) < 1
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("tiny", "1500k"))
        assert run(core_v1, namespace, pod("tiny", SIZE, "tiny")) == f"{8 * MI}\n"
        found = core_v1.read_namespaced_persistent_volume_claim("tiny", namespace)
        assert found.status.capacity["storage"] == "8Mi"

    def test_a_large_volume_takes_little_of_the_disk(
        self, core_v1: client.CoreV1Api, namespace: str, cluster: localcluster.Status
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("large", "10Gi"))
        assert run(core_v1, namespace, pod("large", SIZE, "large")) == f"{10 << 30}\n"
        image = images_of(cluster) / volume_of(core_v1, namespace, "large") / "image"
        assert image.stat().st_blocks * 512 < 16 * MI

    def test_the_kubelet_tells_how_much_is_used(
        self, core_v1: client.CoreV1Api, namespace: str, cluster: localcluster.Status
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("used", "64Mi"))
        script = "open('/data/noise', 'wb').write(bytes(20 << 20))\n" + SLEEP
        core_v1.create_namespaced_pod(namespace, pod("user", script, "used"))

        def told() -> dict[str, Any]:
            text = core_v1.connect_get_node_proxy_with_path(
                cluster.name, "stats/summary", _preload_content=False
            ).data
            of_pods = {one["podRef"]["namespace"]: one for one in json.loads(text)["pods"]}
            volumes = of_pods.get(namespace, {}).get("volume", [])
            return next((one for one in volumes if one["name"] == "data"), {})

        eventually(lambda: told().get("usedBytes", 0) > 20 * MI)
        found = told()
        assert found["capacityBytes"] == 64 * MI
        assert found["usedBytes"] < 26 * MI
        assert found["availableBytes"] == found["capacityBytes"] - found["usedBytes"]
        assert found["inodes"] == found["inodesFree"] + found["inodesUsed"]
        assert 0 < found["inodesUsed"] < 20

    def test_two_pods_share_one_mount(
        self, core_v1: client.CoreV1Api, namespace: str, cluster: localcluster.Status
    ) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("shared"))
        writer = pod("writer", write("file", "shared") + "\n" + SLEEP, "shared")
        core_v1.create_namespaced_pod(namespace, writer)
        seen(core_v1.list_namespaced_pod, "writer", running, namespace)
        script = """
import errno, time
while not open('/data/file').read():
    time.sleep(0.1)
try:
    open('/data/other', 'w')
except OSError as error:
    print(errno.errorcode[error.errno])
"""
        reader = pod("reader", script, "shared")
        reader["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"] = True
        assert run(core_v1, namespace, reader) == "EROFS\n"
        volume = volume_of(core_v1, namespace, "shared")
        assert len(devices_of(cluster, volume)) == 1
        core_v1.delete_namespaced_pod("reader", namespace)
        gone(core_v1.read_namespaced_pod, "reader", namespace)
        assert len(devices_of(cluster, volume)) == 1
        core_v1.delete_namespaced_pod("writer", namespace)
        eventually(lambda: not devices_of(cluster, volume))

    def test_a_pod_may_have_more_volumes_than_there_are_loop_devices(
        self, core_v1: client.CoreV1Api, namespace: str, cluster: localcluster.Status
    ) -> None:
        names = [
            f"data-{number}" for number in range(len(list(Path("/dev").glob("loop[0-9]*"))) + 1)
        ]
        many = pod("many", "import os; print(len({os.stat(f'/{n}').st_dev for n in NAMES}))", "")
        container, volumes = many["spec"]["containers"][0], []
        for name in names:
            core_v1.create_namespaced_persistent_volume_claim(namespace, claim(name))
            volumes.append({"name": name, "persistentVolumeClaim": {"claimName": name}})
        container["volumeMounts"] = [{"name": name, "mountPath": f"/{name}"} for name in names]
        container["command"][-1] = container["command"][-1].replace("NAMES", repr(names))
        many["spec"]["volumes"] = volumes
        assert run(core_v1, namespace, many) == f"{len(names)}\n"


def first_event(core: client.CoreV1Api, namespace: str, reason: str) -> Any:
    """The first event with `reason`."""
    stream = watch.Watch().stream(
        core.list_namespaced_event, namespace, field_selector=f"reason={reason}", timeout_seconds=60
    )
    for event in stream:
        return event["object"]
    raise AssertionError(f"no event {reason} in {namespace}")


FOLDERS_OF_OTHERS = (
    "/etc/cni",
    "/opt",
    "/run/containerd",
    "/run/kale",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
SETTINGS_OF_OTHERS = ("vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")
"""What a kubelet, a container engine or a network plugin would change on the machine."""


def of_others() -> list[Any]:
    """The machine's own things; a cluster changes none of them."""
    folders = [
        sorted(Path(path).iterdir()) if Path(path).exists() else None for path in FOLDERS_OF_OTHERS
    ]
    settings = [Path("/proc/sys", name).read_text() for name in SETTINGS_OF_OTHERS]
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=True).stdout
    return [folders, settings, rules]


class Footprint:
    """Where something of a cluster is on the machine; made while it stands."""

    def __init__(self, place: Place) -> None:
        self._folder, self._tag = place.folder, place.tag
        assert self._tag
        self._backing = {
            (about.st_dev, about.st_ino)
            for about in map(Path.stat, self._folder.glob("volumes/*/*/image"))
        }

    def now(self) -> dict[str, list[str]]:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return {
            "processes": [str(pid) for pid in self._processes()],
            "mounts": [line for line in mounts if str(self._folder) in line],
            "links": [name for _, name in socket.if_nameindex() if name == self._tag],
            "devices": [device for device, file in loops.in_use() if file in self._backing],
            "groups": [str(group) for group in cgroups.left(self._tag)],
            "folder": [str(self._folder)] if self._folder.exists() else [],
        }

    def _processes(self) -> Iterator[int]:
        """Those in its groups (its pods), or that name it or its folder."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    about = (entry / "cgroup").read_text() + (entry / "cmdline").read_text()
                except (OSError, UnicodeDecodeError):
                    continue
                if self._tag in about or str(self._folder) in about:
                    yield int(entry.name)


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The place of a second cluster."""
    place = Place("test-other")
    yield place
    if not request.config.getoption("--keep"):
        localcluster.down(place.name)


def _run_a_pod(kubeconfig: str) -> None:
    with new_client_from_config(kubeconfig) as connection:
        core = client.CoreV1Api(connection)
        core.create_namespaced_persistent_volume_claim("default", claim("some"))
        core.create_namespaced_pod("default", pod("some", "", "some", image=PAUSE))
        seen(
            core.list_namespaced_pod,
            "some",
            running,
            "default",
        )


class TestClusters:
    def test_two_side_by_side_and_one_taken_away(
        self, cluster: localcluster.Status, core_v1: client.CoreV1Api, other: Place
    ) -> None:
        before = of_others()
        found = localcluster.up(other.name)
        assert found.pod_cidr != cluster.pod_cidr
        assert found.host_ip != cluster.host_ip
        _run_a_pod(found.kubeconfig)
        footprint = Footprint(other)
        assert core_v1.list_namespaced_pod("default").items == []
        standing = footprint.now()
        assert standing["processes"] and standing["links"] and standing["groups"]
        assert standing["devices"]
        localcluster.down(other.name)
        assert not any(footprint.now().values())
        assert of_others() == before
        assert localcluster.status(cluster.name).running

    @pytest.mark.parametrize("clean", [localcluster.down, localcluster.up])
    def test_killed_it_is_cleaned(self, other: Place, clean: Callable[[str], Any]) -> None:
        _run_a_pod(localcluster.up(other.name).kubeconfig)
        footprint = Footprint(other)
        first = processes.first(other)
        assert first
        handle = os.pidfd_open(first)
        os.kill(first, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], 30)
        os.close(handle)
        assert ended, f"process {first} does not end"
        assert not footprint.now()["mounts"]
        # Who waited for it outside, and the kernel with a network and a mount, take their own time.
        eventually(lambda: not any(map(footprint.now().get, ("processes", "links", "devices"))))
        assert not localcluster.status(other.name).running
        clean(other.name)
        assert not footprint.now()["groups"]
        assert localcluster.status(other.name).running == (clean is localcluster.up)
        assert other.folder.exists() == (clean is localcluster.up)

    def test_killed_while_a_volume_is_copied_it_is_cleaned(self, other: Place) -> None:
        found = localcluster.up(other.name, load=images.build())
        first = processes.first(other)
        assert first
        with new_client_from_config(found.kubeconfig) as connection:
            core = client.CoreV1Api(connection)
            core.create_namespaced_persistent_volume_claim("default", claim("some"))
            writing = "while True: open('/data/file', 'w').write('more')"
            core.create_namespaced_pod("default", pod("writer", writing, "some"))
            seen(core.list_namespaced_pod, "writer", running, "default")
            volume = volume_of(core, "default", "some")
        mounted = f"{INSIDE}/volumes/volumes/{volume}/mounted"
        freeze = processes.command_inside(first, ["fsfreeze", "--freeze", mounted])
        subprocess.run(freeze, check=True)
        footprint = Footprint(other)
        os.kill(first, signal.SIGKILL)
        assert footprint.now()["devices"]
        localcluster.down(other.name)
        assert not any(footprint.now().values())

    def test_a_machine_without_loop_devices_is_told_so(self) -> None:
        code = "from localcluster import loops; loops.check()"
        hidden = f"mount -t tmpfs none /dev && exec {sys.executable} -c '{code}'"
        done = subprocess.run(
            ["unshare", "--mount", "--", "sh", "-c", hidden], capture_output=True, text=True
        )
        assert "/dev/loop-control is missing: modprobe loop (in a container:" in done.stderr

    def test_up_and_down_may_be_said_twice(self, cluster: localcluster.Status) -> None:
        first = processes.first(Place(cluster.name))
        assert localcluster.up(cluster.name) == cluster
        assert processes.first(Place(cluster.name)) == first
        localcluster.down("test-never-was")

    def test_a_control_plane_alone_stores_objects(self, other: Place) -> None:
        found = localcluster.up(other.name, control_plane_only=True)
        with new_client_from_config(found.kubeconfig) as connection:
            core = client.CoreV1Api(connection)
            core.create_namespaced_persistent_volume_claim("default", claim("stored"))
            core.create_namespaced_pod("default", pod("stored", "", "stored", image=PAUSE))
            assert core.list_node().items == []
            classes = client.StorageV1Api(connection).list_storage_class().items
            assert [one.metadata.name for one in classes] == ["rok-csi"]
