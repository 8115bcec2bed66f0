"""Real hubs that end as they start, or do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HUB = """
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.load_roles = [{"name": "no role's name"}]
"""
"""A configuration whose own mistake ends the hub right after its database was opened."""


def words_of_hub(folder: Path, lines: str) -> str:
    """What a hub says that does not start."""
    config = folder / "jupyterhub_config.py"
    config.write_text(HUB + lines)
    done = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize(
    "lines",
    [
        'c.JupyterHub.spawner_class = "kale"',
        'c.JupyterHub.spawner_class = "kale_spawner.spawner.KaleSpawner"',
        "from kale_spawner.spawner import KaleSpawner\n"
        "class Ours(KaleSpawner):\n    pass\n"
        "c.JupyterHub.spawner_class = Ours",
    ],
)  # fmt: skip
def test_a_hub_with_a_wrong_setting_does_not_start(tmp_path: Path, lines: str) -> None:
    last = words_of_hub(tmp_path, lines).strip().splitlines()[-1].strip()
    assert last.startswith("kale_spawner.errors.SettingsInvalid: KaleImages.tag: set it")


def test_a_hub_with_another_spawner_is_left_alone(tmp_path: Path) -> None:
    lines = 'import kale_spawner.spawner; c.JupyterHub.spawner_class = "simple"'
    said = words_of_hub(tmp_path, lines)
    assert "no role's name" in said
    assert "KaleImages" not in said
