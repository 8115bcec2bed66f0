"""Ask a pod's gateway for the app's first answer: one request that is held until then."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from kale_spawner.wire import READY_PATH, READY_WAIT_MAX

_log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


async def until_ready(server_url: str) -> None:
    """Return when the app behind the gateway at `server_url` (with prefix) has answered.

    A gateway that is not up yet refuses the connection, so that is asked again soon. It never
    gives up: whoever waits for it knows when to.
    """
    url = f"{server_url.rstrip('/')}/{READY_PATH}"
    timeout = aiohttp.ClientTimeout(total=READY_WAIT_MAX + 10, connect=5)
    pause = _FIRST_PAUSE
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                params = {"wait": str(READY_WAIT_MAX)}
                async with session.get(url, params=params, allow_redirects=False) as answer:
                    if answer.status == 204:
                        return
            except (TimeoutError, OSError, aiohttp.ClientError) as exc:
                _log.debug("%s: %s", url, exc)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
