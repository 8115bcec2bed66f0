"""What is asked of the API server once for all who want to know, and again after some seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Asked(Generic[_T]):
    """Answers by what was asked. seconds: for so long one is good."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[float, asyncio.Task[_T]]] = {}

    async def get(
        self, what: str, ask: Callable[[], Coroutine[Any, Any, _T]], *, fresh: bool = False
    ) -> _T:
        """The answer; with `fresh`, one that was asked for now. One that failed is not kept, and
        whoever is cancelled ends nobody else's waiting."""
        since, task = self._known.get(what, (0.0, None))
        outdated = fresh or time.monotonic() - since > self._seconds
        if task is None or (task.done() and (outdated or task.exception() is not None)):
            task = asyncio.ensure_future(ask())
            self._known[what] = time.monotonic(), task
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Ask anew for everything."""
        self._known.clear()
