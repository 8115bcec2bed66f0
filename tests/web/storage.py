"""A stand-in for the storage API, between a page and its hub: it can refuse, hang, drop, change."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from playwright.sync_api import Page, Route

from kale_spawner.web.volumes_page import EMPTY

GIB = 1 << 30
Answer = tuple[int, dict[str, Any]]


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds")


def volume(name: str, gib: int = 10, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "size": f"{gib}Gi",
        "size_bytes": gib * GIB,
        "wanted_size": None,
        "state": "ready",
        "state_text": "ready",
        "storage_class": "rok-csi",
        "access_modes": ["ReadWriteOnce"],
        "created": ago(days=3),
        "servers": [],
        "used_elsewhere": False,
        "mount": None,
        "origin": None,
        "origin_text": "",
        "usage": None,
        "can_grow": True,
        "why_not_grow": "",
        "shared": None,
    } | changes


def snapshot(name: str, of: str, gib: int = 10, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "volume": of,
        "size": f"{gib}Gi",
        "size_bytes": gib * GIB,
        "state": "ready",
        "state_text": "ready",
        "created": ago(days=1),
        "taken": ago(days=1),
        "set": "",
        "reason": "",
        "shared": None,
    } | changes


def snapshot_set(name: str, server: str, volumes: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "server": server,
        "created": ago(hours=5),
        "state": "ready",
        "state_text": "ready",
        "kind": "each",
        "kind_text": "one after the other",
        "snapshots": [f"{name}-{each}" for each in volumes],
        "volumes": volumes,
        "size": 10 * GIB * len(volumes),
        "reason": "",
        "restorable": True,
        "choice": {"profile": "jupyter-kale"},
    } | changes


class FakeStorage:
    """`state` is what the API tells; `changed()` lets a page that waits know of it.

    deeds: what was asked for, as (method, path, query, body). refuse: the next deed is answered
    with this. broken: "" or "drop" (no answer at all), "page" (a proxy's), "login", "hang".
    """

    def __init__(self, page: Page, user: str = "ann") -> None:
        self.state: dict[str, Any] = {**copy.deepcopy(EMPTY), "version": "1"}
        self.deeds: list[tuple[str, str, str, Any]] = []
        self.refuse: Answer | None = None
        self.broken = ""
        self.polls = 0
        self.on_deed: Callable[[str, str, Any], Answer | None] = lambda *_: None
        self._waiting: list[tuple[Route, str]] = []
        self._stem = f"/hub/api/users/{user}/"
        page.route(re.compile(re.escape(self._stem)), self._asked)

    def changed(self, **parts: Any) -> None:
        self.state |= parts
        self.state["version"] = str(int(self.state["version"]) + 1)
        waiting, self._waiting = self._waiting, []
        for route, _ in waiting:
            self._tell(route, 200, self.state)

    def heal(self) -> None:
        self.broken = ""

    def _asked(self, route: Route) -> None:
        request = route.request
        assert request.headers.get("x-xsrftoken"), "the hub would refuse it"
        url = urlsplit(request.url)
        path = unquote(url.path.removeprefix(self._stem))
        read = request.method == "GET"
        self.polls += read
        if not read:
            body = json.loads(request.post_data) if request.post_data else None
            self.deeds.append((request.method, path, url.query, body))
        if self.broken == "drop":
            route.abort()
        elif self.broken == "page":
            route.fulfill(status=503, body="<h1>Bad gateway</h1>", content_type="text/html")
        elif self.broken == "login":
            self._tell(route, 403, {"status": 403, "message": "Missing or invalid credentials."})
        elif self.broken == "hang":
            self._waiting.append((route, "never"))
        elif read and f"seen={self.state['version']}" in url.query.split("&"):
            self._waiting.append((route, url.query))
        elif read and path.endswith("/restore"):
            server = parse_qs(url.query)["server"][0]
            called = "w-r1124-1922" if server == "lab" else f"ann--{server}-data-1"
            self._tell(route, 200, {"volumes": {"w": called}})
        elif read:
            self._tell(route, 200, self.state)
        elif self.refuse:
            (status, body), self.refuse = self.refuse, None
            self._tell(route, status, {"status": status, **body})
        else:
            answer = self.on_deed(request.method, path, body) or self._do(
                request.method, path, body
            )
            self._tell(route, *answer)

    def _do(self, method: str, path: str, body: Any) -> Answer:
        """Say yes, as the contract has it, without doing it."""
        kind, *rest = path.split("/")
        if method == "DELETE":
            return 202, {"snapshot": None}
        if rest[1:] == ["restore"]:
            made = {"data-1": "data-1-restored"}
            url = f"/hub/spawn-pending/ann/{body['server']}"
            return 202, {"server": body["server"], "url": url, "volumes": made}
        if method == "PATCH":
            return 202, volume(rest[0], state="growing", wanted_size=body["size"])
        if kind == "volumes":
            return 201, volume(body["name"], state="preparing")
        if kind == "snapshots":
            return 201, snapshot(body["name"], body["volume"], state="taking")
        return 201, snapshot_set(body["name"], body["server"], ["data-1"], state="taking")

    def _tell(self, route: Route, status: int, body: dict[str, Any]) -> None:
        route.fulfill(status=status, json=body)


def realistic() -> dict[str, Any]:
    """The state of somebody who has worked for a while."""
    used = {"used_bytes": int(3.2 * GIB), "capacity_bytes": 10 * GIB}
    full = {"used_bytes": int(18.9 * GIB), "capacity_bytes": 20 * GIB}
    return {
        "volumes": [
            volume(
                "ann-workspace",
                servers=[""],
                mount="/home/jovyan",
                usage=used,
                created=ago(days=120),
            ),
            volume(
                "ann--lab-workspace",
                servers=["lab"],
                mount="/home/jovyan",
                usage=used | {"used_bytes": GIB // 3},
                created=ago(days=41),
            ),
            volume(
                "ann-data-1",
                20,
                servers=["", "lab"],
                mount="/home/jovyan/data-1",
                usage=full,
                created=ago(days=119),
            ),
            volume(
                "ann-birds",
                200,
                mount="/home/jovyan/birds",
                created=ago(days=12),
                can_grow=False,
                why_not_grow="the class rok-old does not allow growth; an administrator can turn it on",
            ),
            volume(
                "ann-data-1-clone",
                20,
                state="preparing",
                state_text="being made: the copy is under way",
                created=ago(minutes=1),
                origin={"source": "clone", "name": "ann-data-1"},
                origin_text="clone of ann-data-1, of Tuesday",
            ),
            volume(
                "ann-models",
                50,
                state="growing",
                state_text="growing: the file system follows",
                wanted_size="80Gi",
                servers=["lab"],
                created=ago(days=60),
            ),
            volume(
                "ann-birds-restored",
                200,
                state="new",
                state_text="new: made at its first use",
                created=ago(hours=2),
                origin={"source": "snapshot", "name": "ann-birds-20261120-0900"},
                origin_text="ann-birds as of Friday, from snapshot ann-birds-20261120-0900",
            ),
            volume(
                "ann-old",
                state="lost",
                state_text="lost: its disk is not there any more",
                created=ago(days=400),
            ),
        ],
        "snapshots": [
            snapshot("ann-data-1-20261123-1812", "ann-data-1", 20, taken=ago(hours=20)),
            snapshot("ann-birds-20261120-0900", "ann-birds", 200, taken=ago(days=4)),
            snapshot(
                "ann-workspace-20261124-1405",
                "ann-workspace",
                state="taking",
                state_text="being taken",
                taken=None,
                created=ago(seconds=20),
            ),
            snapshot(
                "lab-friday-ann--lab-workspace",
                "ann--lab-workspace",
                set="lab-friday",
                taken=ago(days=4),
            ),
            snapshot(
                "lab-friday-ann-models",
                "ann-models",
                50,
                set="lab-friday",
                reason="stop",
                taken=ago(days=4),
            ),
            snapshot("ann-gone-last", "ann-gone", reason="delete", taken=ago(days=30)),
        ],
        "sets": [
            snapshot_set("lab-friday", "lab", ["ann--lab-workspace", "ann-models"], reason="stop"),
            snapshot_set(
                "before-upgrade",
                "",
                ["ann-workspace", "ann-data-1"],
                kind="group",
                kind_text="at one instant",
                state="incomplete",
                state_text="incomplete: the snapshot of ann-data-1 failed",
                restorable=False,
                created=ago(days=31),
            ),
        ],
        "shared": {
            "volumes": [
                volume(
                    "imagenet",
                    150,
                    mount="/shared/imagenet",
                    shared={
                        "groups": None,
                        "writable": False,
                        "description": "ImageNet 2012, unpacked",
                    },
                )
            ],
            "snapshots": [
                snapshot(
                    "course-2026",
                    "course",
                    5,
                    shared={
                        "groups": ["course"],
                        "writable": False,
                        "description": "Start of the course: notebooks and data",
                    },
                )
            ],
        },
        "servers": [
            {"name": "", "running": True, "volumes": ["data-1"]},
            {"name": "lab", "running": True, "volumes": ["data-1"]},
            {"name": "big", "running": False, "volumes": ["data-1"]},
        ],
    }
