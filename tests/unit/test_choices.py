from __future__ import annotations

from typing import Any

import pytest

from kale_spawner.errors import ChoiceInvalid
from kale_spawner.model.choices import Choice, DataVolume, Workspace, parse_choice, upgrade


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({"workspce": {}}, "workspce", "no such field"),
        ({"version": 2}, "version", "use one of 1"),
        ({"profile": 3}, "profile", "text"),
        ({"image": "a b"}, "image", "name of an image"),
        ({"workspace": "big"}, "workspace", "JSON object"),
        ({"workspace": {"source": "stolen"}}, "workspace.source", "use one of 'new', 'existing'"),
        ({"workspace": {"size": "ten"}}, "workspace.size", "not a size"),
        ({"workspace": {"size": 10}}, "workspace.size", "text"),
        ({"workspace": {"name": "Bob"}}, "workspace.name", "small letters"),
        ({"workspace": {"name": "a" * 64}}, "workspace.name", "63"),
        ({"workspace": {"mount": "home"}}, "workspace.mount", "whole path"),
        ({"workspace": {"mount": "/a/../etc"}}, "workspace.mount", "without"),
        ({"workspace": {"mount": "/a//b"}}, "workspace.mount", "without"),
        ({"workspace": {"mount": "/a/"}}, "workspace.mount", "without"),
        ({"workspace": {"mount": "/a\n"}}, "workspace.mount", "printable"),
        ({"workspace": {"mount": "/a:/b"}}, "workspace.mount", "colon"),
        ({"workspace": {"storage_class": "A B"}}, "workspace.storage_class", "storage class"),
        ({"data_volumes": {}}, "data_volumes", "list"),
        ({"data_volumes": [{"mount": 1}]}, "data_volumes.0.mount", "text"),
        ({"data_volumes": [{}, {"x": 1}]}, "data_volumes.1.x", "no such field"),
        ({"data_volumes": [{"access_mode": "All"}]}, "data_volumes.0.access_mode", "use one of"),
        ({"data_volumes": [{}] * 101}, "data_volumes", "100"),
        ({"profile_options": {"o": "{x}"}}, "profile_options.o", "braces"),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(ChoiceInvalid) as caught:
        parse_choice(data)
    errors = {error.field: error.message for error in caught.value.errors}
    assert set(errors) == {field}
    assert says in errors[field]
    assert field in str(caught.value)


def test_all_errors_come_at_once() -> None:
    with pytest.raises(ChoiceInvalid) as caught:
        parse_choice({"workspace": {"size": "x", "name": "X"}, "data_volumes": [{"size": "y"}]})
    assert [error.field for error in caught.value.errors] == [
        "workspace.name",
        "workspace.size",
        "data_volumes.0.size",
    ]


def test_what_is_stored_is_read_back_equal() -> None:
    choice = parse_choice(
        {
            "profile": "vscode-kale",
            "profile_options": {"a": "b", "c": {"unlisted_choice": "text"}},
            "workspace": {"source": "existing", "name": "alice-workspace"},
            "data_volumes": [{"mount": "/data", "size": "5Gi", "read_only": False}],
        }
    )
    assert parse_choice(choice.stored()) == choice
    assert choice.stored()["version"] == 1


def test_nothing_asked_is_a_choice() -> None:
    assert parse_choice({}) == Choice(workspace=Workspace(), data_volumes=None)
    assert DataVolume().source == "new"


def test_what_kubespawner_stored_still_starts() -> None:
    old = {"profile": "small", "image": "minimal", "tag--unlisted-choice": "v1", "cpu": "2"}
    choice = parse_choice(upgrade(old))
    assert choice.stored() == {
        "version": 1,
        "profile": "small",
        "profile_options": {
            "image": "minimal",
            "tag": {"unlisted_choice": "v1"},
            "cpu": "2",
        },
    }
    assert upgrade(choice.stored()) == choice.stored()
