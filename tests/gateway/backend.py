"""An app as Kubeflow's images have it: no authentication, and many ways to answer.

`python -m tests.gateway.backend PORT ROOT`
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from typing import Any

from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

STATUS: dict[str, Any] = {"last_activity": "2020-01-02T03:04:05.000000Z", "kernels": []}


class Echo(RequestHandler):
    """What arrived, as JSON."""

    def _answer(self, *_: Any) -> None:
        self.set_cookie("mine", "1", path=self.get_query_argument("cookie_path", "/"))
        self.set_header("X-JupyterHub-Version", "not the app's to say")
        headers: dict[str, list[str]] = {}
        for name, value in self.request.headers.get_all():
            headers.setdefault(name.lower(), []).append(value)
        self.write(
            {"method": self.request.method, "uri": self.request.uri, "headers": headers}
            | {"body": self.request.body.decode("latin1")}
        )

    get = post = put = patch = delete = _answer


class Socket(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def open(self) -> None:
        headers = {k.lower(): v for k, v in self.request.headers.get_all()}
        self.write_message(json.dumps({"uri": self.request.uri, "headers": headers}))

    def on_message(self, message: str | bytes) -> None:
        """An echo, or as many bytes as are asked for by `give NUMBER`."""
        if isinstance(message, str) and message.startswith("give "):
            message = "x" * int(message[5:])
        self.write_message(message, binary=isinstance(message, bytes))


class Gzip(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Encoding", "gzip")
        self.write(gzip.compress(b"squeezed " * 100))


class Redirect(RequestHandler):
    def get(self) -> None:
        self.set_status(302)
        self.set_header("Location", self.get_query_argument("to"))


class Says(RequestHandler):
    """Whatever headers it is asked to send."""

    def get(self) -> None:
        for name in self.request.query_arguments:
            self.set_header(name, self.get_query_argument(name))
        self.write("said")


class Events(RequestHandler):
    """One event, then nothing until the client has gone: it must arrive at once."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.write("data: first\n\n")
        await self.flush()
        await asyncio.sleep(float(self.get_query_argument("hold", "0")))


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 40)  # type: ignore[union-attr]
        self.size = 0

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def put(self) -> None:
        self.write({"size": self.size})


class Download(RequestHandler):
    async def get(self) -> None:
        for _ in range(int(self.get_query_argument("mib"))):
            self.write(b"x" * (1 << 20))
            await self.flush()


class Status(RequestHandler):
    """/api/status and /api/kernels of a Jupyter server; PUT says what they shall say."""

    def get(self, what: str) -> None:
        if what == "status":
            self.write({"last_activity": STATUS["last_activity"]})
        else:
            self.write(json.dumps(STATUS["kernels"]))

    def put(self, what: str) -> None:
        STATUS.update(json.loads(self.request.body))


class Crash(RequestHandler):
    def get(self) -> None:
        os._exit(3)


async def main(port: int, root: str) -> None:
    routes: list[Any] = [
        ("socket", Socket),
        ("gzip", Gzip),
        ("redirect", Redirect),
        ("says", Says),
        ("events", Events),
        ("upload", Upload),
        ("download", Download),
        ("api/(status|kernels)", Status),
        ("crash", Crash),
        (".*", Echo),
    ]
    Application([(root + path, handler) for path, handler in routes]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
