"""What is asked for twice in one moment, on a real hub: done once, and told as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.web.browserless import Answer, call
from tests.web.conftest import Cluster, Hub
from tests.web.test_hub import server, stop, until


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.clear()
    until(lambda: not cluster.pods() and not cluster.claims())


def at_once(hub: Hub, *paths: str, body: dict[str, Any]) -> list[Answer]:
    """All of them POSTed side by side; those that succeeded first."""
    call(hub.url, hub.token, "POST", "/users/ida")
    with ThreadPoolExecutor(len(paths)) as pool:
        asked = [pool.submit(call, hub.url, hub.token, "POST", path, body) for path in paths]
    return sorted((each.result() for each in asked), key=lambda answer: answer.status)


def test_two_starts_of_one_server_make_one(hub: Hub, cluster: Cluster) -> None:
    body = {"workspace": {"name": "ida-work", "size": "3Gi"}}
    answers = at_once(hub, *["/users/ida/servers/lab"] * 2, body=body)
    # JupyterHub tells the second one, too, that the server is being started.
    assert [each.status for each in answers] == [202, 202]
    assert server(hub, "ida", "lab")["pending"] == "spawn"
    until(cluster.pods)
    assert len(cluster.pods()) == 1
    assert cluster.claims() == {"ida-work": "3Gi"}
    stop(hub, "ida", "lab")


def test_of_two_servers_that_ask_for_one_new_volume_one_is_told(hub: Hub, cluster: Cluster) -> None:
    body = {"workspace": {"name": "ida-work", "size": "3Gi"}}
    paths = [f"/users/ida/servers/{name}" for name in ("one", "two")]
    done, refused = at_once(hub, *paths, body=body)
    assert (done.status, refused.status) == (202, 409), refused.text
    said = re.search(r'"ida-work" is being made for server (one|two)', refused.json["message"])
    assert said, refused.text
    until(cluster.pods)
    assert len(cluster.pods()) == 1
    assert server(hub, "ida", said[1])["pending"] == "spawn"
    assert cluster.claims() == {"ida-work": "3Gi"}
    # Who asks for a volume that is there mounts it.
    other = {"one": "two", "two": "one"}[said[1]]
    body = {"workspace": {"source": "existing", "name": "ida-work"}}
    again = call(hub.url, hub.token, "POST", f"/users/ida/servers/{other}", body)
    assert again.status in (201, 202), again.text  # after a failed start JupyterHub says 201
    until(lambda: len(cluster.pods()) == 2)
    for name in ("one", "two"):
        stop(hub, "ida", name)


def test_of_two_new_volumes_of_one_name_one_is_refused_by_name(hub: Hub, cluster: Cluster) -> None:
    body = {"name": "ida-data", "size": "3Gi"}
    done, refused = at_once(hub, *["/users/ida/volumes"] * 2, body=body)
    assert done.status == 201, done.text
    assert refused.status in (400, 409), refused.text
    assert "ida-data" in refused.json["message"]
    assert cluster.claims() == {"ida-data": "3Gi"}
