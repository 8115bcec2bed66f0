from __future__ import annotations

from typing import Any

import pytest

from kale_spawner.errors import ChoiceInvalid
from kale_spawner.model.choices import read_choice
from kale_spawner.model.claim import Claim
from kale_spawner.model.growth import NewClaim
from kale_spawner.model.images import DataPreset, WorkspacePreset
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Owner
from kale_spawner.model.mounts import Mount
from kale_spawner.model.plan import Offer, Plan, make_plan
from kale_spawner.model.sources import room_without_volume

GI = 2**30
OLD = Claim("alice-old", 20 * GI, "20Gi", storage_class="rok-csi")
GOING = Claim("alice-going", GI, "1Gi", deleting=True)
HOME = Claim("alice-workspace", 10 * GI, "10Gi", storage_class="rok-csi")
EXISTING = {"source": "existing", "name": "alice-workspace", "mount": "/data"}
LIMITS = Limits(max_size=100 * GI, max_data_volumes=3, storage_classes=("rok-csi", "fast"))
OFFER = Offer(WorkspacePreset())


def plan(data: Any, *claims: Claim, offer: Offer = OFFER, limits: Limits = LIMITS) -> Plan:
    inventory = Inventory({claim.name: claim for claim in claims})
    choice, found = read_choice(data)
    return make_plan(choice, inventory, limits, Owner("alice"), offer, found)


def refused(data: Any, *claims: Claim, **kwargs: Any) -> dict[str, str]:
    with pytest.raises(ChoiceInvalid) as caught:
        plan(data, *claims, **kwargs)
    return {error.field: error.message for error in caught.value.errors}


def test_nothing_asked_makes_the_default_workspace() -> None:
    new = NewClaim(
        "alice-workspace", "10Gi", "rok-csi", "ReadWriteOnce", "workspace", "/home/jovyan"
    )
    assert plan({}) == Plan(
        create=(new,), mounts=(Mount("kale-workspace", "/home/jovyan", "alice-workspace"),)
    )


def test_a_second_start_reuses_it() -> None:
    again = plan({}, HOME)
    assert again.create == ()
    assert again.reuse == (HOME,)
    assert again.mounts == plan({}).mounts


def test_a_plan_with_everything() -> None:
    data = {
        "workspace": {"source": "existing", "name": "alice-old"},
        "data_volumes": [
            {"mount": "/data", "size": "5Gi", "storage_class": "fast"},
            {"source": "existing", "name": "alice-workspace", "mount": "/old", "read_only": True},
            {"mount": "/home/jovyan/more", "name": "alice-more"},
        ],
    }
    assert plan(data, OLD, HOME) == Plan(
        create=(
            NewClaim("alice-data-1", "5Gi", "fast", "ReadWriteOnce", "data", "/data"),
            NewClaim("alice-more", "5Gi", "rok-csi", "ReadWriteOnce", "data", "/home/jovyan/more"),
        ),
        reuse=(OLD, HOME),
        mounts=(
            Mount("kale-data-1", "/data", "alice-data-1"),
            Mount("kale-data-2", "/old", "alice-workspace", read_only=True),
            Mount("kale-workspace", "/home/jovyan", "alice-old"),
            Mount("kale-data-3", "/home/jovyan/more", "alice-more"),
        ),
    )


def test_no_workspace_is_a_folder_with_a_limit() -> None:
    done = plan({"workspace": {"source": "none", "size": "2Gi"}})
    assert done == Plan(mounts=(Mount("kale-workspace", "/home/jovyan", None, False, "2Gi"),))
    (mount,) = plan({"workspace": {"source": "none"}}).mounts
    assert mount.size_limit == "10Gi"
    assert room_without_volume(Limits(max_size=2**30)) == "1Gi"


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({"workspace": {"size": "1Ki"}}, "workspace.size", "smallest is 1Mi"),
        ({"workspace": {"size": "101Gi"}}, "workspace.size", "largest is 100Gi"),
        ({"workspace": {"storage_class": "slow"}}, "workspace.storage_class", '"fast"'),
        ({"workspace": {"access_mode": "ReadWriteMany"}}, "workspace.access_mode", "ReadWriteOnce"),
        ({"workspace": {"source": "existing"}}, "workspace.name", "choose"),
        ({"workspace": {"source": "existing", "name": "bobs"}}, "workspace.name", "no volume"),
        ({"workspace": {"name": "bob-workspace"}}, "workspace.name", "somebody else"),
        ({"workspace": {"name": "bob-data-7"}}, "workspace.name", "somebody else"),
        ({"workspace": {"source": "none", "name": "x"}}, "workspace.name", "leave this out"),
        ({"workspace": {"mount": "/"}}, "workspace.mount", "root"),
        ({"workspace": {"mount": "/etc"}}, "workspace.mount", "system"),
        ({"workspace": {"mount": "/usr/local/lib"}}, "workspace.mount", "system"),
        ({"workspace": {"mount": "/shared"}}, "workspace.mount", "hub mounts"),
        ({"workspace": {"mount": "/home"}}, "workspace.mount", "hide the home folder"),
        ({"data_volumes": [{}]}, "data_volumes.0.mount", "where"),
        ({"data_volumes": [{"mount": "/home"}]}, "data_volumes.0.mount", "hide the workspace"),
        ({"data_volumes": [{"mount": "/home/jovyan"}]}, "data_volumes.0.mount", "taken by"),
        ({"data_volumes": [{"mount": "/var/run"}]}, "data_volumes.0.mount", "system"),
        ({"data_volumes": [{"mount": "/d"}, {"mount": "/d"}]}, "data_volumes.1.mount", "taken by"),
        (
            {"data_volumes": [{"mount": "/d", "read_only": True}]},
            "data_volumes.0.read_only",
            "leave this out",
        ),
        ({"data_volumes": [{"mount": f"/d{n}"} for n in range(4)]}, "data_volumes", "at most 3"),
        (
            {"data_volumes": [{"mount": "/a", "name": "x"}, {"mount": "/b", "name": "x"}]},
            "data_volumes.1.name",
            "twice",
        ),
        (
            {"workspace": {"name": "y"}, "data_volumes": [{"mount": "/a", "name": "y"}]},
            "data_volumes.0.name",
            "twice",
        ),
        (
            {"workspace": {"name": "alice-old", "size": "30Gi"}},
            "workspace.size",
            "20Gi already",
        ),
        (
            {"workspace": {"source": "existing", "name": "alice-going"}},
            "workspace.name",
            "being deleted",
        ),
        (
            {"workspace": {"source": "existing", "name": "alice-old", "storage_class": "fast"}},
            "workspace.storage_class",
            "cannot change",
        ),
    ],
)
def test_what_is_not_allowed_is_named_with_its_limit(data: Any, field: str, says: str) -> None:
    limits = Limits(
        max_size=LIMITS.max_size,
        max_data_volumes=3,
        storage_classes=LIMITS.storage_classes,
        taken_mounts=("/shared",),
    )
    errors = refused(data, OLD, GOING, limits=limits)
    assert set(errors) == {field}
    assert says in errors[field]


def test_somebody_elses_claim_reads_like_one_that_is_not_there() -> None:
    existing = {"workspace": {"source": "existing", "name": "bobs-secret"}}
    missing = {"workspace": {"source": "existing", "name": "nobodys"}}
    words = [refused(data)["workspace.name"] for data in (existing, missing)]
    assert words[0].replace("bobs-secret", "") == words[1].replace("nobodys", "")


def test_own_names_may_be_typed() -> None:
    for name in ("alice-workspace", "alice--gpu-workspace", "thesis", "bob", "alice-data"):
        assert plan({"workspace": {"name": name}}).create[0].name == name
    for name in ("alice-data-1", "alice--gpu-data-9", "thesis", "bob", "alice-workspace-2"):
        row = {"name": name, "mount": "/data"}
        assert plan({"data_volumes": [row]}).create[1].name == name


@pytest.mark.parametrize(
    "name", ["alice-workspace", "alice--gpu-workspace", "alice-home", "alice--gpu"]
)
def test_a_new_data_volume_cannot_have_the_name_of_a_workspace_to_come(name: str) -> None:
    limits = Limits(workspace_names=("{slug}-workspace", "{user_slug}-home", "{slug}"))
    row = {"name": name, "mount": "/data"}
    data = {"workspace": {"source": "none"}, "data_volumes": [row]}
    assert refused(data, limits=limits) == {
        "data_volumes.0.name": "this name is kept for a workspace of yours; choose another"
    }
    there = Claim(name, 10 * GI, "10Gi")
    assert plan(data, there, limits=limits).reuse == (there,)
    both = Limits(workspace_names=limits.workspace_names, data_names=limits.workspace_names)
    assert plan(data, limits=both).create[0].name == name


@pytest.mark.parametrize("name", ["alice-data-1", "alice--gpu-data-12", "alice-set"])
def test_a_new_workspace_cannot_have_the_name_of_a_data_volume_to_come(name: str) -> None:
    limits = Limits(data_names=("{slug}-data-{n}", "{user_slug}-set"))
    assert refused({"workspace": {"name": name}}, limits=limits) == {
        "workspace.name": "this name is kept for a data volume of yours; choose another"
    }


def test_a_name_without_a_user_in_it_is_kept_for_nobody_else() -> None:
    offer, limits = Offer(WorkspacePreset(name="home")), Limits(workspace_names=("home",))
    assert plan({}, offer=offer, limits=limits).create[0].name == "home"


@pytest.mark.parametrize("mode", ["fixed", "hidden"])
def test_what_is_fixed_can_be_repeated_but_not_changed(mode: Any) -> None:
    offer = Offer(
        WorkspacePreset(mode=mode, size="20Gi", name="{user_slug}-home"),
        DataPreset(mode=mode, volumes=({"mount": "/d", "name": "{slug}-d"},)),  # type: ignore[arg-type]
    )
    same = {"workspace": {"source": "new", "name": "alice-home", "size": "20Gi"}}
    assert plan(same, offer=offer) == plan({}, offer=offer)
    assert [new.name for new in plan({}, offer=offer).create] == ["alice-home", "alice-d"]
    errors = refused(
        {"workspace": {"size": "30Gi"}, "data_volumes": [{"mount": "/x"}]}, offer=offer
    )
    assert set(errors) == {"workspace.size", "data_volumes"}


def test_a_profile_without_volumes_admits_none() -> None:
    offer = Offer(None, DataPreset(mode="hidden"))
    assert plan({}, offer=offer) == Plan()
    errors = refused({"workspace": {"size": "1Gi"}, "data_volumes": [{"mount": "/x"}]}, offer=offer)
    assert set(errors) == {"workspace.size", "data_volumes"}


def test_a_preset_for_a_new_volume_says_nothing_of_the_one_picked_instead() -> None:
    offer = Offer(WorkspacePreset(size="50Gi", storage_class="fast"))
    done = plan({"workspace": {"source": "existing", "name": "alice-old"}}, OLD, offer=offer)
    assert done.reuse == (OLD,)


def test_a_folder_is_mounted_before_what_is_inside_of_it() -> None:
    paths = ["/home/jovyan/data/sub", "/home/jovyan/data", "/b/c/d/e/f", "/b"]
    limits = Limits(max_data_volumes=4)
    mounts = plan({"data_volumes": [{"mount": path} for path in paths]}, limits=limits).mounts
    assert [mount.path for mount in mounts] == [
        "/b",
        "/home/jovyan",
        "/home/jovyan/data",
        "/home/jovyan/data/sub",
        "/b/c/d/e/f",
    ]


def test_a_data_volume_over_a_workspace_inside_the_home_folder_is_refused() -> None:
    data = {
        "workspace": {"mount": "/home/jovyan/work"},
        "data_volumes": [{"mount": "/home/jovyan"}],
    }
    says = refused(data)["data_volumes.0.mount"]
    assert says == "this would hide the workspace at /home/jovyan/work; use another folder"


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_mounted_inside_of_a_read_only_volume(order: int) -> None:
    outer = {"source": "existing", "name": "alice-old", "mount": "/old", "read_only": True}
    rows = [outer, {"mount": "/old/new"}][::order]
    inner = rows.index({"mount": "/old/new"})
    errors = refused({"data_volumes": rows}, OLD)
    assert set(errors) == {f"data_volumes.{inner}.mount"}
    assert f"data_volumes.{1 - inner} at /old is read only" in errors[f"data_volumes.{inner}.mount"]


def test_a_volume_that_is_there_may_be_read_only_whatever_the_choice_calls_it() -> None:
    row = {"name": "alice-old", "mount": "/old", "read_only": True}
    (mount, _) = plan({"data_volumes": [row]}, OLD).mounts
    assert (mount.claim, mount.read_only) == ("alice-old", True)


def test_rows_without_names_mean_the_same_volumes_every_time() -> None:
    data = {"data_volumes": [{"mount": "/a"}, {"mount": "/b", "name": "alice-data-1"}]}
    assert [new.name for new in plan(data).create[1:]] == ["alice-data-2", "alice-data-1"]


def test_errors_of_form_and_of_content_come_at_once_and_by_volume() -> None:
    data = {
        "workspace": {"size": "lots", "mount": "/etc"},
        "data_volumes": [
            {"name": "A B", "size": "500Gi", "mount": "relative"},
            {"source": "existing", "name": "nobodys", "mount": "/usr"},
            "no volume",
        ],
        "hostPath": "/",
    }
    errors = refused(data)
    assert list(errors) == [
        "hostPath",
        "workspace.size",
        "workspace.mount",
        "data_volumes.0.name",
        "data_volumes.0.mount",
        "data_volumes.0.size",
        "data_volumes.1.name",
        "data_volumes.1.mount",
        "data_volumes.2",
    ]
    assert "not a size" in errors["workspace.size"]
    assert "largest is 100Gi" in errors["data_volumes.0.size"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"workspace": {"name": "A B"}, "data_volumes": [EXISTING]}, "workspace.name"),
        ({"workspace": {"source": "nnoe"}, "data_volumes": [EXISTING]}, "workspace.source"),
        ({"workspace": 5, "data_volumes": [{"mount": "/data"}]}, "workspace"),
        (
            {"workspace": {"mount": "x"}, "data_volumes": [{"mount": "/home/jovyan"}]},
            "workspace.mount",
        ),
        ({"data_volumes": [{"name": 5, "mount": "/a"}]}, "data_volumes.0.name"),
        ({"data_volumes": [{"mount": 5}, {"mount": "/a"}]}, "data_volumes.0.mount"),
        ({"data_volumes": [[], {"mount": "/a"}]}, "data_volumes.0"),
        ({"data_volumes": {"mount": "/etc"}}, "data_volumes"),
    ],
)
def test_nothing_is_concluded_from_what_could_not_be_read(data: Any, field: str) -> None:
    assert set(refused(data, HOME)) == {field}
