from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from kale_spawner.errors import SettingsInvalid
from kale_spawner.hubstart import _check_app, check_settings
from kale_spawner.spawner import KaleSpawner

ROOT = Path(__file__).parents[2]
TAG = {"tag": "release-2.0"}
OWN = {"id": "own", "display_name": "Own", "image": "reg/own:1"}
OTHER = {**OWN, "id": "other"}
KIND = {
    "port": 8080,
    "prefix": "strip",
    "ready_path": "/up?",
    "loopback_command": ["serve"],
    "polls": ["/x"],
}
TEAM = {"source": "existing", "name": "team", "mount": "/b"}
DATA = {"volumes": [{"mount": "/a"}, {**TEAM, "access_mode": "ReadWriteMany"}]}


def volumes(**settings: Any) -> dict[str, Any]:
    return {"KaleImages": TAG, "KaleVolumes": settings}


def kind(**settings: Any) -> dict[str, Any]:
    return {"KaleImages": TAG, "KaleGateway": {"kinds": {"k": settings}}}


def profiles(**entry: Any) -> dict[str, Any]:
    entries = [{"display_name": "P", **entry}]
    return {"KaleImages": {"images": [OWN]}, "KubeSpawner": {"profile_list": entries}}


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
        {"KaleImages": TAG, "KaleGateway": {"kinds": {"mine": KIND}}},
        {"KaleImages": {**TAG, "custom_image_pattern": ".*"}},
        {"KaleImages": TAG, "KaleVolumes": {"workspace": {"source": "existing"}}},
        {"KaleImages": TAG, "KaleVolumes": {"workspace": {"source": "existing", "name": "team"}}},
        {"KaleImages": TAG, "KaleVolumes": {"workspace": {"mode": "fixed", "source": "none"}}},
        {"KaleImages": TAG, "KaleVolumes": {"data_volumes": DATA}},
        {"KaleImages": TAG, "KaleVolumes": {"storage_class": "", "workspace": {"name": "{slug}"}}},
        {
            "KaleImages": {"images": [{**OWN, "kubespawner_override": {"volume_mounts": []}}]},
            "KubeSpawner": {"volume_mounts": [{"name": "v", "mountPath": "/home/jovyan"}]},
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
        ({"KaleImages": TAG, "KaleGateway": {"resources": {"limits": 5}}}, "KaleGateway.resources: 'limits'"),
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


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"KaleImages": {"images": OWN}}, "'images' trait of a KaleImages .* expected a list"),
        ({"KaleImages": {"images": ["own"]}}, r"KaleImages.images\[0\]: write it as"),
        (
            {"KaleImages": {"images": [OTHER, {**OWN, "default": True, "hidden": True}]}},
            r"KaleImages.images\[1\]: 'own' is default and hidden",
        ),
        (volumes(storage_classes=5), "'storage_classes' trait of a KaleVolumes .* a list"),
        (volumes(storage_classes=["a b"]), "KaleVolumes.storage_classes: 'a b': .*storage class"),
        (volumes(storage_class="rok_csi"), "KaleVolumes.storage_class: 'rok_csi'"),
        (volumes(rok_secret="{username}-token"), "KaleVolumes.rok_secret: "),
        (volumes(workspace={"mount": "/etc/home"}), "KaleVolumes.workspace: mount: /etc belongs"),
        (volumes(workspace={"mount": "/"}), "KaleVolumes.workspace: mount: "),
        (volumes(workspace={"mount": "/home"}), "KaleVolumes.workspace: mount: /home would hide"),
        (volumes(home="/root"), "KaleVolumes.home: /root belongs to the system"),
        (volumes(workspace={"storage_class": "fast"}), 'KaleVolumes.workspace: storage_class: "f'),
        (volumes(max_size="5Gi"), "KaleVolumes.workspace: size: 10Gi is too large; .* 5Gi"),
        (volumes(workspace={"name": "home"}), "KaleVolumes.workspace: the name 'home' .*{slug}"),
        (
            volumes(workspace={"source": "existing", "mode": "fixed"}),
            "KaleVolumes.workspace: name: choose which",
        ),
        (
            volumes(data_volumes={"volumes": [{"mount": "/a"}, {"mount": "/a"}]}),
            "KaleVolumes.data_volumes: volumes.1.mount: /a is taken",
        ),
        (
            volumes(data_volumes={"volumes": [{"mount": "/home"}]}),
            "KaleVolumes.data_volumes: volumes.0.mount: this would hide the workspace",
        ),
        (
            volumes(data_volumes={"volumes": [{"mount": "/a"}]}, max_data_volumes=0),
            "KaleVolumes.data_volumes: 1 are too many; at most 0",
        ),
        (
            {"KaleImages": {"images": [OTHER, {**OWN, "workspace": {"size": "1"}}]}},
            r"KaleImages.images\[1\].workspace: size: 1 is too small",
        ),
        (
            profiles(kale={"image": "own", "data_volumes": {"volumes": [{"mount": "/tmp"}]}}),
            r"profile_list\['p'\]\['kale'\].data_volumes: volumes.0.mount: /tmp belongs",
        ),
        (
            {
                "KaleImages": TAG,
                "KubeSpawner": {
                    "volume_mounts": {"home": {"name": "v", "mountPath": "/home/jovyan"}}
                },
            },
            "KubeSpawner.volume_mounts: .* /home/jovyan .*singleuser.storage.type",
        ),
        (kind(port="8888"), r"KaleGateway.kinds\['k'\]: port: "),
        (kind(port=0), r"KaleGateway.kinds\['k'\]: port: 0 is not a port"),
        (kind(port=18888), r"KaleGateway.kinds\['k'\]: port: 18888 is the gateway's"),
        (kind(prefix="cut"), r"KaleGateway.kinds\['k'\]: prefix: use one of 'keep', 'strip'"),
        (kind(prefix_header="A: b"), r"KaleGateway.kinds\['k'\]: prefix_header: "),
        (kind(ready_path="healthz"), r"KaleGateway.kinds\['k'\]: ready_path: "),
        (kind(activity="now"), r"KaleGateway.kinds\['k'\]: activity: use one of 'jupyter'"),
        (kind(loopback_command="serve"), r"KaleGateway.kinds\['k'\]: loopback_command: "),
    ],
)  # fmt: skip
def test_what_could_never_start_is_refused_with_the_hub(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises((SettingsInvalid, TraitError), match=says):
        check(settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"KaleImages": {"images": []}}, True),
        ({"KaleImages": {"images": [OWN]}}, False),
        (
            {"KaleImages": {"images": []}, "KubeSpawner": {"profile_list": lambda spawner: []}},
            False,
        ),
    ],
)
def test_a_hub_that_offers_nothing_says_so(
    settings: dict[str, Any], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("hub")
    app = SimpleNamespace(
        spawner_class=KaleSpawner,
        config=Config(settings),
        log=log,
        extra_handlers=[],
        template_paths=[],
        data_files_path="/jupyterhub",
    )
    with caplog.at_level(logging.INFO):
        _check_app(SimpleNamespace(owner=app))
    assert [record.message[:17] for record in caplog.records] == ["KaleImages.images"] * told


def test_in_a_namespace_of_their_own_all_users_volumes_may_have_one_name() -> None:
    settings = {**volumes(workspace={"name": "workspace"}), "KaleImages": TAG}
    with pytest.raises(SettingsInvalid, match="every user's"):
        check_settings(Config(settings), KaleSpawner)
    own = {"KubeSpawner": {"enable_user_namespaces": True}}
    check_settings(Config({**settings, **own}), KaleSpawner)


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
