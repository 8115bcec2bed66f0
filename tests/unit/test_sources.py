"""Sources of volumes, what other servers use, and what classes and quotas leave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kale_spawner.errors import ChoiceInvalid
from kale_spawner.model.choices import read_choice
from kale_spawner.model.claim import Claim, Origin, Shared, Use, claim_of
from kale_spawner.model.claims import claim_manifest
from kale_spawner.model.cluster import Cluster, Quota, SnapshotClass, StorageClass
from kale_spawner.model.growth import Growth
from kale_spawner.model.images import WorkspacePreset
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Owner
from kale_spawner.model.plan import Offer, Plan, make_plan
from kale_spawner.model.quota import snapshots_error
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.web.views import volume_view

GI = 2**30
TUESDAY = datetime(2026, 11, 24, 9, tzinfo=UTC)
BOUND: dict[str, Any] = {"phase": "Bound", "storage_class": "rok-csi"}
DATA = Claim("data", 5 * GI, "5Gi", requested_bytes=5 * GI, **BOUND)
NEVER = Claim("never", 5 * GI, "5Gi", storage_class="rok-csi")
SLOW = Claim("slow", GI, "1Gi", phase="Bound", storage_class="slow")
MADE = Claim(
    "made",
    5 * GI,
    "5Gi",
    annotations={"kale-spawner/origin": Origin("snapshot", "s1", "data").to_json()},
    **BOUND,
)
TAKEN: dict[str, Any] = {
    "volume": "data",
    "size_bytes": 5 * GI,
    "size": "5Gi",
    "ready": True,
    "snapshot_class": "rok-csi",
}
SNAPSHOTS = (
    Snapshot("s1", taken=TUESDAY, annotations={"kale-spawner/storage-class": "rok-csi"}, **TAKEN),
    Snapshot("taking", **{**TAKEN, "ready": False}),
    Snapshot("failed", error="no room", **{**TAKEN, "ready": False}),
    Snapshot("foreign", **{**TAKEN, "snapshot_class": "other"}),
)
SETS = Claim("sets", GI, "1Gi", access_modes=("ReadOnlyMany",), shared=Shared(), **BOUND)
COMMON = Claim("common", GI, "1Gi", shared=Shared(writable=True), **BOUND)
CLUSTER = Cluster(
    classes={
        "rok-csi": StorageClass("rok-csi", "rok.arrikto.com", expandable=True, default=True),
        "slow": StorageClass("slow", "rok.arrikto.com"),
        "nfs": StorageClass("nfs", "nfs.csi.k8s.io"),
    },
    snapshot_classes={
        "rok-csi": SnapshotClass("rok-csi", "rok.arrikto.com"),
        "other": SnapshotClass("other", "other.example"),
    },
)
LIMITS = Limits(
    max_size=100 * GI, storage_classes=("rok-csi", "nfs", "gone"), rok_hosts=("rok.example",)
)


def plan(row: dict[str, Any], *claims: Claim, cluster: Cluster = CLUSTER, **kept: Any) -> Plan:
    inventory = Inventory(
        {each.name: each for each in (DATA, NEVER, SLOW, MADE, *claims)},
        {each.name: each for each in SNAPSHOTS},
        {each.name: each for each in (SETS, COMMON)},
        **kept,
    )
    data = {"workspace": {"source": "none"}, "data_volumes": [{"mount": "/d", **row}]}
    choice, found = read_choice(data)
    offer = Offer(WorkspacePreset())
    return make_plan(choice, inventory, LIMITS, Owner("alice"), offer, found, cluster)


def refused(row: dict[str, Any], *claims: Claim, **kept: Any) -> dict[str, str]:
    with pytest.raises(ChoiceInvalid) as caught:
        plan(row, *claims, **kept)
    found = {error.field: error.message for error in caught.value.errors}
    return {field.removeprefix("data_volumes.0."): said for field, said in found.items()}


def used(claim: Claim, *uses: Use, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> Claim:
    values = {**claim.__dict__, "uses": uses, "access_modes": modes}
    return Claim(**values)


def test_from_a_snapshot_with_its_size_class_and_lineage() -> None:
    (new,) = plan({"source": "snapshot", "origin": "s1"}).create
    assert (new.name, new.size, new.storage_class) == ("alice-data-1", "5Gi", "rok-csi")
    assert new.origin == Origin("snapshot", "s1", "data", "2026-11-24T09:00:00+00:00")
    manifest = claim_manifest(new, Owner("alice"))
    assert manifest["spec"]["dataSource"] == {
        "apiGroup": "snapshot.storage.k8s.io",
        "kind": "VolumeSnapshot",
        "name": "s1",
    }
    kept = manifest["metadata"]["annotations"]["kale-spawner/origin"]
    assert Origin.from_json(kept) == new.origin


def test_a_copy_has_the_class_and_mode_of_its_original() -> None:
    (new,) = plan({"source": "clone", "origin": "slow", "name": "copy"}).create
    assert (new.size, new.storage_class, new.access_mode) == ("1Gi", "slow", "ReadWriteOnce")
    assert claim_manifest(new, Owner("alice"))["spec"]["dataSource"] == {
        "kind": "PersistentVolumeClaim",
        "name": "slow",
    }


def test_an_address_of_roks_is_kept_for_rok() -> None:
    url = "https://rok.example/rok/buckets/b/files/f/versions/v"
    (new,) = plan({"source": "rok", "origin": url, "size": "2Gi"}).create
    manifest = claim_manifest(new, Owner("alice"), "alice-gw-token")
    annotations = manifest["metadata"]["annotations"]
    assert annotations["rok/origin"] == url
    assert annotations["rok/creds-secret-name"] == "alice-gw-token"
    assert "dataSource" not in manifest["spec"]


def test_a_start_may_run_twice() -> None:
    row = {"source": "snapshot", "origin": "s1", "name": "made"}
    assert plan(row).reuse == (MADE,)
    again = Claim(**{**MADE.__dict__, "name": "alice-data-1"})
    assert plan({"source": "snapshot", "origin": "s1"}, again).reuse == (again,)
    other = Claim(**{**DATA.__dict__, "name": "alice-data-1"})
    (new,) = plan({"source": "snapshot", "origin": "s1"}, other).create
    assert new.name == "alice-data-2"


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"source": "snapshot"}, "origin", "choose which snapshot"),
        ({"source": "snapshot", "origin": "bobs"}, "origin", "no snapshot"),
        ({"source": "snapshot", "origin": "taking"}, "origin", "not ready yet"),
        ({"source": "snapshot", "origin": "failed"}, "origin", "failed: no room"),
        ({"source": "snapshot", "origin": "s1", "size": "4Gi"}, "size", "5Gi at least"),
        ({"source": "snapshot", "origin": "s1", "size": "101Gi"}, "size", "largest"),
        ({"source": "snapshot", "origin": "s1", "storage_class": "nfs"}, "storage_class", "rok-csi"),
        ({"source": "snapshot", "origin": "foreign"}, "storage_class", "other.example"),
        ({"source": "snapshot", "origin": "s1", "name": "data"}, "name", "not made from"),
        ({"source": "snapshot", "origin": "s 1"}, "origin", "no spaces"),
        ({"source": "clone"}, "origin", "choose which"),
        ({"source": "clone", "origin": "bobs"}, "origin", "no volume"),
        ({"source": "clone", "origin": "never"}, "origin", "never been mounted"),
        ({"source": "clone", "origin": "data", "size": "4Gi"}, "size", "5Gi at least"),
        ({"source": "clone", "origin": "data", "storage_class": "nfs"}, "storage_class", "class of"),
        ({"source": "shared"}, "name", "choose"),
        ({"source": "shared", "name": "data"}, "name", "shared with you"),
        ({"source": "shared", "name": "sets", "size": "9Gi"}, "size", "leave this out"),
        ({"source": "shared", "name": "sets", "read_only": False}, "read_only", "read only"),
        ({"source": "rok", "origin": "https://evil.example/x"}, "origin", "use rok.example"),
        ({"source": "rok", "origin": "https://a@rok.example/x"}, "origin", "whole address"),
        ({"source": "rok", "origin": "file://rok.example/x"}, "origin", "whole address"),
        ({"source": "new", "origin": "s1"}, "origin", "leave this out"),
        ({"storage_class": "gone"}, "storage_class", "only nfs, rok-csi, slow"),
        ({"source": "existing", "name": "data", "size": "4Gi"}, "size", "cannot shrink"),
        ({"source": "existing", "name": "data", "size": "101Gi"}, "size", "largest"),
        ({"source": "existing", "name": "slow", "size": "2Gi"}, "size", "cannot grow"),
        ({"source": "existing", "name": "never", "size": "9Gi"}, "size", "never mounted"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_before(row: dict[str, Any], field: str, says: str) -> None:
    errors = refused(row)
    assert set(errors) == {field}
    assert says in errors[field]


def test_no_snapshots_here() -> None:
    why = "This cluster has no snapshots of volumes."
    errors = refused({"source": "snapshot", "origin": "s1"}, snapshots_missing=why)
    assert errors == {"source": why}


def test_a_larger_size_makes_an_existing_volume_grow() -> None:
    done = plan({"source": "existing", "name": "data", "size": "8Gi"})
    assert (done.reuse, done.grow) == ((DATA,), (Growth(DATA, "8Gi"),))
    assert plan({"source": "existing", "name": "data", "size": "5Gi"}).grow == ()
    growing = Claim(**{**DATA.__dict__, "requested_bytes": 8 * GI})
    assert plan({"source": "existing", "name": "data", "size": "8Gi"}, growing).grow == ()


def test_a_volume_does_not_outgrow_a_clone_that_is_still_to_be_made() -> None:
    made_of = {"kale-spawner/origin": Origin("clone", "data").to_json()}
    pending = Claim("copy", 6 * GI, "6Gi", storage_class="rok-csi", annotations=made_of)
    row = {"source": "existing", "name": "data"}
    said = refused({**row, "size": "8Gi"}, pending)["size"]
    assert said.startswith('"copy" is to be a clone of it, and would be too small then')
    assert plan({**row, "size": "6Gi"}, pending).grow == (Growth(DATA, "6Gi"),)
    done = Claim(**{**pending.__dict__, "phase": "Bound"})
    assert plan({**row, "size": "8Gi"}, done).grow == (Growth(DATA, "8Gi"),)


def test_a_class_that_is_gone_is_told_of_what_was_never_mounted() -> None:
    lost = Claim(**{**NEVER.__dict__, "name": "lost", "storage_class": "gone"})
    said = refused({"source": "existing", "name": "lost"}, lost)["name"]
    assert said.startswith('"lost" was never mounted, and this cluster has no storage class "gone"')
    bound = Claim(**{**DATA.__dict__, "storage_class": "gone"})
    assert plan({"source": "existing", "name": "data"}, bound).reuse == (bound,)


def test_snapshots_count_in_quotas_too() -> None:
    counted = "count/volumesnapshots.snapshot.storage.k8s.io"
    quota = Quota("few", {counted: "5"}, {counted: "4"})
    cluster = Cluster(quotas=(Quota("other", {"pods": "1"}), quota))
    assert snapshots_error(1, cluster) is None
    said = snapshots_error(2, cluster) or ""
    assert said.startswith("Your quota leaves 1 snapshots, and this takes 2.")
    assert said.endswith('raise the ResourceQuota "few".')


def test_what_is_shared_grows_with_who_shares_it() -> None:
    shown = volume_view(COMMON, CLUSTER)
    assert (shown.can_grow, "shared" in shown.why_not_grow) == (False, True)


def test_a_growth_that_the_driver_refused_can_be_asked_for_with_less() -> None:
    status: dict[str, Any] = {
        "phase": "Bound",
        "capacity": {"storage": "5Gi"},
        "conditions": [
            {
                "type": "ControllerResizeError",
                "status": "True",
                "message": "failed to expand pvc with rpc error: code = OutOfRange desc = full",
            }
        ],
    }
    spec: dict[str, Any] = {
        "storageClassName": "rok-csi",
        "resources": {"requests": {"storage": "90Gi"}},
    }
    manifest = {"metadata": {"name": "data"}, "spec": spec, "status": status}
    stuck = claim_of(manifest)
    assert (stuck.stuck, stuck.coming_bytes) == ("full", 5 * GI)
    shown = volume_view(stuck, CLUSTER)
    assert (shown.state, shown.wanted_size) == ("growth_failed", "90Gi")
    assert shown.state_text == "could not grow to 90Gi: full; ask for less"
    row = {"source": "existing", "name": "data"}
    assert plan({**row, "size": "8Gi"}, stuck).grow == (Growth(stuck, "8Gi"),)
    assert Growth(stuck, "8Gi").more_bytes == 0
    assert plan({**row, "size": "90Gi"}, stuck).grow == ()
    assert "cannot shrink" in refused({**row, "size": "4Gi"}, stuck)["size"]
    (copy,) = plan({"source": "clone", "origin": "data", "name": "copy"}, stuck).create
    assert copy.size == "5Gi"
    status["allocatedResources"] = {"storage": "90Gi"}
    assert claim_of(manifest).stuck == "full"
    for other in ("8Gi", "5Gi"):
        spec["resources"]["requests"]["storage"] = other
        assert claim_of(manifest).stuck == ""


@pytest.mark.parametrize(
    ("name", "asked", "read_only"),
    [("sets", None, True), ("common", None, False), ("common", True, True)],
)
def test_shared_is_read_only_unless_its_marking_says_otherwise(
    name: str, asked: bool | None, read_only: bool
) -> None:
    row = {"source": "shared", "name": name}
    done = plan(row if asked is None else {**row, "read_only": asked})
    (mount,) = [each for each in done.mounts if each.claim]
    assert (mount.claim, mount.read_only) == (name, read_only)
    assert done.create == ()


def test_beside_another_server_on_its_machine() -> None:
    lab = used(DATA, Use("lab", "node-1"))
    inventory = Inventory({"data": lab})
    choice, _ = read_choice(
        {"data_volumes": [{"source": "existing", "name": "data", "mount": "/d"}]}
    )
    done = make_plan(choice, inventory, LIMITS, Owner("alice"), Offer(WorkspacePreset()))
    assert (done.node, done.beside) == (
        "node-1",
        '"data" is mounted by server lab on machine node-1',
    )
    own = make_plan(choice, inventory, LIMITS, Owner("alice", "lab"), Offer(WorkspacePreset()))
    assert own.node == ""
    many = Inventory({"data": used(DATA, Use("lab", "node-1"), modes=("ReadWriteMany",))})
    assert make_plan(choice, many, LIMITS, Owner("alice"), Offer(WorkspacePreset())).node == ""


def test_two_volumes_of_two_machines_and_one_for_one_server_only() -> None:
    claims = {
        "a": used(Claim("a", GI, "1Gi", **BOUND), Use("lab", "node-1")),
        "b": used(Claim("b", GI, "1Gi", **BOUND), Use(None, "node-2")),
        "c": used(Claim("c", GI, "1Gi", **BOUND), Use("lab", "n"), modes=("ReadWriteOncePod",)),
    }
    rows = [{"source": "existing", "name": name, "mount": f"/{name}"} for name in claims]
    choice, _ = read_choice({"data_volumes": rows})
    with pytest.raises(ChoiceInvalid) as caught:
        make_plan(choice, Inventory(claims), LIMITS, Owner("alice"), Offer(WorkspacePreset()))
    errors = {each.field: each.message for each in caught.value.errors}
    assert "used by a server of another user" in errors["data_volumes.1.name"]
    assert "server lab on machine node-1" in errors["data_volumes.1.name"]
    assert "ReadWriteOncePod" in errors["data_volumes.2.name"]
    assert "stop server lab" in errors["data_volumes.2.name"]


@pytest.mark.parametrize(
    ("resource", "hard", "used", "says"),
    [
        ("requests.storage", "20Gi", "18Gi", "leaves 2Gi of storage, and this needs 5Gi"),
        ("requests.storage", "20Gi", "20Gi", "leaves nothing of storage"),
        ("persistentvolumeclaims", "3", "3", "leaves 0 volumes, and this makes 1"),
        ("count/persistentvolumeclaims", "3", "3", "leaves 0 volumes"),
        ("rok-csi.storageclass.storage.k8s.io/requests.storage", "6Gi", "2Gi", 'class "rok-csi"'),
        ("rok-csi.storageclass.storage.k8s.io/persistentvolumeclaims", "1", "1", "0 volumes of"),
    ],
)
def test_quotas_say_what_is_left(resource: str, hard: str, used: str, says: str) -> None:
    quota = Quota("team", {resource: hard}, {resource: used})
    cluster = Cluster(CLUSTER.classes, CLUSTER.snapshot_classes, None, (quota,))
    (message,) = refused({}, cluster=cluster).values()
    assert says in message
    assert 'raise the ResourceQuota "team"' in message
    assert plan({"source": "existing", "name": "data"}, cluster=cluster).create == ()
    enough = Quota(
        "team", {resource: "100Gi" if "storage" in resource[-8:] else "9"}, {resource: "1"}
    )
    assert plan({}, cluster=Cluster(CLUSTER.classes, None, None, (enough,))).create


def test_growth_counts_for_the_quota_by_what_is_more() -> None:
    quota = Quota("team", {"requests.storage": "20Gi"}, {"requests.storage": "18Gi"})
    cluster = Cluster(CLUSTER.classes, None, None, (quota,))
    row = {"source": "existing", "name": "data", "size": "7Gi"}
    assert plan(row, cluster=cluster).grow
    assert "needs 3Gi more" in refused({**row, "size": "8Gi"}, cluster=cluster)["size"]
