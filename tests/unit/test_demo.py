"""What the demo does on this machine, as far as it needs no hub."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import localcluster
from demo import __main__ as demo
from demo import hub


def test_a_hubs_log_begins_anew_and_the_former_is_kept(tmp_path: Path) -> None:
    for hubs in ("first", "second", "third"):
        log = hub._new_log(tmp_path)
        assert not log.exists()
        log.write_text(hubs)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "hub.log": "third",
        "hub.log.1": "second",
    }


@pytest.mark.parametrize(
    ("owns_cluster", "cluster_runs", "stays"),
    [(True, True, True), (True, False, False), (False, False, True)],
)
def test_a_hub_whose_own_cluster_was_killed_is_ended(
    monkeypatch: pytest.MonkeyPatch, owns_cluster: bool, cluster_runs: bool, stays: bool
) -> None:
    ended: list[hub.Hub] = []
    there = hub.Hub("demo", 1, "1", "http://127.0.0.1:8000", "secret", owns_cluster)
    monkeypatch.setattr(hub, "find", lambda _: there)
    monkeypatch.setattr(hub, "alive", lambda _: True)
    monkeypatch.setattr(hub, "end", ended.append)
    monkeypatch.setattr(hub, "end_proxy", lambda _: None)
    status = SimpleNamespace(running=cluster_runs)
    monkeypatch.setattr(localcluster, "status", lambda _: status)
    for need in ("need_port", "need_linux", "need_root", "need_disk"):
        monkeypatch.setattr(demo, need, lambda *_, **__: None)
    monkeypatch.setattr(demo, "GIVEN_CLUSTER", False)
    assert demo.check() == (there if stays else None)
    assert ended == ([] if stays else [there])
