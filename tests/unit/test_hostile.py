"""Whatever `user_options` say, they reach no claim of another user and no field of a manifest
that the plan does not mean."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kale_spawner.errors import ChoiceInvalid
from kale_spawner.model.choices import parse_choice, read_choice
from kale_spawner.model.claims import claim_manifest
from kale_spawner.model.images import WorkspacePreset
from kale_spawner.model.inventory import make_inventory
from kale_spawner.model.limits import SYSTEM_FOLDERS, Limits, Owner
from kale_spawner.model.plan import Offer, Plan, make_plan
from kale_spawner.model.pod import add_volumes
from kale_spawner.model.quantity import parse_size

MAX = 100 * 2**30
LIMITS = Limits(max_size=MAX, max_data_volumes=4)


def claim(name: str, user: str, label: str = "alice") -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {"hub.jupyter.org/username": label},
            "annotations": {"hub.jupyter.org/username": user},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


THERE = [
    claim("alice-workspace", "alice"),
    claim("alice-old", "alice"),
    claim("bob-workspace", "bob", "bob"),
    claim("trap", "Alice"),
    {**claim("bare", "x"), "metadata": {"name": "bare"}},
]
OTHERS = {"bob-workspace"}
TAKEN = {"trap", "bare"}
"""In no inventory of alice's, and derived for nobody: a plan may ask for a new one of that name,
which the API server refuses (409) before there is a pod; tests/cluster has a test of that."""
MINE = {"alice-workspace", "alice-old"}

NAMES = st.one_of(
    st.sampled_from(
        sorted(OTHERS | TAKEN | MINE | {"new", "bob-data-1", "../x", "{slug}", "a" * 64})
    ),
    st.text(max_size=20),
)
SIZES = st.one_of(st.sampled_from(["1Gi", "0", "-1", "1e99", "101Gi", "$(X)"]), st.text(max_size=8))
PATHS = st.one_of(
    st.sampled_from(
        ["/data", "/etc", "/", "/home", "/home/jovyan", "/proc/1", "/a/../etc", "//etc", "data"]
    ),
    st.text("/.abe", max_size=12),
    st.text(max_size=12),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
VOLUME = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["new", "existing", "none", "clone"]),
        "name": NAMES,
        "size": SIZES,
        "mount": PATHS,
        "storage_class": st.sampled_from(["rok-csi", "fast", ""]),
        "access_mode": st.sampled_from(["ReadWriteOnce", "ReadWriteMany"]),
        "read_only": st.booleans(),
    },
)
LIKELY = st.fixed_dictionaries(
    {}, optional={"workspace": VOLUME, "data_volumes": st.lists(VOLUME, max_size=5)}
)
OPTIONS = st.one_of(LIKELY, st.dictionaries(st.text(max_size=12), VALUES), VALUES)


def planned(options: Any) -> Plan | None:
    choice, found = read_choice(options)
    assert parse_choice(choice.stored()) == choice
    try:
        plan = make_plan(
            choice,
            make_inventory(THERE, "alice"),
            LIMITS,
            Owner("alice"),
            Offer(WorkspacePreset()),
            found,
        )
    except ChoiceInvalid as exc:
        assert exc.errors
        assert {each.field for each in found} <= {each.field for each in exc.errors}
        return None
    assert not found
    return plan


@settings(max_examples=400)
@given(OPTIONS)
@example({"workspace": {"name": "bare"}})
@example({"workspace": {"name": "trap"}})
@example({"workspace": {"source": "existing", "name": "trap"}})
@example({".\u00b9": None, "data_volumes.\u00b9": 1, f"data_volumes.{'9' * 5000}": 1})
def test_no_options_reach_what_is_not_the_users(options: Any) -> None:
    plan = planned(options)
    if plan is None:
        return
    assert not plan.claims & OTHERS
    assert {each.name for each in plan.reuse} <= MINE
    assert not {new.name for new in plan.create} & (MINE | OTHERS)
    for new in plan.create:
        assert LIMITS.min_size <= parse_size(new.size) <= MAX
        assert new.storage_class == "rok-csi"
        assert new.access_mode == "ReadWriteOnce"
    paths = [mount.path for mount in plan.mounts]
    assert len(paths) == len(set(paths))
    for path in paths:
        assert path.startswith("/")
        assert ".." not in path.split("/")
        assert not any(
            path == folder or path.startswith(f"{folder}/") or folder.startswith(f"{path}/")
            for folder in SYSTEM_FOLDERS
        )


@settings(max_examples=200)
@given(LIKELY)
def test_only_planned_fields_of_manifests_change(options: Any) -> None:
    plan = planned(options)
    if plan is None:
        return
    pod = add_volumes({"spec": {"containers": [{"name": "notebook"}]}}, plan)
    assert set(pod["spec"]) <= {"containers", "volumes"}
    assert set(pod["spec"]["containers"][0]) <= {"name", "volumeMounts"}
    for volume in pod["spec"].get("volumes", []):
        assert set(volume) in ({"name", "persistentVolumeClaim"}, {"name", "emptyDir"})
    for new in plan.create:
        manifest = claim_manifest(new, Owner("alice"))
        assert set(manifest["spec"]) == {"accessModes", "resources", "storageClassName"}
        assert manifest["metadata"]["annotations"]["hub.jupyter.org/username"] == "alice"
        json.dumps(manifest)


@given(OPTIONS)
def test_whatever_is_accepted_can_be_stored_and_read_again(options: Any) -> None:
    try:
        choice = parse_choice(options)
    except ChoiceInvalid:
        return
    assert parse_choice(json.loads(json.dumps(choice.stored()))) == choice
