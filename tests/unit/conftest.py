"""Units make spawners, and call no cluster."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
