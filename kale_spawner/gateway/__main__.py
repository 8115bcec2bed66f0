"""`python3 -m kale_spawner.gateway`: nginx and the process that decides, until one of them ends.

Exits 0 after SIGTERM or SIGINT, 1 when nginx ends by itself, 2 when the environment is wrong.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from kale_spawner.gateway import nginx
from kale_spawner.gateway.errors import GatewayError
from kale_spawner.gateway.settings import Settings, read_settings

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
        if not settings.tls:
            # The standard library imports it wherever it is, and works without: 4 MiB less.
            sys.modules["ssl"] = None  # type: ignore[assignment]
        from kale_spawner.gateway.running import run

        return run(settings, door, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=0.8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


if __name__ == "__main__":
    sys.exit(main())
