"""A spawner that starts an app and the gateway in front of it as plain processes.

The server's name says which: `ref` is the reference, `strip` an app at /, `jup` one whose
activity is Jupyter's; any other is a plain app under its prefix.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jupyterhub.spawner import Spawner

from kale_spawner.wire import KIND_ENV, ServerKind
from tests.gateway import processes


class TinySpawner(Spawner):
    _running = ()

    async def start(self) -> tuple[str, int]:
        folder = Path(os.environ["TINY_FOLDER"])
        log = folder / f"{self.user.id}-{self.name}.log"
        port, app_port = processes.free_port(), processes.free_port()
        env = self.get_env() | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(processes.ROOT),
            "PYTHONWARNINGS": "error",
        }
        prefix = env["JUPYTERHUB_SERVICE_PREFIX"]
        if self.name == "ref":
            env.pop("PYTHONWARNINGS")
            argv = [sys.executable, "-m", "tests.gateway.reference", str(port)]
            self._running = (processes.start(argv, env, log),)
            return "127.0.0.1", port
        strip = self.name == "strip"
        kind = ServerKind(
            self.name or "plain",
            port=app_port,
            prefix="strip" if strip else "keep",
            prefix_header="X-RStudio-Root-Path" if strip else "",
            activity="jupyter" if self.name == "jup" else "requests",
            polls=("/polled",),
        )
        root = "/" if strip else prefix
        app = [sys.executable, "-m", "tests.gateway.backend", str(app_port), root]
        gateway = [sys.executable, "-m", "kale_spawner.gateway"]
        env |= {KIND_ENV: kind.to_json(), "KALE_GATEWAY_PORT": str(port)}
        env |= {"KALE_GATEWAY_TOKEN_SECONDS": "1", "KALE_GATEWAY_DECISION_SECONDS": "1"}
        env |= {"JUPYTERHUB_ACTIVITY_INTERVAL": "1"}
        app_env = {name: env[name] for name in ("PATH", "PYTHONPATH")}
        self._running = (
            processes.start(gateway, env, log),
            processes.start(app, app_env, log),
        )
        facts = {"port": port, "app_port": app_port, "pid": self._running[0].pid}
        facts |= {"token": env["JUPYTERHUB_API_TOKEN"], "env": env, "prefix": prefix}
        (folder / f"{self.user.name}-{self.name}.json").write_text(json.dumps(facts))
        return "127.0.0.1", port

    async def poll(self) -> int | None:
        if not self._running:
            return 0
        return self._running[0].poll()

    async def stop(self, now: bool = False) -> None:
        for process in self._running:
            processes.stop(process)
        self._running = ()
