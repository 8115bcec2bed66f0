"""The local cluster keeps what it promises: its storage, and that nothing of it stays behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.config import new_client_from_config

import images
import localcluster
from localcluster import cgroups, processes
from localcluster.folders import Place
from localcluster.images import PAUSE
from tests.cluster.waiting import eventually, gone, run, seen

SMALL = images.settings()["KALE_GATEWAY_IMAGE"]
"""A small image; it has Python and no shell."""

SNAPSHOTS = ("snapshot.storage.k8s.io", "v1")


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


class TestStorage:
    def test_waits_for_a_consumer(self, core_v1: client.CoreV1Api, namespace: str) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("early"))
        told = seen(
            core_v1.list_namespaced_event,
            first_event(core_v1, namespace, "WaitForFirstConsumer"),
            lambda _: True,
            namespace,
        )
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
        folder = Place(cluster.name).folder / "volumes/volumes" / found.spec.volume_name
        assert (folder / "data/file").read_text() == "left"
        core_v1.delete_namespaced_pod("writer", namespace)
        core_v1.delete_namespaced_persistent_volume_claim("left", namespace)
        gone(core_v1.read_persistent_volume, found.spec.volume_name)
        assert not folder.exists()

    def test_grows(self, core_v1: client.CoreV1Api, namespace: str) -> None:
        core_v1.create_namespaced_persistent_volume_claim(namespace, claim("grown", "8Mi"))
        core_v1.create_namespaced_pod(
            namespace, pod("holder", "import time; time.sleep(600)", "grown")
        )
        seen(core_v1.list_namespaced_persistent_volume_claim, "grown", bound, namespace)
        core_v1.patch_namespaced_persistent_volume_claim(
            "grown", namespace, {"spec": {"resources": {"requests": {"storage": "16Mi"}}}}
        )
        seen(
            core_v1.list_namespaced_persistent_volume_claim,
            "grown",
            lambda found: found.status.capacity["storage"] == "16Mi",
            namespace,
        )

    def test_a_class_that_is_missing_keeps_it_pending(
        self, core_v1: client.CoreV1Api, namespace: str
    ) -> None:
        wanted = claim("lost", storageClassName="no-such-class")
        core_v1.create_namespaced_persistent_volume_claim(namespace, wanted)
        core_v1.create_namespaced_pod(namespace, pod("waiting", "pass", "lost"))
        told = seen(
            core_v1.list_namespaced_event,
            first_event(core_v1, namespace, "ProvisioningFailed"),
            lambda _: True,
            namespace,
        )
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
        snapshot = {
            "apiVersion": "/".join(SNAPSHOTS),
            "kind": "VolumeSnapshot",
            "metadata": {"name": "moment"},
            "spec": {
                "volumeSnapshotClassName": "rok-csi",
                "source": {"persistentVolumeClaimName": "origin"},
            },
        }
        custom.create_namespaced_custom_object(*SNAPSHOTS, namespace, "volumesnapshots", snapshot)
        seen(
            custom.list_namespaced_custom_object,
            "moment",
            lambda found: found.get("status", {}).get("readyToUse", False),
            *SNAPSHOTS,
            namespace,
            "volumesnapshots",
        )
        run(core_v1, namespace, pod("later", write("later", "later"), "origin"))
        of_snapshot = {"apiGroup": SNAPSHOTS[0], "kind": "VolumeSnapshot", "name": "moment"}
        restored = claim("restored", dataSource=of_snapshot)
        cloned = claim(
            "cloned", "16Mi", dataSource={"kind": "PersistentVolumeClaim", "name": "origin"}
        )
        for one in (restored, cloned):
            core_v1.create_namespaced_persistent_volume_claim(namespace, one)
        assert run(core_v1, namespace, pod("restored", CHECKSUM, "restored")) == wanted
        with_later = run(core_v1, namespace, pod("cloned", CHECKSUM, "cloned"))
        assert with_later == run(core_v1, namespace, pod("origin-2", CHECKSUM, "origin"))
        assert with_later != wanted


def first_event(core: client.CoreV1Api, namespace: str, reason: str) -> str:
    """The name of the first event with `reason`."""
    stream = watch.Watch().stream(
        core.list_namespaced_event, namespace, field_selector=f"reason={reason}", timeout_seconds=60
    )
    for event in stream:
        return str(event["object"].metadata.name)
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

    def now(self) -> dict[str, list[str]]:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return {
            "processes": [str(pid) for pid in self._processes()],
            "mounts": [line for line in mounts if str(self._folder) in line],
            "links": [name for _, name in socket.if_nameindex() if name == self._tag],
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
            lambda found: found.status.phase == "Running",
            "default",
        )


class TestClusters:
    def test_two_side_by_side_and_one_taken_away(
        self, cluster: localcluster.Status, core_v1: client.CoreV1Api, other: Place
    ) -> None:
        before = of_others()
        found = localcluster.up(other.name)
        footprint = Footprint(other)
        assert found.pod_cidr != cluster.pod_cidr
        assert found.host_ip != cluster.host_ip
        _run_a_pod(found.kubeconfig)
        assert core_v1.list_namespaced_pod("default").items == []
        standing = footprint.now()
        assert standing["processes"] and standing["links"] and standing["groups"]
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
        left = footprint.now()
        assert not left["processes"] and not left["mounts"]
        # The kernel takes a network apart in its own time.
        eventually(lambda: not footprint.now()["links"])
        assert not localcluster.status(other.name).running
        clean(other.name)
        assert not footprint.now()["groups"]
        assert localcluster.status(other.name).running == (clean is localcluster.up)
        assert other.folder.exists() == (clean is localcluster.up)

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
