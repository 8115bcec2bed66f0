"""The one way in which this package calls the API server.

Every call has a time-out, is repeated while the server is out of reach or too busy, and fails
with an error of `kale_spawner.errors` and nothing else. Objects go in and come out as plain
manifests: a model of one Kubernetes client is gibberish to another.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException

from kale_spawner.errors import (
    ClusterError,
    Conflict,
    Denied,
    NotFound,
    Rejected,
    Unreachable,
)

Manifest = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
_log = logging.getLogger(__name__)
_BUSY = (408, 429, 500, 502, 503, 504)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0


async def call(
    method: Callable[..., Awaitable[Any]],
    *args: Any,
    attempt_seconds: float,
    total_seconds: float,
    **kwargs: Any,
) -> Manifest:
    """Call a method of a kubernetes_asyncio API and return its answer as plain JSON data.

    A call that changes something may have been done although its answer was lost; the next
    attempt then finds it done. So callers take Conflict after a create for "look whose it is",
    and NotFound after a delete for "done".
    """
    deadline = time.monotonic() + total_seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return await _attempt(method, args, kwargs, attempt_seconds)
        except Unreachable as exc:
            if time.monotonic() + pause > deadline:
                raise
            _log.warning("%s: %s; trying again", method.__name__, exc.detail or exc)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _attempt(
    method: Callable[..., Awaitable[Any]], args: Any, kwargs: Any, seconds: float
) -> Manifest:
    try:
        async with asyncio.timeout(seconds):
            response = await method(*args, _preload_content=False, **kwargs)
            status, body = response.status, await response.read()
    except ApiException as exc:
        raise translate(exc.status or 0, exc.body) from exc
    except (TimeoutError, OSError, aiohttp.ClientError) as exc:
        detail = f"{type(exc).__name__}: {exc}".rstrip(": ")
        raise Unreachable("The cluster does not answer; try again soon.", detail) from exc
    if status >= 400:
        raise translate(status, body)
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise Unreachable("The cluster's answer was cut off; try again soon.", str(exc)) from exc
    if not isinstance(answer, dict):
        raise ClusterError("The cluster's answer is not understood.", repr(answer)[:200])
    return answer


def translate(status: int, body: Any) -> ClusterError:
    """An error answer of the API server as one of ours; `detail` is the server's text."""
    detail = _message(body)
    if status == 404:
        return NotFound("This does not exist in the cluster.", detail, status)
    if status == 409:
        said = "This name is taken in the cluster, or was changed meanwhile; try again."
        return Conflict(said, detail, status)
    if status == 403:
        return Denied("The cluster does not allow this.", detail, status)
    if status in (400, 422):
        return Rejected("The cluster finds this invalid.", detail, status)
    if status in _BUSY:
        return Unreachable("The cluster is too busy; try again soon.", detail, status)
    return ClusterError("The cluster refused the request.", detail, status)


def _message(body: Any) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
