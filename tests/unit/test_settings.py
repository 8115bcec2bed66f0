from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from kale_spawner.errors import SettingsInvalid
from kale_spawner.hubstart import check_settings
from kale_spawner.spawner import KaleSpawner

ROOT = Path(__file__).parents[2]
TAG = {"tag": "release-2.0"}
OWN = {"id": "own", "display_name": "Own", "image": "reg/own:1"}
OTHER = {**OWN, "id": "other"}


def check(settings: dict[str, Any]) -> None:
    check_settings(Config(settings), KaleSpawner)


@pytest.mark.parametrize(
    "settings",
    [
        {"KaleImages": TAG},
        {"KaleImages": {"images": []}},
        {"KaleImages": {"images": [OWN]}},
        {
            "KaleImages": {"images": [{**OWN, "kind": "mine"}]},
            "KaleGateway": {"kinds": {"mine": {}}},
        },
        {
            "KaleImages": {"images": [OWN]},
            "KubeSpawner": {
                "profile_list": [
                    {"display_name": "P", "kale": {"image": "own"}},
                    {"display_name": "Q"},
                ]
            },
        },
    ],
)  # fmt: skip
def test_settings_that_work(settings: dict[str, Any]) -> None:
    check(settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "KaleImages.tag: .*MiniKF or EKF release"),
        ({"KaleImages": {"tag": "a tag"}}, "KaleImages.tag: 'a tag'"),
        ({"KaleImages": {"tags": "x"}}, "KaleImages.tags: there is no such setting"),
        ({"KaleImages": {"images": [{"id": "x"}]}}, r"KaleImages.images\[0\]: display_name"),
        ({"KaleImages": {"images": [{**OWN, "id": "X!"}]}}, r"KaleImages.images\[0\]: id"),
        ({"KaleImages": {"images": [{**OWN, "color": 1}]}}, r"images\[0\]: color: there is no"),
        ({"KaleImages": {"images": [OWN, OWN]}}, "KaleImages.images: the id 'own' is there twice"),
        ({"KaleImages": {"images": [{**OWN, "kind": "x"}]}}, r"images\[0\].kind: 'x' is none of"),
        (
            {"KaleImages": {"images": [{**OWN, "default": True}, {**OTHER, "default": True}]}},
            "KaleImages.images: only one can be default",
        ),
        (
            {"KaleImages": {"images": [{**OWN, "workspace": {"size": "x"}}]}},
            r"images\[0\]: workspace.size",
        ),
        ({"KaleImages": {**TAG, "custom_image_pattern": "("}}, "KaleImages.custom_image_pattern"),
        ({"KaleImages": TAG, "KaleVolumes": {"max_size": "10 GB"}}, "KaleVolumes.max_size: "),
        (
            {"KaleImages": TAG, "KaleVolumes": {"max_size": "1Mi", "min_size": "1Gi"}},
            "KaleVolumes.max_size: it is smaller",
        ),
        ({"KaleImages": TAG, "KaleVolumes": {"workspace": {"x": 1}}}, "KaleVolumes.workspace: x"),
        (
            {"KaleImages": TAG, "KaleVolumes": {"workspace": {"name": "{slug}-" + "x" * 30}}},
            "KaleVolumes.workspace: the name .* gets too long",
        ),
        (
            {"KaleImages": TAG, "KaleVolumes": {"data_volumes": {"volumes": [{}]}}},
            "KaleVolumes.data_volumes: volumes: each needs a mount",
        ),
        (
            {
                "KaleImages": TAG,
                "KaleVolumes": {"data_volumes": {"volumes": [{"mount": "/d", "read_only": True}]}},
            },
            "KaleVolumes.data_volumes: volumes.0.read_only: a new volume is empty",
        ),
        ({"KaleImages": TAG, "KaleVolumes": {"access_modes": ["All"]}}, "access_modes"),
        ({"KaleImages": TAG, "KaleVolumes": {"home": "home"}}, "KaleVolumes.home"),
        ({"KaleImages": TAG, "KaleGateway": {"mode": "proxy"}}, "mode"),
        (
            {"KaleImages": TAG, "KaleGateway": {"kinds": {"k": {"ports": 1}}}},
            r"KaleGateway.kinds\['k'\]",
        ),
        ({"KaleImages": TAG, "JupyterHub": {"internal_ssl": True}}, "JupyterHub.internal_ssl"),
        (
            {
                "KaleImages": TAG,
                "KubeSpawner": {"profile_list": [{"display_name": "P", "kale": {"image": "x"}}]},
            },
            r"profile_list\['p'\]\['kale'\].image: 'x'",
        ),
        (
            {
                "KaleImages": TAG,
                "KubeSpawner": {"profile_list": [{"display_name": "P", "slug": "vscode-kale"}]},
            },
            "KubeSpawner.profile_list: 'vscode-kale'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises((SettingsInvalid, TraitError), match=says):
        check(settings)


@pytest.mark.parametrize("spawner_class", ['"kale_spawner.KaleSpawner"', "KaleSpawner", '"kale"'])
def test_a_hub_with_a_wrong_setting_does_not_start(tmp_path: Path, spawner_class: str) -> None:
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(
        "from kale_spawner import KaleSpawner\n"
        f"c.JupyterHub.spawner_class = {spawner_class}\n"
        "c.JupyterHub.db_url = 'sqlite://'\n"
        "c.JupyterHub.authenticator_class = 'dummy'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].strip().startswith(
        "kale_spawner.errors.SettingsInvalid: KaleImages.tag: set it"
    )  # fmt: skip


def test_every_setting_has_help() -> None:
    from kale_spawner import settings

    for group in (settings.KaleImages, settings.KaleVolumes, settings.KaleGateway, KaleSpawner):
        for name, trait in group.class_own_traits(config=True).items():
            assert trait.help, f"{group.__name__}.{name}"


def test_the_package_can_be_imported_without_a_hub() -> None:
    code = "import kale_spawner, kale_spawner.wire, sys; print('jupyterhub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
