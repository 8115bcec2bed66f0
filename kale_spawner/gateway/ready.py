"""Whether the app answers."""

from __future__ import annotations

import asyncio

from kale_spawner.gateway.errors import NoAnswer
from kale_spawner.gateway.fetch import Fetcher
from kale_spawner.gateway.settings import Settings

_PAUSE = 0.05


class AppWatch:
    """Asks the app until it answers, and again after somebody saw it fail.

    started: the app has answered at least once; it never goes back.
    alive: the app's last known state.
    """

    def __init__(self, settings: Settings) -> None:
        kind = settings.kind
        root = settings.prefix.rstrip("/") if kind.prefix == "keep" else ""
        self._url = f"http://127.0.0.1:{kind.port}{root}{kind.ready_path}"
        self._http = Fetcher()
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.started = False

    @property
    def alive(self) -> bool:
        return self._answered.is_set()

    def look(self) -> None:
        """The app is not known to answer (any more): ask it until it does."""
        self._answered.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())

    async def wait(self, seconds: float) -> bool:
        """Return `alive` as soon as it is True, or after that many seconds."""
        if seconds > 0 and not self.alive:
            try:
                async with asyncio.timeout(seconds):
                    await self._answered.wait()
            except TimeoutError:
                pass
        return self.alive

    async def _ask(self) -> None:
        while True:
            try:
                response = await self._http.fetch("GET", self._url)
            except NoAnswer:
                pass
            else:
                if response.status < 500:
                    self.started = True
                    self._answered.set()
                    return
            await asyncio.sleep(_PAUSE)
