"""The REST API of volumes on a real hub: scopes, refusals, and whatever may be sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.web.browserless import call
from tests.web.conftest import Cluster, Hub

SCOPES = {
    "own": [],
    "reading": ["read:servers!user"],
    "culling": ["delete:servers!user", "read:users:activity!user"],
}


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.clear()


def token(hub: Hub, user: str, kind: str = "own") -> str:
    call(hub.url, hub.token, "POST", f"/users/{user}")
    body = {"scopes": SCOPES[kind]} if SCOPES[kind] else {}
    answer = call(hub.url, hub.token, "POST", f"/users/{user}/tokens", body)
    assert answer.status == 201, answer.text
    return str(answer.json["token"])


def test_a_volume_is_made_seen_and_deleted(hub: Hub, cluster: Cluster) -> None:
    ann = token(hub, "ann")
    base = "/users/ann/volumes"
    made = call(hub.url, ann, "POST", base, {"name": "letters", "size": "2Gi"})
    assert made.status == 201, made.text
    assert (made.json["name"], made.json["size"], made.json["state"]) == ("letters", "2Gi", "new")
    assert cluster.claims() == {"letters": "2Gi"}
    assert call(hub.url, ann, "GET", f"{base}/letters").json == made.json
    state = call(hub.url, ann, "GET", "/users/ann/storage").json
    assert [each["name"] for each in state["volumes"]] == ["letters"]
    again = call(hub.url, ann, "POST", base, {"name": "letters", "size": "2Gi"})
    assert again.json["errors"][0]["field"] == "name"
    grow = call(hub.url, ann, "PATCH", f"{base}/letters", {"size": "3Gi"})
    assert (grow.status, grow.json["errors"][0]["field"]) == (400, "size")
    taken = call(hub.url, ann, "POST", "/users/ann/snapshots", {"volume": "letters"})
    assert taken.status == 409
    assert "no content yet" in taken.json["message"]
    gone = call(hub.url, ann, "DELETE", f"{base}/letters")
    assert (gone.status, gone.json) == (202, {"snapshot": None})


def test_a_long_poll_answers_when_something_changes(hub: Hub, cluster: Cluster) -> None:
    ann = token(hub, "ann")
    seen = call(hub.url, ann, "GET", "/users/ann/storage").json["version"]
    same = call(hub.url, ann, "GET", f"/users/ann/storage?wait=0.2&seen={seen}")
    assert same.json["version"] == seen
    cluster.claim("later", "ann")
    changed = call(hub.url, ann, "GET", f"/users/ann/storage?wait=20&seen={seen}").json
    assert [each["name"] for each in changed["volumes"]] == ["later"]
    for wrong in ("31", "-1", "nan", "x", "inf"):
        assert call(hub.url, ann, "GET", f"/users/ann/storage?wait={wrong}").status == 400


@pytest.mark.parametrize(
    ("kind", "read", "change"), [("own", 200, 201), ("reading", 200, 403), ("culling", 403, 403)]
)
def test_scopes(hub: Hub, cluster: Cluster, kind: str, read: int, change: int) -> None:
    given = token(hub, "ann", kind)
    assert call(hub.url, given, "GET", "/users/ann/volumes").status in (
        read,
        404 if read == 403 else read,
    )
    body = {"name": f"of-{kind}", "size": "1Gi"}
    made = call(hub.url, given, "POST", "/users/ann/volumes", body)
    assert made.status in (change, 404 if change == 403 else change), made.text
    assert set(cluster.claims()) == ({f"of-{kind}"} if change == 201 else set())


def test_nobody_sees_or_touches_what_is_anothers(hub: Hub, cluster: Cluster) -> None:
    ann, _ = token(hub, "ann"), token(hub, "bob")
    cluster.claim("secret", "bob")
    for method, path, body in (
        ("GET", "/users/bob/storage", None),
        ("GET", "/users/bob/volumes/secret", None),
        ("PATCH", "/users/bob/volumes/secret", {"size": "20Gi"}),
        ("DELETE", "/users/bob/volumes/secret", None),
        ("GET", "/users/ann/volumes/secret", None),
        ("PATCH", "/users/ann/volumes/secret", {"size": "20Gi"}),
        ("DELETE", "/users/ann/volumes/secret", None),
        ("POST", "/users/ann/snapshots", {"volume": "secret"}),
        ("GET", "/users/nobody/storage", None),
    ):
        answer = call(hub.url, ann, method, path, body)
        assert answer.status in (403, 404), (method, path, answer.text)
        assert "bob" not in answer.text
    taken = call(hub.url, ann, "POST", "/users/ann/volumes", {"name": "secret", "size": "1Gi"})
    assert taken.status == 409
    assert cluster.claims() == {"secret": "10Gi"}
    assert call(hub.url, "", "GET", "/users/ann/storage").status == 403
    admin = call(hub.url, hub.token, "GET", "/users/bob/volumes")
    assert [each["name"] for each in admin.json["volumes"]] == ["secret"]


def test_a_page_of_another_site_cannot_change_anything(hub: Hub, cluster: Cluster) -> None:
    visitor = hub.visitor("ann")
    assert visitor.get("/hub/api/users/ann/volumes").status == 200
    answer = visitor.post("/hub/api/users/ann/volumes", {"name": "x", "size": "1Gi"})
    assert answer.status == 403
    assert cluster.claims() == {}


def test_the_document_names_every_handler(hub: Hub) -> None:
    document = call(hub.url, "", "GET", "/kale-spawner/openapi.json").json
    assert document["openapi"] == "3.1.0"
    ann = token(hub, "ann")
    for path, operations in document["paths"].items():
        for verb in operations:
            place = path.replace("{user}", "ann").replace("{name}", "none")
            answer = call(hub.url, ann, verb.upper(), place, {} if verb != "get" else None)
            # Not 405, nor JupyterHub's own answer for paths that it does not know.
            assert answer.status in (200, 400, 404, 409), (verb, path, answer.text)
            if answer.status == 404:
                assert "You have no" in answer.json["message"], (verb, path)
    text = json.dumps(document)
    for reference in {each.split('"')[0] for each in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]
