"""The Volumes page as it is given to a hub, and its lists without JavaScript."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from kale_spawner.hubstart import _check_app
from kale_spawner.spawner import KaleSpawner
from kale_spawner.web.volumes_page import _TEMPLATES

SETTINGS = {"KaleImages": {"tag": "release-2.0"}}


def started(paths: list[str], **volumes: Any) -> Any:
    app = SimpleNamespace(
        spawner_class=KaleSpawner,
        config=Config(SETTINGS | {"KaleVolumes": volumes}),
        log=logging.getLogger("hub"),
        extra_handlers=[],
        template_paths=paths,
        data_files_path="/share/jupyterhub",
    )
    _check_app(SimpleNamespace(owner=app))
    return app


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["/share/jupyterhub/templates"], [str(_TEMPLATES), "/share/jupyterhub/templates"]),
        (["/own"], ["/own", str(_TEMPLATES)]),
        (
            ["/own", "/share/jupyterhub/templates"],
            ["/own", str(_TEMPLATES), "/share/jupyterhub/templates"],
        ),
    ],
)
def test_our_templates_come_after_the_administrators_and_before_the_hubs(
    before: list[str], after: list[str]
) -> None:
    assert started(before).template_paths == after


def test_the_page_can_be_switched_off() -> None:
    paths = [path for path, *_ in started([]).extra_handlers]
    assert {"/volumes", "/volumes/([^/]+)", "/api/users/([^/]+)/volumes"} <= set(paths)
    off = started([], pages=False)
    assert (off.extra_handlers, off.template_paths) == ([], [])
