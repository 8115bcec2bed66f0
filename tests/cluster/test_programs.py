"""Programs are built where there are none, as on a fresh machine."""

from __future__ import annotations

import gc
import subprocess
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
