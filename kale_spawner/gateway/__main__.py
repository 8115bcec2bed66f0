"""`python3 -m kale_spawner.gateway`: nginx and the process that decides, until one of them ends.

Exits 0 after SIGTERM or SIGINT, 1 when nginx ends by itself, 2 when the environment is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kale_spawner.gateway import nginx
from kale_spawner.gateway.errors import GatewayError, HubUnavailable
from kale_spawner.gateway.settings import Settings, read_settings

if TYPE_CHECKING:
    from kale_spawner.gateway.hub import Hub

log = logging.getLogger("gateway")


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="gateway: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = read_settings(os.environ)
        with tempfile.TemporaryDirectory(prefix="gateway-") as name:
            return _run(settings, Path(name))
    except GatewayError as exc:
        log.error("%s", exc)
        return 2


def _run(settings: Settings, folder: Path) -> int:
    """nginx is started before the rest is imported; until then its questions wait."""
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(folder / "decide.sock"))
    door.listen(512)
    door.setblocking(False)
    process = nginx.start(settings, folder)
    try:
        return asyncio.run(_serve(settings, door, process))
    finally:
        process.terminate()
        try:
            process.wait(timeout=0.8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


async def _serve(settings: Settings, door: socket.socket, process: subprocess.Popen[bytes]) -> int:
    from tornado.httpserver import HTTPServer

    from kale_spawner.gateway.activity import Activity
    from kale_spawner.gateway.app import make_app
    from kale_spawner.gateway.cookies import CookieJar
    from kale_spawner.gateway.decision import Door
    from kale_spawner.gateway.handler import Gateway
    from kale_spawner.gateway.hub import Hub
    from kale_spawner.gateway.ready import AppWatch

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _settle, ended, 0)
    loop.add_reader(os.pidfd_open(process.pid), _settle, ended, 1)
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    loop.add_reader(process.stderr.fileno(), _copy_log, process.stderr.fileno())

    jar = CookieJar(settings.client_id, settings.api_token, settings.host_prefix)
    hub = Hub(settings)
    watch = AppWatch(settings)
    activity = Activity(settings, hub)
    gateway = Gateway(settings, jar, hub, Door(settings, jar, hub), watch, activity)
    HTTPServer(make_app(gateway)).add_socket(door)
    watch.look()
    tasks = [loop.create_task(activity.run()), loop.create_task(_learn_version(hub))]
    code = await ended
    for task in tasks:
        task.cancel()
    if code:
        log.error("nginx ended by itself, status %s", process.poll())
    return code


def _settle(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)


def _copy_log(fd: int) -> None:
    """nginx's error log goes to ours, without query strings."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return
    if not data:
        asyncio.get_running_loop().remove_reader(fd)
    sys.stderr.buffer.write(nginx.redact(data))
    sys.stderr.buffer.flush()


async def _learn_version(hub: Hub) -> None:
    for _ in range(60):
        try:
            await hub.learn_version()
            return
        except HubUnavailable:
            await asyncio.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
