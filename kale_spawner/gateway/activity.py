"""When the server was last used, told to the hub.

The truth is the app's where it knows it, else the proxied requests and what users send over open
WebSockets. A report is sent only when there is something newer than the last one said; that a
timer fired is no activity.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from datetime import UTC, datetime
from typing import Any

from kale_spawner.gateway.decision import Request
from kale_spawner.gateway.errors import HubUnavailable, NoAnswer
from kale_spawner.gateway.fetch import Fetcher
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.settings import Settings
from kale_spawner.gateway.sockets import OpenSockets

log = logging.getLogger("gateway")

_LOOK_SECONDS = 20.0


class Activity:
    """`saw_request` is called for every request that was decided, not for those which nginx let
    through on a decision of the last few seconds: a last use is thus reported at most
    `decision_seconds` too early, never too late. What flows inside an open WebSocket is seen
    within `_LOOK_SECONDS`.
    """

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self._settings = settings
        self._hub = hub
        self._http = Fetcher()
        looks = settings.kind.activity == "requests" and settings.activity_interval
        self._sockets = OpenSockets(settings.port) if looks else None
        self._last_use: datetime | None = None
        self._last_sent: datetime | None = None
        root = settings.prefix if settings.kind.prefix == "keep" else "/"
        self._app = f"http://127.0.0.1:{settings.kind.port}{root}"

    def saw_request(self, asked: Request) -> None:
        if asked.uri.partition("?")[0].endswith(self._settings.kind.polls):
            return
        self._last_use = datetime.now(UTC)
        if asked.websocket and self._sockets:
            self._sockets.let_in(asked.peer)

    async def run(self) -> None:
        """Report for ever, every `activity_interval` seconds with a tenth of jitter."""
        interval = self._settings.activity_interval
        if not interval or not self._settings.activity_url:
            log.warning("activity is not reported: the hub gave no address or interval for it")
            return
        while True:
            try:
                await self.report()
            except HubUnavailable as exc:
                log.warning("activity could not be reported: %s", exc)
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))

    async def look(self) -> None:
        """See whether WebSockets are used, for as long as that counts and the kernel tells."""
        while self._sockets:
            await asyncio.sleep(min(_LOOK_SECONDS, self._settings.activity_interval))
            try:
                if self._sockets.used():
                    self._last_use = datetime.now(UTC)
            except OSError as exc:
                log.warning("use of open WebSockets is not seen, only that of requests: %s", exc)
                self._sockets = None

    async def report(self) -> None:
        """Tell the hub if there was activity since the last report."""
        last = await self.last_activity()
        if last is None or (self._last_sent is not None and last <= self._last_sent):
            return
        await self._hub.post_activity(last.isoformat().replace("+00:00", "Z"))
        self._last_sent = last

    async def last_activity(self) -> datetime | None:
        """None when the app says that there was none, or says nothing."""
        source = self._settings.kind.activity
        if source == "requests":
            return self._last_use
        try:
            return await (self._jupyter() if source == "jupyter" else self._code_server())
        except (NoAnswer, ValueError, KeyError, TypeError) as exc:
            log.info("the app does not say when it was used: %s", type(exc).__name__)
            return None

    async def _jupyter(self) -> datetime:
        """A busy kernel is activity now: a long computation nobody watches is still use."""
        kernels = await self._get("api/kernels?no_track_activity=1")
        if any(kernel["execution_state"] == "busy" for kernel in kernels):
            return datetime.now(UTC)
        status = await self._get("api/status?no_track_activity=1")
        when = datetime.fromisoformat(status["last_activity"])
        return when if when.tzinfo else when.replace(tzinfo=UTC)

    async def _code_server(self) -> datetime | None:
        """None before its first request. Up to a minute old: code-server notes the first request,
        /healthz apart, of each minute; and a minute later it notes another if any connection is
        open then, whatever comes over it. So a tab that is left open is use to code-server for
        ever (as of 4.139).
        """
        heartbeat = (await self._get("healthz"))["lastHeartbeat"]
        return datetime.fromtimestamp(heartbeat / 1000, UTC) if heartbeat else None

    async def _get(self, path: str) -> Any:
        response = await self._http.fetch("GET", self._app + path)
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        return json.loads(response.body)
