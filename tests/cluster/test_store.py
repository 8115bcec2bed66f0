"""Images are unpacked once, and what a cluster does with its copy is its own affair."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import images
import localcluster
from localcluster import store
from localcluster.errors import NotUp

DATABASE = "io.containerd.metadata.v1.bolt/meta.db"
UNPACKED = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def files(root: Path) -> dict[Path, int]:
    return {
        path.relative_to(root): path.stat().st_ino
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_clusters_share_files_and_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [archive] = images.build(["gateway"])
    monkeypatch.setenv("KALE_CACHE", str(tmp_path / "cache"))
    first, second = tmp_path / "first", tmp_path / "second"
    store.fill(first, [archive])
    assert "unpacked" in capsys.readouterr().out
    before = files(first)
    assert any(str(path).startswith(UNPACKED) for path in before)
    (first / DATABASE).write_bytes(b"of the first")
    shutil.rmtree(first / UNPACKED)

    store.fill(second, [archive])

    assert "unpacked" not in capsys.readouterr().out
    after = files(second)
    assert after.keys() == before.keys()
    own = {path for path in after if after[path] != before[path]}
    assert own == {path for path in after if path.suffix == ".db" and len(path.parts) == 2}
    assert b"of the first" not in (second / DATABASE).read_bytes()


def test_only_the_newest_stores_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = images.build(["gateway"])
    monkeypatch.setenv("KALE_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache/unpacked"
    for name in ("oldest", "older", "partial"):
        (kept / name).mkdir(parents=True)
    store.fill(tmp_path / "root", archives)
    assert len(list(kept.iterdir())) == 2
    assert not (kept / "partial").exists()
    assert not (kept / "oldest").exists() or not (kept / "older").exists()


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_what_is_no_archive_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    archive = tmp_path / "archive.tar"
    if content is not None:
        archive.write_bytes(content)
    with pytest.raises(NotUp, match=r"archive\.tar cannot be read as an OCI archive: .+$") as told:
        store.identity(archive)
    assert "\n" not in str(told.value)


def test_images_for_a_cluster_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotUp, match="never-was does not run: `python3 -m localcluster up`"):
        localcluster.load_images("never-was", [tmp_path / "archive.tar"])
