"""The doctor on a real API server, as somebody who may do all and as one who may do nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kale_spawner.cli.main import main
from tests.web.conftest import Cluster


def test_who_may_do_all_lacks_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["doctor", "--kubeconfig", cluster.kubeconfig, "--namespace", cluster.namespace]
    main([*given, "--json"])
    found = {each["text"]: each["state"] for each in json.loads(capsys.readouterr().out)}
    assert found["All rights are there"] == "ok"
    assert found['Storage class "rok-csi" of driver rok.arrikto.com'] == "ok"
    assert not any("namespace" in text for text in found)
    assert main([*given[:-1], "no-such"]) == 1
    assert "kubectl create namespace no-such" in capsys.readouterr().out


def test_who_may_do_nothing_is_given_the_roles(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(
        f"c.KaleSpawner.namespace = {cluster.namespace!r}\nc.KaleImages.tag = 'release-2.0'\n"
    )
    given = ["doctor", "--kubeconfig", cluster.kubeconfig, "--config", str(config)]
    nobody = f"system:serviceaccount:{cluster.namespace}:default"
    assert main([*given, "--as", nobody]) == 1
    said = capsys.readouterr().out
    assert "x May not get, list, watch, create, delete pods" in said
    assert f"metadata: {{name: kale-spawner, namespace: {cluster.namespace}}}" in said
    assert 'Image of "jupyter-kale": gcr.io/arrikto/jupyter-kale-py38:release-2.0' in said
    config.write_text("c.KaleVolumes.max_sizes = '1Gi'\n")
    assert main(given) == 1
    assert "KaleVolumes.max_sizes: there is no such setting" in capsys.readouterr().out
