"""The build tool: when it builds again, what survives a kill, and what an image must not keep."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from importlib import import_module
from pathlib import Path

import pytest

import images
from images import recipes

NAMES = sorted(recipes.RECIPES)


def test_a_changed_source_makes_an_image_outdated_and_bytecode_does_not(tmp_path, monkeypatch):
    folder = tmp_path / "images" / "one"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    recipe = recipes.Recipe("one", "images/one", ("shared",))
    first = recipe.key()

    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert recipe.key() == first
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "start").write_text("run\n")
    second = recipe.key()
    (tmp_path / "shared" / "start").chmod(0o755)
    assert len({first, second, recipe.key()}) == 3


def test_nothing_to_do_takes_no_time():
    images.build()
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "images"], check=True, cwd=recipes.ROOT)
    assert time.monotonic() - began < 1


def test_a_killed_build_leaves_no_process_and_the_next_one_works():
    images.build(["gateway"])
    recipes.stamp(recipes.RECIPES["gateway"]).unlink()
    killed = subprocess.Popen(
        [sys.executable, "-m", "images", "gateway"], cwd=recipes.ROOT, stdout=subprocess.DEVNULL
    )
    children: list[int] = []
    deadline = time.monotonic() + 60
    while not children and time.monotonic() < deadline:
        tasks = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text()
        children = [int(pid) for pid in tasks.split()]
    assert children, "the build started no process"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a process of the killed build lives on"
    assert images.outdated() == ["gateway"]
    assert images.build(["gateway"])[0].exists()
    assert images.outdated() == []


class Small:
    """A check-out with one image, in a cache of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, cache = folder / "root", folder / "cache"
        (self._root / "small").mkdir(parents=True)
        self._layers = cache / "images/storage/layers"
        monkeypatch.setenv("KALE_CACHE", str(cache))
        monkeypatch.setattr(recipes, "ROOT", self._root)
        # Not the function of that name in `images`.
        module = import_module("images.build")
        monkeypatch.setattr(module, "ROOT", self._root)
        monkeypatch.setattr(module, "RECIPES", {"small": recipes.Recipe("small", "small", ())})
        monkeypatch.setattr(module, "_make_base", lambda storage: None)

    def build(self, *copied: str) -> set[str]:
        """Build it, with a part that copies those files; return the IDs of all images there are."""
        steps = "".join(f"COPY small/{name} /\n" for name in copied)
        (self._root / "small/Dockerfile").write_text(
            f"FROM scratch AS part\n{steps}FROM scratch AS small\nCOPY --from=part /one /copy\n"
        )
        for name in copied:
            (self._root / "small" / name).write_text(name)
        images.build()
        return {path.name for path in self.stored()}

    def stored(self) -> list[Path]:
        return list(self._layers.glob("*-images/" + "?" * 64))


def test_what_nobody_used_for_a_month_is_removed_and_what_is_in_use_stays(tmp_path, monkeypatch):
    of_a_killed_build = tmp_path / "cache/images/partial/layers"
    of_a_killed_build.mkdir(parents=True)
    small = Small(tmp_path, monkeypatch)
    first = small.build("one", "two")
    assert len(first) == 3
    assert not of_a_killed_build.exists()
    assert small.build("one", "three") > first, "another check-out may need them"
    for path in small.stored():
        os.utime(path, (0, time.time() - 31 * 86400))
    left = small.build("one")
    # The end of the part, whose descendants are gone, and the image itself: nothing was made anew.
    assert len(left) == 2 and left < first


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_building_machine_is_kept(name, image):
    built = image(name)
    variables = {line.split("=")[0] for line in built.config["Env"]}
    assert not {part for part in variables if "CERT" in part or part.startswith(("PIP", "npm_"))}
    for kept in ("etc/resolv.conf", "etc/hostname", "etc/hosts"):
        path = built.root / kept
        assert not path.exists() or path.read_text() == ""
    for kept in ("etc/pip.conf", "root/.npmrc", "root/.config", "root/.cache", "root/.npm"):
        assert not (built.root / kept).exists()
    sources = built.root / "etc/apt/sources.list"
    if sources.exists():
        hosts = {line.split("/")[2] for line in sources.read_text().splitlines()}
        assert hosts == {"deb.debian.org", "security.debian.org"}


@pytest.mark.parametrize("name", NAMES)
def test_the_trusted_authorities_are_debians(name, image):
    def certificates(*paths: Path) -> set[str]:
        return {part.strip() for path in paths for part in path.read_text().split("-----")[2::4]}

    debians = (image("jupyter-kale").root / "usr/share/ca-certificates/mozilla").glob("*.crt")
    bundle = image(name).root / "etc/ssl/certs/ca-certificates.crt"
    assert len(certificates(bundle)) > 100
    assert certificates(bundle) == certificates(*debians)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_weighs_what_the_readme_says(name, image):
    readme = (recipes.ROOT / "README.md").read_text()
    said = re.search(rf"^\| `{name}` \| (\d+) MB", readme, re.MULTILINE)
    assert said and sum(image(name).layers.values()) / 1e6 == pytest.approx(int(said[1]), rel=0.1)


def test_a_node_with_vscode_kale_has_nearly_all_of_jupyter_kale(image):
    jupyter, vscode = image("jupyter-kale").layers, image("vscode-kale").layers
    assert sum(jupyter[layer] for layer in jupyter.keys() - vscode.keys()) < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_the_archive_carries_the_name_that_a_pod_asks_for(name):
    with tarfile.open(images.paths()[name]) as tar:
        (entry,) = json.load(tar.extractfile("index.json"))["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == (
        f"localhost/kale-spawner/{name}:dev"
    )
