"""JupyterHub's own HubOAuth in front of a trivial app: what the gateway is compared with.

`python -m tests.gateway.reference PORT`, in the environment of a server that the hub starts.
HubOAuth's `_xsrf` check is switched off: the apps behind the gateway have their own or none, and
the gateway asks for Origin instead.
"""

from __future__ import annotations

import asyncio
import os
import sys

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import Application, RequestHandler, authenticated
from tornado.websocket import WebSocketHandler


class Echo(HubOAuthenticated, RequestHandler):
    def check_xsrf_cookie(self) -> None:
        return

    @authenticated
    def get(self) -> None:
        self.write("in")

    post = get


class Socket(HubOAuthenticated, WebSocketHandler):
    def check_xsrf_cookie(self) -> None:
        return

    def check_origin(self, origin: str) -> bool:
        return True

    @authenticated
    async def get(self) -> None:
        await super().get()

    def open(self) -> None:
        self.write_message("in")


async def main(port: int) -> None:
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    routes = [("socket", Socket), ("oauth_callback", HubOAuthCallbackHandler), (".*", Echo)]
    Application([(prefix + p, h) for p, h in routes], cookie_secret=os.urandom(32)).listen(
        port, "127.0.0.1"
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
