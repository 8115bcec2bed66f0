"""What the demo does on this machine, as far as it needs no hub."""

import json
from dataclasses import asdict
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


@pytest.mark.parametrize("changed", [False, True])
def test_a_hub_that_runs_with_another_configuration_is_told_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: bool
) -> None:
    read = "something else" if changed else hub.made_from()
    there = hub.Hub("demo", 1, "1", "http://127.0.0.1:8000", "secret", True, read)
    ended: list[hub.Hub] = []
    monkeypatch.setattr(hub, "find", lambda _: there)
    monkeypatch.setattr(hub, "alive", lambda _: True)
    monkeypatch.setattr(hub, "end", ended.append)
    monkeypatch.setattr(localcluster, "status", lambda _: SimpleNamespace(running=True))
    demo.up()
    said = capsys.readouterr().out
    assert "already running" in said
    assert ("started with another configuration" in said) == changed
    assert ended == []


def test_what_a_hub_was_made_from_changes_with_what_it_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "kale_spawner"
    (package / "__pycache__").mkdir(parents=True)
    config, code = tmp_path / "jupyterhub_config.py", package / "spawner.py"
    config.write_text("c = 1\n")
    code.write_text("one\n")
    monkeypatch.setattr(hub, "ROOT", tmp_path)
    seen = [hub.made_from()]
    (package / "__pycache__" / "spawner.pyc").write_text("compiled\n")
    assert hub.made_from() == seen[0]
    config.write_text("c = 2\n")
    seen.append(hub.made_from())
    code.write_text("two\n")
    seen.append(hub.made_from())
    for name in ("KALE_STORAGE_CLASS", "KUBECONFIG", "PORT"):
        monkeypatch.setenv(name, "another")
        seen.append(hub.made_from())
    assert len(set(seen)) == len(seen)


def test_a_hub_of_an_earlier_demo_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = hub.Hub("demo", 1, "1", "http://127.0.0.1:8000", "secret", True)
    monkeypatch.setattr(hub, "folder", lambda _: tmp_path)
    former = asdict(there)
    del former["made_from"]
    (tmp_path / "hub.json").write_text(json.dumps(former))
    assert hub.find("demo") == there
