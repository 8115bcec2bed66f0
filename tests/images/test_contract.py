"""What both notebook images owe to the contract of Kubeflow's, whatever runs in them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

ANSWERS = {"jupyter-kale": "/user/a/api", "vscode-kale": "/healthz"}
"""Images, and where they tell that they are up."""


@pytest.fixture(scope="module", params=ANSWERS)
def server(request, image, start, volume):
    container = start(image(request.param), volume(), NB_PREFIX="/user/a/", COLOURS="red & blue=2")
    container.wait(ANSWERS[request.param])
    return container


def app(server) -> int:
    """The process that the container is for: the one child of its first."""
    (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(child)


def test_the_app_is_jovyan_at_home(server):
    about = Path(f"/proc/{app(server)}/status").read_text().splitlines()
    status = {line.split(":")[0]: line.split(":")[1].split() for line in about}
    assert set(status["Uid"]) == {"1000"} and set(status["Gid"]) == {"0"}
    assert set(status["Groups"]) == {"100"}
    assert server.run("id", "-un").strip() == "jovyan"
    assert server.run("id", "-Gn", "jovyan").split() == ["root", "users"]
    assert server.run("readlink", "/proc/1/cwd").strip() == "/home/jovyan"


def test_the_app_gets_the_containers_environment(server):
    environment = Path(f"/proc/{app(server)}/environ").read_text().split("\0")
    assert {"COLOURS=red & blue=2", "HOME=/home/jovyan", "NB_PREFIX=/user/a/"} <= {*environment}


def test_orphans_are_reaped(server):
    server.run("sh", "-c", "sleep 0.1 &")
    deadline = time.monotonic() + 10
    while "sleep" in server.run("ps", "-eo", "comm"):
        assert time.monotonic() < deadline, server.run("ps", "-ef")
        time.sleep(0.05)
