"""The command line, against a hub that can refuse, and the doctor's findings without a cluster."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from traitlets.config import Config

from kale_spawner.cli.doctor import _of_classes, _of_images, _of_rights, _of_version, roles
from kale_spawner.cli.main import made_parser, main
from kale_spawner.cli.volumes import table
from kale_spawner.kube.rights import RIGHTS, Right
from kale_spawner.model.cluster import Cluster, SnapshotClass, StorageClass
from kale_spawner.settings import KaleGateway, KaleVolumes


class FakeHub(BaseHTTPRequestHandler):
    asked: ClassVar[list[tuple[str, str, Any]]] = []
    answers: ClassVar[dict[str, tuple[int, Any]]] = {}

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.asked.append((self.command, self.path, body))
        key = f"{self.command} {self.path}"
        status, answer = self.answers.get(key, (404, {"message": "You have no such thing."}))
        if self.headers["Authorization"] != "token t0":
            status, answer = 403, {"status": 403, "message": None}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        return


VOLUME = {
    "name": "data",
    "size": "5Gi",
    "state": "ready",
    "state_text": "ready",
    "servers": [""],
    "origin_text": "",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    server = HTTPServer(("127.0.0.1", 0), FakeHub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    FakeHub.asked.clear()
    FakeHub.answers = {
        "GET /hub/api/user": (200, {"name": "ada"}),
        "GET /hub/api/users/ada/volumes": (200, {"volumes": [VOLUME]}),
        "GET /hub/api/users/ada/volumes/data": (200, VOLUME),
        "DELETE /hub/api/users/ada/volumes/data?snapshot=true": (202, {"snapshot": "last"}),
        "POST /hub/api/users/ada/snapshots": (409, {"message": "No snapshot can be taken: x."}),
    }
    monkeypatch.setenv("JUPYTERHUB_API_URL", f"http://127.0.0.1:{server.server_port}/hub/api")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t0")
    monkeypatch.delenv("JUPYTERHUB_PUBLIC_HUB_URL", raising=False)
    yield FakeHub
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_for_people_and_for_programs(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["volumes", "list"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "SIZE", "STATE", "USED", "BY", "FROM"]
    assert row.split() == ["data", "5Gi", "ready", "default"]
    assert main(["volumes", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [VOLUME]


def test_what_deletes_asks_and_without_a_terminal_refuses(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["volumes", "delete", "data", "--snapshot"]) == 1
    said = capsys.readouterr().err
    assert 'This deletes the volume "data" (5Gi) with its files, after a last snapshot.' in said
    assert "say --yes" in said
    assert not [each for each in hub.asked if each[0] == "DELETE"]
    assert main(["volumes", "delete", "data", "--snapshot", "--yes"]) == 0
    assert "snapshot: last" in capsys.readouterr().out


def test_a_refusal_is_told_in_the_hubs_words(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshots", "take", "data", "--name", "n"]) == 1
    assert capsys.readouterr().err == "No snapshot can be taken: x.\n"
    assert hub.asked[-1][2] == {"volume": "data", "name": "n"}
    assert main(["volumes", "list", "--hub", "http://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert main(["restore", "monday"]) == 1
    assert "--server NEW" in capsys.readouterr().err


def test_a_growth_that_failed_is_no_success(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {**VOLUME, "state": "growth_failed", "state_text": "could not grow to 20Ti: full"}
    hub.answers["PATCH /hub/api/users/ada/volumes/data"] = (202, failed)
    assert main(["volumes", "grow", "data", "20Ti"]) == 1
    assert capsys.readouterr().err == "data: could not grow to 20Ti: full\n"
    hub.answers["PATCH /hub/api/users/ada/volumes/data"] = (202, {**VOLUME, "state": "growing"})
    hub.answers["GET /hub/api/users/ada/storage"] = (200, {"version": "1"})
    hub.answers["GET /hub/api/users/ada/volumes/data"] = (200, failed)
    assert main(["volumes", "grow", "data", "20Ti"]) == 0
    assert main(["volumes", "grow", "data", "20Ti", "--wait"]) == 1


def test_of_two_snapshots_of_one_name_it_has_to_be_said_which(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    there = {"sets": [{"name": "mon"}], "snapshots": [{"name": "mon"}, {"name": "one"}]}
    hub.answers["GET /hub/api/users/ada/storage"] = (200, there)
    for kind, name in (("snapshots", "mon"), ("snapshot-sets", "mon"), ("snapshots", "one")):
        hub.answers[f"DELETE /hub/api/users/ada/{kind}/{name}"] = (202, {})
    assert main(["snapshots", "delete", "mon", "--yes"]) == 1
    assert "--of volume, or --of server" in capsys.readouterr().err
    assert not any(method == "DELETE" for method, *_ in hub.asked)
    for words, path in (
        (["mon", "--of", "volume"], "snapshots/mon"),
        (["mon", "--of", "server"], "snapshot-sets/mon"),
        (["one"], "snapshots/one"),
    ):
        assert main(["snapshots", "delete", *words, "--yes"]) == 0
        assert hub.asked[-1][:2] == ("DELETE", f"/hub/api/users/ada/{path}")


@pytest.mark.parametrize("whose", [[], ["--user", "ada"]])
def test_a_refused_token_is_told_with_the_way_out(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str], tmp_path: Path, whose: list[str]
) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("other\n")
    assert main(["volumes", "list", "--token-file", str(wrong), *whose]) == 1
    said = capsys.readouterr().err
    assert "refuses this token" in said
    assert "Token page" in said
    assert [each[:2] for each in hub.asked] == [("GET", "/hub/api/user")]


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (403, None, "refuses this token"),
        (403, "Forbidden", "refuses this token"),  # JupyterHub 5
        (403, "A quota does not allow it.", "A quota does not allow it.\n"),
        (404, None, "no API of volumes at http://127.0.0.1:"),
        (404, "Not Found", "set up kale-spawner"),
        (404, 'You have no volume "data".', 'You have no volume "data".\n'),
        (502, "", "The hub answered 502 Bad Gateway.\n"),
    ],
)
def test_a_refusal_without_words_is_given_some(
    hub: type[FakeHub],
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str | None,
    said: str,
) -> None:
    answer = {"status": status, "message": message}
    hub.answers["GET /hub/api/users/ada/volumes/data"] = (status, answer)
    assert main(["volumes", "show", "data"]) == 1
    assert said in capsys.readouterr().err


def test_a_restore_tells_the_new_volumes_and_where_one_sees_it_start(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/hub/spawn-pending/ada/lab"
    answer = {"server": "lab", "url": path, "volumes": {"work": "lab-work", "data": "lab-data"}}
    hub.answers["POST /hub/api/users/ada/snapshot-sets/monday/restore"] = (202, answer)
    origin = os.environ["JUPYTERHUB_API_URL"].removesuffix("/hub/api")

    def told(*more: str) -> str:
        assert main(["restore", "monday", "--server", "lab", *more]) == 0
        return capsys.readouterr().out

    assert "volumes: lab-work from work, lab-data from data\n" in told()
    assert f"url: {origin}{path}\n" in told()
    # As in a server: the hub's API is at an address of the cluster's.
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.example.org/hub/")
    assert f"url: https://hub.example.org{path}\n" in told()
    assert f"url: {origin}{path}\n" in told("--hub", origin)
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_HUB_URL", "")
    assert f"url: {path}\n" in told()
    assert json.loads(told("--json")) == answer


def test_a_new_volume_has_what_was_said_and_else_what_the_administrator_set(
    hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.answers["POST /hub/api/users/ada/volumes"] = (201, VOLUME)
    assert main(["volumes", "create", "data"]) == 0
    assert "name: data\n" in capsys.readouterr().out
    assert hub.asked[-1][2] == {"source": "new", "name": "data"}
    given = ["--size", "20Gi", "--storage-class", "fast", "--access-mode", "ReadWriteMany"]
    assert main(["volumes", "create", "data", *given]) == 0
    body = {"size": "20Gi", "storage_class": "fast", "access_mode": "ReadWriteMany"}
    assert hub.asked[-1][2] == {"source": "new", "name": "data", **body}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(len(str(each.help).split()) > 2 for each in action._choices_actions)
            assert len(action._choices_actions) == len(action.choices)
            for each in action.choices.values():
                yield from parsers(each)


def test_help_says_what_each_command_and_option_does() -> None:
    for parser in parsers(made_parser()):
        assert str(parser.description).endswith("."), parser.prog
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert len(str(action.help).split()) > 1, (parser.prog, action.dest)


def test_the_examples_of_the_help_are_commands() -> None:
    lines = str(made_parser().epilog).splitlines()
    examples = [shlex.split(line)[1:] for line in lines if line.startswith("  kale-spawner ")]
    assert {words[0] for words in examples} == {"volumes", "snapshots", "restore", "doctor"}
    for words in examples:
        made_parser().parse_args(words)


@pytest.mark.parametrize("given", [[], ["volumes"], ["volumes", "grow", "data"], ["nonsense"]])
def test_wrong_usage_is_2(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == 2


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    rows = [{"name": "a", "size": "10Gi"}, {"name": "longer", "size": None}]
    assert table(rows, ("name", "size")).splitlines() == ["NAME    SIZE", "a       10Gi", "longer"]


def test_the_doctor_names_what_mends() -> None:
    (old,) = _of_version((1, 28), KaleGateway())
    assert (old.state, "container" in old.mend) == ("missing", True)
    assert [each.state for each in _of_version((1, 29), KaleGateway())] == ["ok"]
    volumes = KaleVolumes(storage_class="rok-csi", storage_classes=["slow", "none"])
    classes = {
        "rok-csi": StorageClass("rok-csi", "rok", expandable=True),
        "slow": StorageClass("slow", "other"),
    }
    cluster = Cluster(classes, {"s": SnapshotClass("s", "rok")}, {})
    found = list(_of_classes(cluster, volumes, has_snapshots=True))
    assert [each.state for each in found] == [
        "ok",
        "ok",
        "ok",
        "ok",
        "warning",
        "warning",
        "missing",
    ]
    assert "kubectl patch storageclass slow" in found[4].mend
    made = json.loads(found[5].mend.partition("<<< ")[2].strip("'"))
    assert (made["kind"], made["driver"]) == ("VolumeSnapshotClass", "other")
    assert 'no storage class "none", only rok-csi, slow' in found[6].text
    assert [each.state for each in _of_classes(Cluster(), volumes, has_snapshots=True)] == [
        "warning"
    ]
    without = list(_of_classes(cluster, volumes, has_snapshots=False))
    assert "client/config/crd" in without[-1].mend
    assert not any("VolumeSnapshotClass" in each.text for each in without)


def test_images_are_looked_for_on_the_nodes() -> None:
    settings = Config({"KaleImages": {"tag": "1"}, "KaleGateway": {"image": "kale/gateway"}})
    kale = "gcr.io/arrikto/jupyter-kale-py38:1"
    nodes = [frozenset({kale}), frozenset({kale, "docker.io/kale/gateway:latest"})]
    jupyter, vscode, gateway = _of_images(settings, nodes)
    assert (jupyter.state, "on 2 of 2 nodes" in jupyter.text) == ("ok", True)
    assert (gateway.state, "on 1 of 2 nodes" in gateway.text) == ("ok", True)
    assert vscode.state == "warning"
    assert "kubectl run pulled --image=gcr.io/arrikto/vscode-kale-py38:1" in vscode.mend
    assert all("cannot be seen" in each.text for each in _of_images(settings, None))
    assert [each.state for each in _of_images(Config(), None)] == ["missing"]


def test_missing_rights_come_as_roles() -> None:
    lacking = [
        Right("", "pods", ("create",)),
        Right("snapshot.storage.k8s.io", "volumesnapshots", ("list",), needed=False),
        Right("", "persistentvolumes", ("get",), everywhere=True, needed=False, for_what="zones"),
    ]
    found = list(_of_rights(lacking, "users"))
    assert [each.state for each in found] == ["missing", "warning", "warning", "warning"]
    assert all(each.resource in found[-1].mend for each in RIGHTS)
    assert "nodes" not in found[-1].mend
    text = "\n".join(roles(lacking, "users"))
    assert text.count("kind: Role\n") == 1
    assert text.count("kind: ClusterRole\n") == 1
    assert "namespace: users" in text
    assert [each.state for each in _of_rights([], "users")] == ["ok"]
    assert any("patch" in each.verbs for each in RIGHTS)
