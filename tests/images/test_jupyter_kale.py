"""jupyter-kale keeps the contract of Kubeflow's notebook images, and Kale works in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.processes import until

PREFIX = "/user/alice@example.org/lab-1/"

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": tags[0].replace(":", "-"),
            "metadata": {"tags": tags},
            "outputs": [],
            "source": [source],
        }
        for tags, source in (
            (["imports"], "import json"),
            (["step:load"], "numbers = [1, 2, 3]"),
            (["step:total", "prev:load"], "print(json.dumps(sum(numbers)))"),
        )
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def home(volume):
    path = volume()
    (path / ".bashrc").write_text("# my own\n")
    (path / "small.ipynb").write_text(json.dumps(NOTEBOOK))
    return path


@pytest.fixture(scope="module")
def server(image: Callable, start: Callable, home: Path):
    container = start(image("jupyter-kale"), home, NB_PREFIX=PREFIX, NOTEBOOK_HOST="127.0.0.1")
    container.wait(f"{PREFIX}api")
    return container


def test_serves_under_the_prefix_to_any_host_and_origin_without_a_token(server):
    foreign = {"Host": "hub.example.org", "Origin": "https://other.example.org"}
    page = server.get(f"{PREFIX}lab", foreign)
    assert page.status == 200
    assert '"jupyterlab-kubeflow-kale"' in page.text or "jupyterlab-kubeflow-kale/" in page.text
    assert server.get(f"{PREFIX}api/contents", foreign).status == 200
    assert server.get("/api", foreign).status == 404


def test_binds_to_the_host_it_is_told(server):
    assert server.listens_on() == {"127.0.0.1"}


def test_an_empty_home_gets_the_images_files_and_keeps_its_own(server, home):
    assert (home / ".bashrc").read_text() == "# my own\n"
    assert (home / ".profile").stat().st_uid == 1000


def test_the_kale_panel_is_enabled_and_no_news_is_asked_for(server):
    listing = re.sub(r"\x1b\[\d+m", "", server.run("jupyter", "labextension", "list"))
    assert re.search(r"jupyterlab-kubeflow-kale v2\.3\.0 enabled OK", listing)
    settings = server.get(f"{PREFIX}lab/api/settings/@jupyterlab/apputils-extension:notification")
    defaults = json.loads(settings.text)["schema"]["properties"]
    assert defaults["fetchNews"]["default"] == "false"
    assert defaults["checkForUpdates"]["default"] is False


def test_kale_compiles_a_notebook(server, home):
    server.run("kale", "--nb", "/home/jovyan/small.ipynb", "--pipeline_name", "small",
               "--output_path", "compiled")  # fmt: skip
    (script,) = (home / "compiled").glob("*.py")
    assert "def total_step" in script.read_text() or "def total" in script.read_text()


def test_a_busy_kernel_is_activity_and_being_asked_is_not(server):
    """Also when nobody watches the kernel any more."""
    assert server.last_activity("jupyter", PREFIX)
    assert server.stays_unused("jupyter", PREFIX)
    proof = {"Cookie": "_xsrf=x", "X-XSRFToken": "x"}
    made = server.get(f"{PREFIX}api/kernels", proof, method="POST")
    kernel = f"{PREFIX}api/kernels/{json.loads(made.text)['id']}"
    with server.open_socket(f"{kernel}/channels") as channels:
        channels.send(json.dumps(_execute("while True: pass")))
        until(lambda: _state(server, kernel) == "busy", "the kernel is busy")
    began = datetime.now(UTC)
    assert server.last_activity("jupyter", PREFIX) > began
    assert not server.stays_unused("jupyter", PREFIX)

    assert server.get(kernel, proof, method="DELETE").status == 204
    assert server.stays_unused("jupyter", PREFIX)


def _state(server, kernel: str) -> str:
    return json.loads(server.get(f"{kernel}?no_track_activity=1").text)["execution_state"]


def _execute(code: str) -> dict[str, Any]:
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
    message = {"header": header | {"username": "", "date": ""}, "parent_header": {}}
    return message | {"metadata": {}, "content": content, "buffers": [], "channel": "shell"}


def test_a_terminals_login_shell_finds_kale_and_its_tools(server):
    tools = ["kale", "python", "git", "less", "nano", "curl", "ssh", "ps"]
    found = server.run("bash", "-lc", f"command -v {' '.join(tools)}").split()
    assert [path.rsplit("/", 1)[1] for path in found] == tools
    assert found[0] == "/opt/kale/bin/kale"


def test_what_a_user_installs_goes_to_the_home(server):
    answer = server.run("python", "-c", "import site; print(site.ENABLE_USER_SITE)")
    assert answer.strip() == "True"


def test_listens_everywhere_by_default_and_stops_at_once_with_a_kernel(image, start, volume):
    container = start(image("jupyter-kale"), volume())
    container.wait("/api")
    assert container.listens_on() == {"0.0.0.0"}
    xsrf = {"Cookie": "_xsrf=same", "X-XSRFToken": "same"}
    assert container.get("/api/kernels", xsrf, method="POST").status == 201
    deadline = time.monotonic() + 30
    while "ipykernel_launcher" not in container.run("ps", "-eo", "args"):
        assert time.monotonic() < deadline
    assert container.stop() < 5
