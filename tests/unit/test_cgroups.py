"""What a cluster's control group is given, told by a folder that stands in for the hierarchy."""

from pathlib import Path

import pytest

from localcluster import cgroups


def test_the_group_has_every_controller_that_a_kubelet_misses_where_the_machine_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    control = tmp_path / "cgroup.subtree_control"
    control.touch()
    written: list[str] = []

    def write(path: Path, text: str) -> None:
        assert path == control
        written.append(text)

    monkeypatch.setattr(cgroups, "_roots", lambda: [tmp_path])
    monkeypatch.setattr(cgroups, "_ensure_mounted", lambda: None)
    monkeypatch.setattr(Path, "write_text", write)
    cgroups.create("kale0")
    assert (tmp_path / "kale0").is_dir()
    # Those of getSupportedUnifiedControllers in Kubernetes' pkg/kubelet/cm.
    assert {"+cpu", "+cpuset", "+hugetlb", "+memory", "+pids"} <= set(written)
