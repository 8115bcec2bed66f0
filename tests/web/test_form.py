"""The form's HTML and what is read back from it, without a hub and without JavaScript."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from kale_spawner.errors import FieldError
from kale_spawner.model.choices import parse_choice
from kale_spawner.model.claim import Claim, Use
from kale_spawner.model.limits import Limits
from kale_spawner.web.form import FormView, ProfileCard, parse_form, render_form
from kale_spawner.web.parse import quantity, split_quantity
from kale_spawner.web.words import age, human_size, place_of
from tests.web.page import Page

GIB = 1 << 30
NOW = datetime(2026, 1, 10, tzinfo=UTC)
HOSTILE = '"></select></script><script>alert(1)</script>{{ 7*7 }}'
JUPYTER = ProfileCard("jupyter", "JupyterLab", "Notebooks", icon="jupyter", default=True)
CODE = ProfileCard("code", "VS Code", icon="code")
OPTIONS = ProfileCard(
    "big",
    "Big",
    options={
        "size": {
            "display_name": "Machine",
            "choices": {"s": {"display_name": "Small", "default": True}, "l": {}},
            "unlisted_choice": {"enabled": True, "display_name": "CPUs"},
        },
        "tag": {"unlisted_choice": {"enabled": True, "display_name": "Tag"}},
    },
)


def view(**changes: Any) -> FormView:
    settings: dict[str, Any] = {"profiles": [JUPYTER, CODE, OPTIONS], "name_prefix": "ann"}
    return FormView(**{**settings, "now": NOW, **changes})


def sent(shown: FormView, **typed: str) -> dict[str, Any]:
    """The choice that comes back when nothing but `typed` is changed and Start is pressed."""
    fields = Page(render_form(shown)).fields() | {
        key.replace("__", "."): text for key, text in typed.items()
    }
    return parse_form({key: [text] for key, text in fields.items()})


def claim(name: str, **more: Any) -> Claim:
    return Claim(name, 10 * GIB, "10Gi", **more)


def test_first_visit_is_filled_in() -> None:
    choice = sent(view())
    assert choice == {
        "profile": "jupyter",
        "workspace": {
            "source": "new",
            "name": "ann-workspace",
            "size": "10Gi",
            "mount": "/home/jovyan",
        },
        "data_volumes": [],
    }
    parse_choice(choice)


def test_last_choice_without_a_name_is_that_of_the_volume_it_made() -> None:
    last = {"workspace": {"source": "new", "size": "40Mi"}}
    shown = sent(view(choice=last, claims=[claim("ann-workspace", phase="Bound")]))
    assert shown["workspace"] == {
        "source": "existing",
        "name": "ann-workspace",
        "mount": "/home/jovyan",
    }


def test_last_choice_prefills_and_its_claim_is_by_now_an_existing_one() -> None:
    last = {
        "profile": "code",
        "workspace": {"source": "new", "name": "w", "size": "7Gi", "mount": "/home/jovyan"},
        "data_volumes": [
            {"source": "existing", "name": "d", "mount": "/data", "read_only": True},
            {"source": "new", "name": "e", "size": "1.5Ti", "mount": "/more"},
        ],
    }
    choice = sent(view(choice=last, claims=[claim("w"), claim("d")]))
    assert choice["profile"] == "code"
    assert choice["workspace"] == {"source": "existing", "name": "w", "mount": "/home/jovyan"}
    assert choice["data_volumes"] == last["data_volumes"]


def test_what_was_typed_comes_back_with_each_error_beside_its_field() -> None:
    typed: dict[str, Any] = {
        "profile": "code",
        "workspace": {"source": "new", "name": "A B", "size": "lots", "mount": "/etc"},
        "data_volumes": [{"source": "existing", "mount": "/d"}],
    }
    errors = [
        FieldError("workspace.name", "small letters"),
        FieldError("workspace.size", "not a size"),
        FieldError("data_volumes.0.name", "choose one"),
        FieldError("elsewhere", "on top only"),
    ]
    shown = view(submitted=typed, errors=errors, claims=[claim("w")])
    page = Page(render_form(shown))
    assert sent(shown) == typed
    assert page.errors() == {
        "workspace.name": "Small letters",
        "workspace.size": "Not a size",
        "data_volumes.0.claim": "Choose one",
    }
    summary = page.by_id("kale-errors").all_text()
    assert "Data volume 1, name: choose one" in summary
    assert "Elsewhere: on top only" in summary
    assert "open" in page.by_id("kale-volumes").attrs
    for link in (each for each in page.by_id("kale-errors").walk() if each.tag == "a"):
        assert page.by_id((link.attrs["href"] or "")[1:])
    assert page.by_id("kale-workspace-name").attrs["aria-invalid"] == "true"
    assert "aria-invalid" not in page.by_id("kale-workspace-mount").attrs


def test_a_refused_option_and_image_are_marked_too() -> None:
    errors = [FieldError("image", "not allowed"), FieldError("profile_options.size", "too big")]
    card = replace(OPTIONS, image_field=True)
    submitted = {"profile": "big", "profile_options": {"size": "l"}, "image": "evil"}
    page = Page(render_form(view(profiles=[card, CODE], submitted=submitted, errors=errors)))
    marked = {each.attrs["name"] for each in page.elements if "aria-invalid" in each.attrs}
    assert marked == {
        "image.big",
        "profile-option-big--size",
        "profile-option-big--size--unlisted-choice",
    }


def test_without_an_error_nothing_is_marked() -> None:
    page = Page(render_form(view()))
    assert page.errors() == {}
    assert "hidden" in page.by_id("kale-errors").attrs
    assert "aria-invalid" not in "".join(" ".join(each.attrs) for each in page.elements)


def test_without_javascript_one_more_volume_can_be_added_and_one_removed() -> None:
    last = {"data_volumes": [{"source": "new", "name": "d", "size": "5Gi", "mount": "/d"}]}
    added = sent(
        view(choice=last),
        data_volumes__1__name="e",
        data_volumes__1__size="3",
        data_volumes__1__mount="/e",
        data_volumes__0__remove="true",
    )
    assert added["data_volumes"] == [
        {"source": "new", "name": "e", "size": "3Gi", "mount": "/e"},
    ]
    parse_choice(added)


def test_without_javascript_no_volume_is_asked_for_beyond_the_limit() -> None:
    last = {"data_volumes": [{"source": "new", "name": "d", "size": "5Gi", "mount": "/d"}]}
    page = Page(render_form(view(choice=last, limits=Limits(max_data_volumes=1))))
    assert "data_volumes.1.name" not in page.fields()


def test_no_workspace_sends_nothing_else_of_it() -> None:
    workspace = sent(view(), workspace__source="none")["workspace"]
    assert workspace == {"source": "none", "size": "10Gi"}
    last = view(choice={"workspace": {"source": "none"}})
    assert sent(last)["workspace"] == {"source": "none", "size": "10Gi"}


@pytest.mark.parametrize("how", ["fixed", "hidden"])
def test_what_the_administrator_set_is_not_sent(how: str) -> None:
    paths = frozenset({"workspace", "data_volumes"})
    preset = {"workspace": {"size": "3Gi"}, "data_volumes": [{"name": "d", "mount": "/d"}]}
    card = ProfileCard("a", "A", preset=preset, **{how: paths})
    page = Page(render_form(view(profiles=[card])))
    assert parse_form({key: [text] for key, text in page.fields().items()}) == {"profile": "a"}
    assert page.by_id("kale-workspace-size").attrs["value"] == "3"
    assert ("hidden" in page.by_id("kale-volumes").attrs) is (how == "hidden")


@pytest.mark.parametrize(
    ("hidden", "line"),
    [
        (set(), "Workspace 3 GiB, new · 1 data volume"),
        ({"workspace"}, "1 data volume"),
        ({"data_volumes"}, "Workspace 3 GiB, new"),
    ],
)
def test_the_fold_does_not_tell_of_what_is_hidden(hidden: set[str], line: str) -> None:
    preset = {"workspace": {"size": "3Gi"}, "data_volumes": [{"name": "d", "mount": "/d"}]}
    card = ProfileCard("a", "A", preset=preset, hidden=frozenset(hidden))
    page = Page(render_form(view(profiles=[card])))
    assert page.by_id("kale-line").all_text() == line


def test_one_fixed_field_leaves_the_others_free() -> None:
    card = ProfileCard("a", "A", fixed=frozenset({"workspace.size"}))
    assert sent(view(profiles=[card]))["workspace"] == {
        "source": "new",
        "name": "ann-workspace",
        "mount": "/home/jovyan",
    }


def test_class_and_access_mode_are_asked_for_only_where_there_is_a_choice() -> None:
    assert "storage_class" not in str(sent(view()))
    limits = Limits(storage_classes=("rok-csi", "fast"), access_modes=("ReadWriteOnce",))
    workspace = sent(view(limits=limits), workspace__storage_class="fast")["workspace"]
    assert workspace["storage_class"] == "fast"
    assert "access_mode" not in workspace


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        ({}, {"size": "s"}),
        ({"profile-option-big--size": "l"}, {"size": "l"}),
        (
            {
                "profile-option-big--size": "unlisted-choice",
                "profile-option-big--size--unlisted-choice": " 12 ",
            },
            {"size": {"unlisted_choice": "12"}},
        ),
        ({"profile-option-big--tag--unlisted-choice": "v1"}, {"size": "s", "tag": "v1"}),
    ],
)
def test_profile_options_of_kubespawner(typed: dict[str, str], options: dict[str, Any]) -> None:
    if options.get("tag"):
        options = options | {"tag": {"unlisted_choice": options["tag"]}}
    fields = Page(render_form(view())).fields() | {"profile": "big"} | typed
    choice = parse_form({key: [text] for key, text in fields.items()})
    assert choice["profile_options"] == options
    again = view(choice=choice)
    assert sent(again)["profile_options"] == options


def test_options_of_other_profiles_are_left_out() -> None:
    assert "profile_options" not in sent(view(), profile="code")


def test_form_of_kubespawners_own_template_is_understood() -> None:
    """Its script sends the select or the free text, never both."""
    assert parse_form({"profile": ["p"], "profile-option-p--a--unlisted-choice": ["x"]}) == {
        "profile": "p",
        "profile_options": {"a": {"unlisted_choice": "x"}},
    }


def test_own_image_only_where_it_is_allowed() -> None:
    free = ProfileCard("free", "Free", image_field=True)
    shown = view(profiles=[free, CODE], choice={"profile": "free", "image": "r/i:1"})
    assert sent(shown)["image"] == "r/i:1"
    assert "image" not in sent(shown, profile="code")


def test_fields_that_the_page_does_not_have_are_ignored() -> None:
    odd = {"_xsrf": ["x"], "data_volumes.x.name": ["y"], "file_file": [object()], "empty": []}
    assert parse_form(odd) == {}


def test_names_cannot_leave_their_place() -> None:
    hostile = Claim(HOSTILE, GIB, "1Gi", uses=(Use(HOSTILE),))
    volume = {"source": "new", "name": HOSTILE, "size": HOSTILE, "mount": HOSTILE}
    html = render_form(
        view(
            profiles=[ProfileCard(HOSTILE, HOSTILE, HOSTILE, image_field=True)],
            claims=[hostile],
            submitted={"image": HOSTILE, "workspace": volume, "data_volumes": [volume]},
            errors=[FieldError("workspace.name", HOSTILE), FieldError(HOSTILE, HOSTILE)],
            name_prefix=HOSTILE,
        )
    )
    page = Page(html)
    scripts = [each for each in page.elements if each.tag == "script"]
    assert [each.attrs.get("type") for each in scripts] == ["application/json", None]
    assert HOSTILE in json.loads(scripts[0].text)["claims"]
    assert "<script>alert" not in html
    assert "{{ 7*7 }}" in page.by_id("kale-errors").all_text()
    assert page.fields()["workspace.name"] == HOSTILE


def test_an_administrators_html_is_kept() -> None:
    page = Page(render_form(view(profiles=[ProfileCard("a", "A", Markup("<b>bold</b> & more"))])))
    assert any(each.tag == "b" and each.text == "bold" for each in page.elements)


def test_every_control_has_a_label_and_no_id_is_there_twice() -> None:
    last = {"data_volumes": [{"source": "new", "name": "d", "size": "5Gi", "mount": "/d"}]}
    limits = Limits(storage_classes=("a", "b"), access_modes=("ReadWriteOnce", "ReadWriteMany"))
    page = Page(render_form(view(choice=last, claims=[claim("c")], limits=limits)))
    ids = [each.attrs["id"] for each in page.elements if "id" in each.attrs]
    assert len(ids) == len(set(ids))
    labelled = {each.attrs.get("for") for each in page.elements if each.tag == "label"}
    for each in page.elements:
        if each.tag in ("input", "select") and each.attrs.get("type") != "hidden":
            named = each.attrs.get("id") in labelled or each.attrs.get("aria-label")
            assert named or each.inside("label"), each.attrs
        for slot in (each.attrs.get("aria-describedby") or "").split():
            assert slot in ids


def test_hundred_claims_are_a_list_with_size_age_and_use() -> None:
    claims = [
        claim(f"v-{n}", created=NOW - timedelta(days=n), uses=(Use("lab"),) if n == 3 else ())
        for n in range(100)
    ]
    claims.append(claim("going", deleting=True))
    page = Page(render_form(view(claims=claims)))
    options = [each.text for each in page.by_id("kale-workspace-claim").walk() if each.text.strip()]
    assert len(options) == 101
    assert "v-3 · 10 GiB, 3 days old, used by server lab" in options
    assert not any("going" in option for option in options)


def test_a_volume_of_last_time_that_is_gone_is_said_at_once_and_never_another_taken() -> None:
    last = {
        "workspace": {"source": "existing", "name": "gone", "mount": "/home/jovyan"},
        "data_volumes": [
            {"source": "new", "name": "going", "size": "5Gi", "mount": "/g"},
            {"source": "existing", "name": "here", "mount": "/h"},
        ],
    }
    shown = view(choice=last, claims=[claim("here"), claim("going", deleting=True)])
    page = Page(render_form(shown))
    assert page.errors()["workspace.claim"].startswith('You have no volume "gone"; choose one')
    assert page.errors()["data_volumes.0.claim"].startswith('"going" is being deleted; wait')
    assert not any(field.startswith("data_volumes.1") for field in page.errors())
    assert "open" in page.by_id("kale-volumes").attrs
    assert "hidden" in page.by_id("kale-errors").attrs
    assert page.by_id("kale-line").all_text() == (
        "Workspace gone is not there any more · 2 data volumes"
    )
    options = [each.all_text() for each in page.elements if "selected" in each.attrs]
    assert "gone (not there any more)" in options
    assert "going (being deleted)" in options
    assert sent(shown)["workspace"]["name"] == "gone"
    assert sent(shown)["data_volumes"][0]["name"] == "going"


@pytest.mark.parametrize("stored", [{"workspace": 5}, {"data_volumes": {"a": 1}}, {"profile": 3}])
def test_a_stored_choice_that_is_no_choice_shows_the_default(stored: dict[str, Any]) -> None:
    assert sent(view(choice=stored)) == sent(view())


@given(st.text(), st.sampled_from(["Mi", "Gi", "Ti", "", "x"]))
def test_sizes_come_back_as_they_were_typed(number: str, unit: str) -> None:
    once = quantity(number, unit)
    assert quantity(*split_quantity(once)) == once


@given(st.dictionaries(st.text(), st.lists(st.text(), max_size=2)))
def test_any_fields_can_be_read_and_shown_again(fields: dict[str, list[str]]) -> None:
    choice = parse_form(fields)
    json.dumps(choice)
    render_form(view(submitted=choice))


@pytest.mark.parametrize(
    ("size", "words"),
    [(10 * GIB, "10 GiB"), (GIB * 3 // 2, "1.5 GiB"), (5 << 40, "5 TiB"), (12, "12 bytes")],
)
def test_size_in_words(size: int, words: str) -> None:
    assert human_size(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "made just now"),
        (119, "made just now"),
        (120, "2 minutes old"),
        (14 * 60 + 59, "14 minutes old"),
        (3600, "1 hour old"),
        (86400 * 65, "2 months old"),
    ],
)
def test_age_in_words(seconds: int, words: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == words
    assert age(None, NOW) == ""


def test_places_in_words() -> None:
    assert place_of("data_volumes.2.mount") == "Data volume 3, folder"
    assert place_of("profile_options.size") == "Options, size"
    assert place_of("") == ""
