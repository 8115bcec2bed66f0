"""Sets of snapshots: what takes them at one instant, how they are known, and what restores them."""

from __future__ import annotations

from typing import Any

import pytest

from kale_spawner.model import marks
from kale_spawner.model.claim import Claim
from kale_spawner.model.inventory import Inventory, make_inventory
from kale_spawner.model.limits import Owner
from kale_spawner.model.snapshot import SnapshotSet
from kale_spawner.model.taking import (
    NewSnapshot,
    SetMark,
    adoption,
    group_label,
    group_manifest,
    restored_choice,
    snapshot_manifest,
)
from kale_spawner.web.views import set_view

GI = 2**30
OWNER = Owner("alice", "", {"hub.jupyter.org/username": "alice"}, {"kale-spawner/start": "s1"})
HOME = Claim("home", GI, "1Gi", storage_class="rok-csi", uid="u-home")
DATA = Claim("data", GI, "1Gi", storage_class="rok-csi", uid="u-data")
MARK = SetMark("monday", 2, "", {"profile": "jupyter"})
NEWS = [
    NewSnapshot("monday-1", HOME, "rok-csi", "/home/jovyan", "workspace", "", MARK, 1),
    NewSnapshot("monday-2", DATA, "rok-csi", "/data", "data", "", MARK, 2),
]


def group(**status: Any) -> dict[str, Any]:
    made = group_manifest(NEWS, "rok-csi", "v1", OWNER)
    made["metadata"]["uid"] = "g1"
    return {**made, "status": status}


def member(name: str, claim: str, group_uid: str = "g1") -> dict[str, Any]:
    """As the cluster makes it."""
    return {
        "metadata": {"name": name, "ownerReferences": [{"uid": group_uid}]},
        "spec": {"source": {"persistentVolumeClaimName": claim}},
        "status": {"readyToUse": True, "restoreSize": "1Gi"},
    }


def adopted(name: str, claim: str) -> dict[str, Any]:
    snapshot = member(name, claim)
    patch = adoption(group(), snapshot)
    assert patch is not None
    snapshot["metadata"] |= patch["metadata"]
    return snapshot


def inventory(*snapshots: dict[str, Any], groups: Any = ()) -> Inventory:
    return make_inventory([], "alice", snapshots=snapshots, group_snapshots=groups)


def only(have: Inventory) -> SnapshotSet:
    (found,) = have.sets().values()
    return found


def test_a_group_takes_just_the_claims_of_its_label() -> None:
    made = group()
    label = group_label([DATA, HOME])
    assert made["spec"] == {
        "volumeGroupSnapshotClassName": "rok-csi",
        "source": {"selector": {"matchLabels": {label: "true"}}},
    }
    assert made["apiVersion"] == "groupsnapshot.storage.k8s.io/v1"
    assert made["metadata"]["labels"][marks.SET] == "monday"
    assert made["metadata"]["name"] == "monday-s1"
    assert group_label([HOME]) != label != group_label([DATA])
    prefix, _, name = label.partition("/")
    assert (prefix, len(name) <= 63) == ("kale-spawner", True)


def test_the_snapshots_of_a_group_become_those_of_the_set() -> None:
    members = adopted("snapshot-b", "home"), adopted("snapshot-a", "data")
    found = only(inventory(*members, groups=[group(readyToUse=True)]))
    assert [each.volume for each in found.snapshots] == ["home", "data"]
    assert (found.grouped, found.whole, found.ready, found.choice) == (
        True,
        True,
        True,
        {"profile": "jupyter"},
    )
    one_by_one = only(inventory(*(ready(snapshot_manifest(new, OWNER)) for new in NEWS)))
    assert restored_choice(found, ["new", "other"])["workspace"]["mount"] == "/home/jovyan"
    for each, alone in zip(found.snapshots, one_by_one.snapshots, strict=True):
        own = dict(each.annotations)
        assert own.pop(marks.GROUPED) == "true"
        assert own == {k: v for k, v in alone.annotations.items() if k != marks.START}
        assert each.labels == alone.labels


def ready(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "status": {"readyToUse": True, "restoreSize": "1Gi"}}


def test_only_unknown_snapshots_of_the_group_are_adopted() -> None:
    assert adoption(group(), member("snapshot-x", "home", "another")) is None
    assert adoption(group(), adopted("snapshot-b", "home")) is None
    assert adoption(group(), {"metadata": {"name": "single"}, "spec": {}}) is None


@pytest.mark.parametrize(
    ("snapshots", "status", "state", "text"),
    [
        ([], {}, "taking", "being taken, 0 of 2 are ready"),
        (["home"], {"readyToUse": True}, "taking", "being taken, 1 of 2 are ready"),
        (["home", "data"], {"readyToUse": True}, "ready", "ready"),
        ([], {"error": {"message": "no room"}}, "failed", "failed: no room"),
        (["home"], None, "deleting", "being deleted"),
    ],
)
def test_the_state_of_a_grouped_set(
    snapshots: list[str], status: dict[str, Any] | None, state: str, text: str
) -> None:
    groups = [] if status is None else [group(**status)]
    have = inventory(*(adopted(f"snapshot-{each}", each) for each in snapshots), groups=groups)
    view = set_view(only(have))
    assert (view.state, view.state_text, view.kind) == (state, text, "group")
    assert view.restorable == (state == "ready")
    if status is not None:
        assert view.volumes == ["home", "data"]


def test_another_users_group_is_not_seen() -> None:
    assert make_inventory([], "bob", group_snapshots=[group()]).sets() == {}
