"""HTTP requests of the gateway's own, to the hub and to the app."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kale_spawner.gateway.errors import NoAnswer

if TYPE_CHECKING:
    from ssl import SSLContext

_CONNECT_SECONDS = 5.0
_SECONDS = 15.0
_LONGEST = 4 << 20


@dataclass(frozen=True)
class Response:
    """headers.get(name) takes a name in any case."""

    status: int
    headers: HTTPMessage
    body: bytes


class Fetcher:
    """Asks with at most `at_once` requests at a time; the others wait.

    http.client in a thread a request: asyncio has no HTTP client. Not asyncio's own threads,
    because the process could not end before they do.
    """

    def __init__(self, at_once: int = 10) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def fetch(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> Response:
        """Any answer is one, whatever its status; redirects are not followed. Raise NoAnswer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()

        def settle(response: Response | None, error: Exception | None) -> None:
            if answer.done():
                return
            if response is None:
                answer.set_exception(error or NoAnswer("nothing"))
            else:
                answer.set_result(response)

        def work() -> None:
            response, error = None, None
            try:
                response = _ask(method, url, headers or {}, body)
            except (OSError, HTTPException, ValueError) as exc:
                error = NoAnswer(f"{type(exc).__name__}: {exc}")
                error.__cause__ = exc
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(settle, response, error)

        async with self._slots:
            Thread(target=work, daemon=True).start()
            try:
                async with asyncio.timeout(_CONNECT_SECONDS + _SECONDS):
                    return await answer
            except TimeoutError:
                raise NoAnswer("it takes too long") from None


def _ask(method: str, url: str, headers: Mapping[str, str], body: str | None) -> Response:
    parts = urlsplit(url)
    connection = _connection(parts.scheme == "https", parts.hostname or "", parts.port)
    try:
        connection.connect()
        connection.sock.settimeout(_SECONDS)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {"Connection": "close", **headers})
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read(_LONGEST))
    finally:
        connection.close()


def _connection(tls: bool, host: str, port: int | None) -> HTTPConnection:
    if not tls:
        return HTTPConnection(host, port or 80, timeout=_CONNECT_SECONDS)
    from http.client import HTTPSConnection

    return HTTPSConnection(host, port or 443, timeout=_CONNECT_SECONDS, context=_tls())


@functools.cache
def _tls() -> SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE."""
    import ssl

    return ssl.create_default_context()
