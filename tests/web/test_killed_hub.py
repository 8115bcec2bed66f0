"""What a hub leaves to the next one, when it is killed in the midst of a start."""

from __future__ import annotations

from pathlib import Path

from tests.web.browserless import call
from tests.web.conftest import Cluster, running_hub
from tests.web.test_hub import until


def test_the_next_hub_knows_what_the_server_was_started_with(
    cluster: Cluster, tmp_path: Path
) -> None:
    lines = "c.JupyterHub.cleanup_servers = False"
    with running_hub(cluster, tmp_path, lines) as hub:
        call(hub.url, hub.token, "POST", "/users/kim")
        body = {"workspace": {"name": "kim-work", "size": "3Gi"}}
        started = call(hub.url, hub.token, "POST", "/users/kim/server", body)
        assert started.status == 202, started.text
        until(cluster.pods)
        hub.process.kill()
        hub.process.wait()
    try:
        with running_hub(cluster, tmp_path, lines) as hub:
            state = call(hub.url, hub.token, "GET", "/users/kim/storage").json
            (server,) = state["servers"]
            assert server["volumes"] == ["kim-work"]
            model = call(hub.url, hub.token, "GET", "/users/kim?include_stopped_servers").json
            assert model["servers"][""]["user_options"]["workspace"]["name"] == "kim-work"
    finally:
        cluster.clear()
        until(lambda: not cluster.pods() and not cluster.claims())
