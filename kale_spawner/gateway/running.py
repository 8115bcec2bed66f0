"""What the process does from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from functools import partial

from kale_spawner.gateway import nginx, scgi
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.app import answer
from kale_spawner.gateway.cookies import CookieJar
from kale_spawner.gateway.decision import Door
from kale_spawner.gateway.errors import HubUnavailable
from kale_spawner.gateway.handler import Gateway
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.ready import AppWatch
from kale_spawner.gateway.settings import Settings

log = logging.getLogger("gateway")


def run(settings: Settings, door: socket.socket, process: subprocess.Popen[bytes]) -> int:
    """Answer at `door` until a signal, or nginx's end, says to stop; return the exit status."""
    return asyncio.run(_serve(settings, door, process))


async def _serve(settings: Settings, door: socket.socket, process: subprocess.Popen[bytes]) -> int:
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
    server = await scgi.serve(door, partial(answer, gateway))
    watch.look()
    work = (activity.run(), activity.look(), _learn_version(hub))
    tasks = [loop.create_task(part) for part in work]
    code = await ended
    for task in tasks:
        task.cancel()
    server.close()
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
