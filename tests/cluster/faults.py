"""A door in front of the real API server at which single calls can go wrong.

Calls are counted while it is armed; watches pass and do not count. A fault happens once, to the
call that it is meant for: what is tried again meets the real server.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

REFUSALS = {"403": 403, "409": 409, "422": 422, "429": 429, "500": 500}
FAULTS = (*REFUSALS, "hangs", "lost")
"""hangs: no answer, and nothing done. lost: it is done, and the answer does not come."""

KILLS = ("killed before", "killed after")
"""The hub's process is killed at this call: before it reaches the server, or once it is done."""

READING = ("403", "hangs")
"""What is only read is asked again or done without: two faults of it stand for all."""

QUICK: dict[str, Any] = {
    "KaleSpawner": {"delete_grace_period": 0, "k8s_api_request_timeout": 1, "start_timeout": 40},
    "KaleVolumes": {"max_data_volumes": 3},
}
"""Settings with which a call that hangs is soon asked again."""


@dataclass
class Door:
    """calls: those counted since `arm`, as "POST persistentvolumeclaims (dry run)". kill: ends
    whoever calls."""

    session: aiohttp.ClientSession
    target: str
    address: str = ""
    calls: list[str] = field(default_factory=list)
    kill: Callable[[], None] | None = None
    _at: int | str | None = None
    _fault: str = ""
    _armed: bool = False
    _held: list[asyncio.Event] = field(default_factory=list)

    def arm(self, at: int | str | None = None, fault: str = "") -> None:
        """Count from now on; the call of number `at` goes wrong, or the first of that name."""
        self.calls, self._at, self._fault, self._armed = [], at, fault, True

    def disarm(self) -> None:
        self._armed = False
        for event in self._held:
            event.set()
        self._held.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fault = ""
        if self._armed and "watch" not in request.query:
            name = _named(request)
            meant = self._at == len(self.calls) or (self._at == name and name not in self.calls)
            fault = self._fault if meant else ""
            self.calls.append(name)
        if fault in REFUSALS:
            return _status(REFUSALS[fault])
        if fault == "hangs":
            event = asyncio.Event()
            self._held.append(event)
            await event.wait()
            return _status(500)
        if fault in KILLS and self.kill is not None:
            if fault == "killed after":
                await self._passed(request, lost=True)
            self.kill()
            return _status(500)
        return await self._passed(request, lost=fault == "lost")

    async def _passed(self, request: web.Request, lost: bool) -> web.StreamResponse:
        body = await request.read()
        kept = ("Content-Type", "Accept")
        headers = {key: request.headers[key] for key in kept if key in request.headers}
        async with self.session.request(
            request.method, self.target + str(request.rel_url), data=body or None, headers=headers
        ) as answer:
            if lost:
                await answer.read()
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            try:
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (ConnectionError, aiohttp.ClientError):
                pass  # whoever asked, or the API server, is gone
            return response


@asynccontextmanager
async def door(kubeconfig: Path) -> AsyncIterator[Door]:
    """A door in front of the cluster of this kubeconfig."""
    server, context = _access(kubeconfig)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        made = Door(session, server)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", made.handle)
        listening = TestServer(app)
        await listening.start_server(shutdown_timeout=0.1)
        try:
            made.address = str(listening.make_url("")).rstrip("/")
            yield made
        finally:
            made.disarm()
            await listening.close()


def _access(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    content: dict[str, Any] = json.loads(kubeconfig.read_text())
    keys = kubeconfig.parent / "pki"
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(str(keys / "admin.crt"), str(keys / "admin.key"))
    return str(content["clusters"][0]["cluster"]["server"]), context


def _named(request: web.Request) -> str:
    path = re.sub(r"^/apis?(/[^/]+)?/v[^/]+(/namespaces/[^/]+)?/", "", request.path)
    kind, _, name = path.partition("/")
    dry = " (dry run)" if "dryRun" in request.query else ""
    return f"{request.method} {kind}{' NAME' if name else ''}{dry}"


def _status(code: int) -> web.Response:
    """As the API server would say it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return web.json_response({**body, "message": f"refused by the test ({code})"}, status=code)


def print_table(what: str, table: dict[tuple[str, str], str]) -> None:
    """For whoever reads the output: `pytest -s`."""
    print(f"\n{what}: {len(table)} faults")
    for (call, fault), said in table.items():
        print(f"  {call:45} {fault:6} {said[:110]}")
