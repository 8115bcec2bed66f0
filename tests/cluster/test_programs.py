"""Programs are built where there are none, as on a fresh machine."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from pathlib import Path

import pytest

from localcluster import programs


def test_a_program_is_built_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KALE_CACHE", str(tmp_path))
    pause = programs.named("pause")
    assert not pause.path.exists()
    programs.build([pause])
    gc.collect()
    assert "Go programs (pause)" in capsys.readouterr().out
    waiting = subprocess.Popen([pause.path])
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    waiting.terminate()
    waiting.wait(5)


def test_programs_that_nobody_used_for_a_month_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALE_CACHE", str(tmp_path))
    used = {program.path.parent for program in programs.ALL}
    others, old = tmp_path / "go/others", tmp_path / "go/old"
    for folder in (*used, others, old):
        folder.mkdir(parents=True)
    programs.snapshot_api().mkdir()
    for folder in (*used, old):
        os.utime(folder, (0, time.time() - 31 * 86400))
    programs.build([])
    assert set((tmp_path / "go").glob("*/")) == {*used, others}
    assert all(folder.stat().st_mtime > time.time() - 60 for folder in used)
