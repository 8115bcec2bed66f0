"""An API server in this process that keeps a few kinds of objects, and can refuse and fail.

It speaks HTTP as the real one does, so that kubernetes_asyncio's own client calls it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api, StorageV1Api

from kale_spawner.kube.objects import Objects

Manifest = dict[str, Any]
NAMESPACE = "servers"
Trouble = Callable[[web.Request, "FakeApi"], Awaitable[web.StreamResponse]]


def status(code: int, message: str, reason: str = "") -> web.Response:
    """An error as the API server says it."""
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason}
    return web.json_response({**body, "message": message}, status=code)


@dataclass
class FakeApi:
    """troubles: what the next requests meet instead of an answer, one each.

    asked: method, path and query of each request.
    """

    core: CoreV1Api
    storage: StorageV1Api
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    kept: dict[tuple[str, str], Manifest] = field(default_factory=dict)

    def objects(self, attempt: float = 5.0, total: float = 30.0) -> Objects:
        return Objects(self.core, NAMESPACE, attempt, total)

    def keep(self, kind: str, manifest: Manifest) -> Manifest:
        metadata = {**manifest["metadata"], "uid": str(uuid.uuid4())}
        self.kept[kind, metadata["name"]] = {**manifest, "metadata": metadata}
        return self.kept[kind, metadata["name"]]

    def names(self, kind: str) -> set[str]:
        return {name for each, name in self.kept if each == kind}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.query)))
        if self.troubles:
            return await self.troubles.pop(0)(request, self)
        return await self.answer(request)

    async def answer(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info.get("name", "")
        body = await request.json() if request.can_read_body else {}
        if request.method == "POST":
            return self._create(kind, body, dry="dryRun" in request.query)
        if not name:
            return web.json_response({"items": self._selected(kind, request.query)})
        found = self.kept.get((kind, name))
        if found is None:
            return status(404, f'{kind} "{name}" not found', "NotFound")
        if request.method == "DELETE":
            uid = (body.get("preconditions") or {}).get("uid")
            if uid not in (None, found["metadata"]["uid"]):
                return status(409, f"the UID in the precondition ({uid}) does not match")
            del self.kept[kind, name]
        return web.json_response(found)

    def _create(self, kind: str, manifest: Manifest, dry: bool) -> web.Response:
        name = manifest["metadata"]["name"]
        if (kind, name) in self.kept:
            return status(409, f'{kind} "{name}" already exists', "AlreadyExists")
        made = manifest if dry else self.keep(kind, manifest)
        return web.json_response(made, status=201)

    def _selected(self, kind: str, query: Any) -> list[Manifest]:
        key, _, value = query.get("labelSelector", "").partition("=")
        return [
            manifest
            for (each, _), manifest in self.kept.items()
            if each == kind
            and (not key or manifest["metadata"].get("labels", {}).get(key) == value)
        ]


def refuses(code: int, message: str = "said by the server") -> Trouble:
    async def trouble(request: web.Request, api: FakeApi) -> web.StreamResponse:
        return status(code, message)

    return trouble


def says(body: bytes, promised: int = 0) -> Trouble:
    """Answer 200 with these bytes; with `promised`, as if more of them were to come."""

    async def trouble(request: web.Request, api: FakeApi) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = promised or len(body)
        await response.prepare(request)
        await response.write(body)
        if promised:
            return _ended(request, response)
        return response

    return trouble


async def hangs(request: web.Request, api: FakeApi) -> web.StreamResponse:
    """Never answer: whoever asked has to give up."""
    await asyncio.Event().wait()
    raise AssertionError


async def drops(request: web.Request, api: FakeApi) -> web.StreamResponse:
    """End the connection, having done nothing."""
    return _ended(request, web.Response())


async def loses(request: web.Request, api: FakeApi) -> web.StreamResponse:
    """Do it, and end the connection instead of saying so."""
    await api.answer(request)
    return _ended(request, web.Response())


def _ended(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return response


@asynccontextmanager
async def serving() -> AsyncIterator[FakeApi]:
    app = web.Application()
    server = TestServer(app)
    places = ("/api/v1", "/api/v1/namespaces/{namespace}", "/apis/storage.k8s.io/v1")

    async def handle(request: web.Request) -> web.StreamResponse:
        return await api.handle(request)

    for place in places:
        app.router.add_route("*", f"{place}/{{kind}}", handle)
        app.router.add_route("*", f"{place}/{{kind}}/{{name}}", handle)
    await server.start_server(shutdown_timeout=0.1)
    url = str(server.make_url("")).rstrip("/")
    async with ApiClient(Configuration(host=url)) as client:
        api = FakeApi(CoreV1Api(client), StorageV1Api(client))
        yield api
    await server.close()
