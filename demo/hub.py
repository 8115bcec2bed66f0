"""The demo's hub: one detached process group, known by a file that says who it is."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import localcluster
from setup.python import ROOT, VENV
from setup.system import RefusedError

START_LIMIT = 60.0
STOP_LIMIT = 30.0


@dataclass(frozen=True)
class Hub:
    """A hub that was started. `born` is its start in clock ticks, since pids come round again;
    `made_from` is what it read then."""

    name: str
    pid: int
    born: str
    url: str
    password: str
    owns_cluster: bool
    made_from: str = ""


def folder(name: str) -> Path:
    return localcluster.state() / "hubs" / name


def find(name: str) -> Hub | None:
    """The hub that a former `start` made, dead or alive."""
    try:
        return Hub(**json.loads((folder(name) / "hub.json").read_text()))
    except FileNotFoundError:
        return None


def alive(hub: Hub) -> bool:
    return _born(hub.pid) == hub.born


def made_from() -> str:
    """Changes when what a hub reads at its start does: its configuration, the package, settings."""
    digest = hashlib.sha256()
    for path in (ROOT / "jupyterhub_config.py", *sorted((ROOT / "kale_spawner").rglob("*"))):
        if path.is_file() and path.parent.name != "__pycache__":
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    given = ("KUBECONFIG", "PORT")
    names = sorted(name for name in os.environ if name.startswith("KALE_") or name in given)
    digest.update("\0".join(f"{name}={os.environ[name]}" for name in names).encode())
    return digest.hexdigest()


def start(name: str, port: int, settings: dict[str, str], owns_cluster: bool) -> Hub:
    """Start it and wait until it answers; `settings` go to jupyterhub_config.py by environment."""
    home = folder(name)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    former = find(name)
    password = former.password if former else secrets.token_urlsafe(9)
    environment, read = os.environ | settings, made_from()
    environment |= {
        "PATH": f"{VENV}/bin:{os.environ['PATH']}",
        "KALE_HUB_BIND_URL": f"http://127.0.0.1:{port}",
        "KALE_HUB_PASSWORD": password,
        "KALE_HUB_STATE": str(home),
    }
    with _new_log(home).open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(ROOT / "jupyterhub_config.py")],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    hub = Hub(name, process.pid, _born(process.pid), url, password, owns_cluster, read)
    (home / "hub.json").write_text(json.dumps(asdict(hub)))
    _wait_until_it_answers(process, url, home / "hub.log")
    return hub


def stop(hub: Hub) -> None:
    """End the hub and its proxy, and forget them; idempotent."""
    end(hub)
    home = folder(hub.name)
    shutil.rmtree(home, ignore_errors=True)
    with suppress(OSError):
        home.parent.rmdir()


def end(hub: Hub) -> None:
    """End the hub and its proxy; its folder stays, so that the next one is as it was."""
    if alive(hub):
        os.killpg(hub.pid, signal.SIGTERM)
        limit = time.monotonic() + STOP_LIMIT
        while alive(hub) and time.monotonic() < limit:
            time.sleep(0.1)
        if alive(hub):
            os.killpg(hub.pid, signal.SIGKILL)
    end_proxy(hub.name)


def end_proxy(name: str) -> None:
    """A hub that was killed leaves its proxy, and with it the port taken."""
    try:
        pid = int((folder(name) / "jupyterhub-proxy.pid").read_text())
        if b"configurable-http-proxy" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            # A zombie's other threads may still hold the port.
            limit = time.monotonic() + 5
            while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
                time.sleep(0.01)
    except (FileNotFoundError, ProcessLookupError):
        return


def _new_log(home: Path) -> Path:
    """Each hub begins a log; that of the one before, which may tell why it ended, is hub.log.1."""
    log = home / "hub.log"
    if log.exists():
        log.replace(home / "hub.log.1")
    return log


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/hub/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    last = "\n".join(log.read_text().splitlines()[-15:])
    raise RefusedError(f"the hub did not start; the end of {log}:\n{last}")


def _born(pid: int) -> str:
    """Start time of a living process, "" when there is none (a zombie is not alive)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if stat[0] == "Z" else stat[19]
