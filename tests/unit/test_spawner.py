"""KubeSpawner's contract under KaleSpawner, without a cluster."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubespawner import KubeSpawner

from kale_spawner.errors import ChoiceInvalid, KaleError, StartFailed, Unreachable
from kale_spawner.model.choices import parse_choice
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.plan import Plan
from kale_spawner.spawner import KaleSpawner
from kale_spawner.web.shown import Shown
from tests.spawning import make_spawner
from tests.web.page import Page

pytestmark = pytest.mark.usefixtures("no_cluster")

PROFILES: list[dict[str, Any]] = [
    {
        "display_name": "Small one",
        "slug": "small",
        "kubespawner_override": {
            "cpu_limit": 1,
            "environment": {"SIZE": "small"},
            "node_selector": {"pool": "a"},
            "volumes": [{"name": "x", "emptyDir": {}}],
        },
        "profile_options": {
            "image": {
                "display_name": "Image",
                "choices": {
                    "base": {"display_name": "Base", "kubespawner_override": {"image": "base:1"}},
                    "full": {"display_name": "Full", "kubespawner_override": {"image": "full:1"}},
                },
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "^own/.+$",
                    "kubespawner_override": {"image": "{value}"},
                },
            }
        },
    },
    {"display_name": "Big", "kubespawner_override": {"mem_limit": "4G"}},
]


def snapshot(spawner: KaleSpawner) -> dict[str, Any]:
    skip = {"log", "config", "parent", "user", "hub", "orm_spawner"}
    names = [name for name in spawner.trait_names(config=True) if name not in skip]
    values = {name: getattr(spawner, name) for name in names}
    plain = (dict, list)
    return {k: copy.deepcopy(v) if isinstance(v, plain) else v for k, v in values.items()}


@pytest.fixture
def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: KaleSpawner, fresh: bool = False) -> Inventory:
        return Inventory()

    async def unknown(self: KaleSpawner, fresh: bool = False) -> Cluster:
        return Cluster()

    monkeypatch.setattr(KaleSpawner, "_inventory", nothing)
    monkeypatch.setattr(KaleSpawner, "_cluster", unknown)


async def load(spawner: KaleSpawner, options: dict[str, Any]) -> KaleSpawner:
    spawner.user_options = options
    await spawner.load_user_options()
    return spawner


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"profile": "vscode-kale"},
        {"profile": "small"},
        {"profile": "small", "profile_options": {"image": "full"}},
        {"profile": "small", "image": "full"},
        {"profile": "small", "profile_options": {"image": {"unlisted_choice": "own/x:1"}}},
        {"profile": "big"},
    ],
)
async def test_nothing_a_start_sets_is_left_for_the_next(options: dict[str, Any]) -> None:
    config = {"KubeSpawner": {"profile_list": PROFILES, "environment": {"A": "1"}}}
    spawner = make_spawner(config)
    before = snapshot(spawner)
    await load(spawner, options)
    assert snapshot(spawner) != before
    spawner.clear_state()
    assert snapshot(spawner) == before


async def test_profiles_keep_their_meaning_beside_ours() -> None:
    spawner = make_spawner({"KubeSpawner": {"profile_list": PROFILES}})
    await load(spawner, {"profile": "small", "image": "full"})
    assert (spawner.image, spawner.cpu_limit) == ("full:1", 1)
    assert spawner.environment["SIZE"] == "small"
    spawner.clear_state()
    await load(spawner, {"profile": "small", "image--unlisted-choice": "own/img"})
    assert spawner.image == "own/img"
    spawner.clear_state()
    await load(spawner, {})
    assert spawner.image == "gcr.io/arrikto/jupyter-kale-py38:release-2.0"


@pytest.mark.parametrize("make", ["list", "dict", "callable", "async"])
async def test_profile_list_in_every_form(make: str) -> None:
    async def later(spawner: Any) -> Any:
        return PROFILES

    forms: dict[str, Any] = {
        "list": PROFILES,
        "dict": {"a": PROFILES[0], "b": PROFILES[1]},
        "callable": lambda spawner: PROFILES,
        "async": later,
    }
    spawner = make_spawner({"KubeSpawner": {"profile_list": forms[make]}})
    offers = await spawner._offers()
    assert [each.id for each in offers.profiles()] == [
        "jupyter-kale", "vscode-kale", "small", "big",
    ]  # fmt: skip
    assert offers.choose(None).id == "jupyter-kale"
    await load(spawner, {"profile": "big"})
    assert spawner.mem_limit == 4 * 2**30


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"profile": "none"}, "profile"),
        ({"profile": "small", "profile_options": {"image": "huge"}}, "profile_options.image"),
        ({"profile": "small", "profile_options": {"gpu": "1"}}, "profile_options.gpu"),
        (
            {"profile": "small", "profile_options": {"image": {"unlisted_choice": "evil"}}},
            "profile_options.image",
        ),
        (
            {"profile": "big", "profile_options": {"image": {"unlisted_choice": "own/x"}}},
            "profile_options.image",
        ),
        ({"profile": "jupyter-kale", "image": "own:1"}, "image"),
        ({"garbage": 1}, "garbage"),
    ],
)
@pytest.mark.usefixtures("no_claims")
async def test_a_choice_outside_the_offer_is_refused(options: dict[str, Any], field: str) -> None:
    spawner = make_spawner({"KubeSpawner": {"profile_list": PROFILES}})
    with pytest.raises(ChoiceInvalid) as caught:
        await load(spawner, options)
    assert [error.field for error in caught.value.errors] == [field]


ALL_WRONG = {
    "image": "evil/image",
    "profile_options": {"gpu": "1"},
    "workspace": {"size": "lots", "mount": "/etc"},
    "data_volumes": [{"mount": "data"}, {"mount": "/proc"}],
}
EVERY_FIELD = {
    "profile_options.gpu",
    "image",
    "workspace.size",
    "workspace.mount",
    "data_volumes.0.mount",
    "data_volumes.1.mount",
}


@pytest.mark.usefixtures("no_claims")
async def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ChoiceInvalid) as over_the_api:
        await load(make_spawner(), ALL_WRONG)
    assert {error.field for error in over_the_api.value.errors} == EVERY_FIELD
    with pytest.raises(ChoiceInvalid) as unknown:
        await load(make_spawner(), {"profile": "none", **ALL_WRONG})
    assert {error.field for error in unknown.value.errors} == {
        "profile",
        *(field for field in EVERY_FIELD if "." in field and "option" not in field),
    }
    fields = {"workspace.size": ["lots"], "workspace.mount": ["/etc"], "workspace.source": ["new"]}
    with pytest.raises(Shown) as on_the_page:
        await make_spawner().options_from_form(fields)
    assert "workspace.size: " in on_the_page.value.jupyterhub_message
    assert "workspace.mount: " in on_the_page.value.jupyterhub_message


@pytest.mark.usefixtures("no_claims")
async def test_an_own_image_needs_the_pattern_and_all_of_it() -> None:
    spawner = make_spawner({"KaleImages": {"custom_image_pattern": "reg/[a-z]+"}})
    await load(spawner, {"image": "reg/mine"})
    assert spawner.image == "reg/mine"
    spawner.clear_state()
    with pytest.raises(ChoiceInvalid, match=r"^image: .*reg/\[a-z\]\+"):
        await load(spawner, {"image": "reg/mine:1"})


async def test_without_images_it_is_kubespawner() -> None:
    config = {"KaleImages": {"images": [], "tag": ""}, "KubeSpawner": {"profile_list": PROFILES}}
    spawner = make_spawner(config)
    await load(spawner, {"profile": "small", "image": "full", "garbage": "1"})
    assert spawner.image == "full:1"
    plain = KubeSpawner._options_from_form(spawner, {"profile": ["small"]})
    assert spawner.options_from_form({"profile": ["small"]}) == plain
    assert "Small one" in await spawner.get_options_form()
    spawner.clear_state()
    with pytest.raises(ChoiceInvalid) as caught:
        await load(spawner, {"profile": "unknown"})
    assert [error.field for error in caught.value.errors] == ["profile"]


async def test_without_images_and_profiles_nothing_is_asked() -> None:
    """KubeSpawner's own image starts at once, with KubeSpawner's own storage."""
    spawner = make_spawner({"KaleImages": {"images": [], "tag": ""}})
    assert not await spawner.get_options_form()
    before = spawner.image
    await load(spawner, {})
    assert (spawner.image, spawner._profile) == (before, None)
    assert "singleuser" in before


async def test_a_hidden_image_can_be_named_but_is_not_shown() -> None:
    images = [
        {"id": "a", "display_name": "A", "image": "a:1"},
        {"id": "b", "display_name": "B", "image": "b:1", "hidden": True, "default": False},
    ]
    spawner = make_spawner({"KaleImages": {"images": images}})
    await load(spawner, {"profile": "b"})
    assert spawner.image == "b:1"


@pytest.mark.usefixtures("no_claims")
async def test_names_are_kept_for_every_profiles_presets() -> None:
    entry = {"display_name": "A", "slug": "a", "kale": {"workspace": {"name": "{user_slug}-home"}}}
    rows = [{"name": "alice-home", "mount": "/a"}, {"name": "bob-home", "mount": "/b"}]
    spawner = make_spawner({"KubeSpawner": {"profile_list": [entry]}})
    with pytest.raises(Shown) as caught:
        await spawner.options_from_form(
            {
                f"data_volumes.{index}.{key}": [text]
                for index, row in enumerate(rows)
                for key, text in row.items()
            }
        )
    assert caught.value.jupyterhub_message == (
        "data_volumes.0.name: this name is kept for a workspace of yours; choose another; "
        "data_volumes.1.name: this name is kept for somebody else's volumes; choose another"
    )
    page = Page(await spawner.get_options_form())
    assert "home" in json.loads(page.by_id("kale-data-json").text)["keptNames"]["workspace"]


@pytest.mark.usefixtures("no_claims")
async def test_the_page_proposes_read_only_where_the_administrator_does() -> None:
    row = {"source": "existing", "name": "{user_slug}-set", "mount": "/set", "read_only": True}
    spawner = make_spawner({"KaleVolumes": {"data_volumes": {"volumes": [row]}}})
    fields = Page(await spawner.get_options_form()).fields()
    assert fields["data_volumes.0.claim"] == "alice-set"
    assert fields["data_volumes.0.read_only"] == "true"


@pytest.mark.usefixtures("no_claims")
async def test_the_last_choice_has_the_names_that_its_volumes_got() -> None:
    row = {"source": "new", "size": "20Gi", "mount": "/data"}
    asked = {"workspace": {"size": "1Gi"}, "data_volumes": [row, {**row, "mount": "/more"}]}
    spawner = make_spawner(options=asked)
    await spawner.load_user_options()
    offers, profile, choice = spawner._offered, spawner._profile, spawner._choice
    assert offers and profile and choice
    plan = await spawner._plan(offers, profile, choice)
    spawner._keep_choice(plan.mounts)
    kept = spawner.get_state()["kale_choice"]
    assert kept["workspace"]["name"] == "alice-workspace"
    assert [each["name"] for each in kept["data_volumes"]] == ["alice-data-1", "alice-data-2"]
    again = parse_choice(kept)
    assert (await spawner._plan(offers, profile, again)).claims == plan.claims


@pytest.mark.usefixtures("no_claims")
async def test_a_refused_choice_does_not_replace_the_last_good_one() -> None:
    spawner = make_spawner(options={"profile": "vscode-kale"})
    await spawner.load_user_options()
    spawner._keep_choice(())
    state = spawner.get_state()
    bad = {"workspace": {"size": "tiny"}}
    again = make_spawner(state=state, options=bad)
    with pytest.raises(Shown) as caught:
        await again.start()
    assert caught.value.status_code == 400
    assert caught.value.jupyterhub_message.startswith("workspace.size: ")
    assert again.orm_spawner.user_options == {"version": 1, "profile": "vscode-kale"}
    again.clear_state()
    assert again.get_state()["kale_choice"] == again.user_options


@pytest.mark.usefixtures("no_claims")
async def test_a_link_starts_nothing() -> None:
    spawner = make_spawner()
    with pytest.raises(Shown) as caught:
        spawner.options_from_query({"profile": ["vscode-kale"]})
    assert caught.value.status_code == 200
    form = await spawner.get_options_form()
    assert "vscode-kale" in form


@pytest.mark.usefixtures("no_claims")
async def test_the_page_shows_what_was_typed_and_why_it_was_refused() -> None:
    default, named = make_spawner(), make_spawner(server="gpu")
    fields = {"profile": ["jupyter-kale"], "workspace.size": ["7x"], "workspace.source": ["new"]}
    with pytest.raises(Shown) as caught:
        await named.options_from_form(fields)
    assert caught.value.status_code == 400
    form = await default.get_options_form()
    assert "7x" in form
    assert "is not a size" in form


TEMPLATE = (
    "{% for p in profile_list %}<{{ p.slug }}{{ '*' if p.default }}:{{ p.display_name }}:"
    "{{ p.profile_options | default({}) | join('+') }}>{% endfor %}"
    "{{ user_options.profile }}={{ user_options.image }}"
)


@pytest.fixture
def nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: KaleSpawner, fresh: bool = False) -> Inventory:
        return Inventory()

    async def unknown(self: KaleSpawner, fresh: bool = False) -> Cluster:
        return Cluster()

    monkeypatch.setattr(KaleSpawner, "_inventory", nothing)
    monkeypatch.setattr(KaleSpawner, "_cluster", unknown)


@pytest.fixture(params=["text", "folder"])
def template(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """kubespawner's two ways to a template of one's own."""
    if request.param == "text":
        return {"profile_form_template": TEMPLATE}
    (tmp_path / "form.html").write_text(TEMPLATE)
    return {"additional_profile_form_template_paths": [str(tmp_path)]}


@pytest.mark.usefixtures("nothing_there")
async def test_a_template_of_kubespawners_shows_our_images_too(template: dict[str, Any]) -> None:
    images = [
        {"id": "a", "display_name": "A", "image": "a:1"},
        {"id": "b", "display_name": "B", "image": "b:1", "hidden": True},
    ]
    config = {
        "KaleImages": {"images": images},
        "KubeSpawner": {"profile_list": PROFILES, **template},
    }
    shown = "<a*:A:><small:Small one:image><big:Big:>"
    spawner = make_spawner(config)
    assert await spawner.get_options_form() == f"{shown}="
    last = {"profile": "small", "profile_options": {"image": "full"}}
    spawner = make_spawner(config, options=last)
    assert await spawner.get_options_form() == f"{shown}small=full"
    assert spawner.user_options == last


@pytest.mark.usefixtures("nothing_there")
async def test_what_a_template_of_kubespawners_posts_is_started(template: dict[str, Any]) -> None:
    config = {"KubeSpawner": {"profile_list": PROFILES, **template}}
    for fields, image in (
        ({"profile": ["vscode-kale"]}, "gcr.io/arrikto/vscode-kale-py38:release-2.0"),
        ({"profile": ["small"], "profile-option-small--image": ["full"]}, "full:1"),
        ({"profile": ["small"], "profile-option-small--image--unlisted-choice": ["own/x"]}, "own/x"),
    ):  # fmt: skip
        spawner = make_spawner(config)
        await load(spawner, await spawner.options_from_form(fields))
        assert spawner.image == image
    fields = {"profile": ["small"], "profile-option-small--image": ["huge"]}
    with pytest.raises(Shown, match=r"profile_options.image: .huge. is not offered"):
        await spawner.options_from_form(fields)
    assert (await spawner.get_options_form()).endswith("small=huge")


async def test_an_own_form_and_its_reader_win() -> None:
    """What the reader gives is kept as it is, for the administrator's own hooks."""
    config = {
        "KubeSpawner": {
            "profile_list": PROFILES,
            "options_form": "<input name=image><input name=cost>",
            "options_from_form": lambda data: {key: value[0] for key, value in data.items()},
        }
    }
    spawner = make_spawner(config)
    assert await spawner.get_options_form() == "<input name=image><input name=cost>"
    fields = {"profile": ["small"], "image": ["full"], "cost": ["12"]}
    options = spawner.options_from_form(fields)
    await load(spawner, options)
    assert spawner.image == "full:1"
    spawner._keep_choice(())
    assert spawner.user_options == {"profile": "small", "image": "full", "cost": "12"}
    spawner.clear_state()
    await spawner.load_user_options()
    assert spawner.image == "full:1"
    spawner.clear_state()
    await load(spawner, {"cost": "12"})
    assert spawner.image == "gcr.io/arrikto/jupyter-kale-py38:release-2.0"


@pytest.mark.usefixtures("nothing_there")
async def test_an_own_form_without_a_reader_posts_what_kubespawner_reads() -> None:
    spawner = make_spawner({"KubeSpawner": {"profile_list": PROFILES, "options_form": "<i>"}})
    assert await spawner.get_options_form() == "<i>"
    await load(spawner, await spawner.options_from_form({"profile": ["big"], "other": ["1"]}))
    assert spawner.mem_limit == 4 * 2**30
    with pytest.raises(ChoiceInvalid, match="cost"):
        await load(spawner, {"cost": "12"})


async def test_ports_are_found_where_other_containers_declare_none() -> None:
    spawner = make_spawner()
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [
                {"name": "extra"},
                {"name": "notebook", "ports": [{"name": "notebook-port", "containerPort": 18888}]},
            ]
        },
    }
    assert spawner._get_pod_port(pod) == 18888


@pytest.mark.parametrize(
    ("image", "bind", "by_command"),
    [
        ("gcr.io/arrikto/jupyter-kale-py38:1", None, True),
        ("localhost/kale-spawner/jupyter-kale:dev", None, False),
        ("localhost/kale-spawner/jupyter-kale:dev", "command", True),
        ("evil/xkale-spawner/jupyter-kale:1", None, True),
        ("reg/own:1", "env", False),
    ],
)
async def test_the_app_is_bound_to_the_loopback(image: str, bind: Any, by_command: bool) -> None:
    entry = {"id": "i", "display_name": "I", "image": image, "bind": bind}
    spawner = make_spawner({"KaleImages": {"images": [entry]}})
    app = (await spawner._offers()).choose("i").app(image)
    assert (app.command is not None) is by_command


@pytest.mark.parametrize("command", [None, ["run"]])
async def test_without_gateway_the_hub_says_what_is_started(command: list[str] | None) -> None:
    entry = {"id": "i", "display_name": "I", "image": "i:1", "gateway_mode": "none"}
    images = [entry | ({"command": command} if command else {})]
    spawner = make_spawner({"KaleImages": {"images": images}, "KubeSpawner": {"cmd": ["single"]}})
    await load(spawner, {})
    pod = await spawner._pod_manifest(Plan(), "start")
    container = pod["spec"]["containers"][0]
    assert container.get("command") == command
    assert container["args"] == ["single"]
    assert container["securityContext"]["runAsUser"] == 1000


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("exc", [ChoiceInvalid([]), StartFailed("no"), Unreachable("no")])
async def test_users_cannot_end_the_hub(
    tells: bool, exc: KaleError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub counts a failed start after it was told of it; an older one what it refused too."""
    monkeypatch.setattr("kale_spawner.spawner._TELLS_REFUSALS", tells)
    spawner = make_spawner()
    spawner.handler = SimpleNamespace(settings={"failure_count": 2})

    async def fails() -> str:
        raise exc

    monkeypatch.setattr(spawner, "_started", fails)
    with pytest.raises(Shown):
        await spawner.start()
    refused_by_an_older_hub = not tells and exc.status < 500
    assert spawner.handler.settings["failure_count"] == (1 if refused_by_an_older_hub else 2)


async def test_that_a_volume_was_full_outlives_the_spawner_that_found_it():
    make_spawner()._full = "alice-workspace"
    assert make_spawner()._full == "alice-workspace"
    assert make_spawner(server="lab")._full == ""
    make_spawner()._full = ""
    assert make_spawner()._full == ""
