"""What nginx asks, over a Unix socket: one question a connection.

SCGI, because both sides of it are short: names and values in, and out an answer as nginx expects
it from any CGI program. An HTTP server here would cost megabytes in every user's pod.
https://python.ca/scgi/protocol.txt
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

log = logging.getLogger("gateway")

_LONGEST = 1 << 20
_ONE_LINE = re.compile(r"[^\r\n\0]*")


@dataclass(frozen=True)
class Answer:
    """headers: in the order in which they are sent; a name may come more than once."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def encode(self) -> bytes:
        """Raise ValueError where a value would end its line: no header is made up by a client."""
        body = self.body.encode()
        lines = [("Status", f"{self.status} {HTTPStatus(self.status).phrase}"), *self.headers]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(("Content-Length", str(len(body))))
        for name, value in lines:
            if not _ONE_LINE.fullmatch(value):
                raise ValueError(f"the value of {name} is not one line")
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return f"{head}\r\n".encode("latin-1") + body


Answering = Callable[[Mapping[str, str]], Awaitable[Answer]]


async def serve(door: socket.socket, answer: Answering) -> asyncio.Server:
    """Call `answer` with what each connection to `door` says; what it raises becomes a 500.

    Values are bytes as they came, one character each (latin-1); empty ones are left out, because
    nginx says nothing and an empty string alike.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await _answered(answer, await _read(reader)))
            await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # nobody waits for the answer any more, or it was not nginx that asked
        finally:
            writer.close()

    return await asyncio.start_unix_server(converse, sock=door)


async def _read(reader: asyncio.StreamReader) -> dict[str, str]:
    length = int((await reader.readuntil(b":"))[:-1])
    if not 0 < length <= _LONGEST:
        raise ValueError("not a length that nginx sends")
    parts = (await reader.readexactly(length + 1)).decode("latin-1").split("\0")
    return {name: value for name, value in zip(parts[::2], parts[1::2], strict=False) if value}


async def _answered(answer: Answering, question: Mapping[str, str]) -> bytes:
    try:
        return (await answer(question)).encode()
    except Exception:
        # Without the question: it carries credentials.
        log.exception("a question could not be answered")
        return Answer(500).encode()
