"""Processes of the tests: none outlives the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
_LIBC = ctypes.CDLL(None)


def start(argv: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process group of its own; killed when the thread that starts it goes."""
    with log.open("ab") as out:
        return subprocess.Popen(
            argv,
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=lambda: _LIBC.prctl(1, signal.SIGKILL),
        )


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask it to end, then end its whole group whatever it did; its exit status."""
    if process.poll() is None:
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


@contextmanager
def running(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen]:
    process = start(argv, env, log)
    try:
        yield process
    finally:
        stop(process)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(found: Callable[[], T], what: str, seconds: float = 20) -> T:
    """The first true value of `found`; an OSError counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := found():
                return value
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def family(pid: int) -> list[int]:
    """The process and its descendants. What ends while it is looked at has none."""
    pids = [pid]
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in (task / "children").read_text().split():
                    pids += family(int(child))
    return pids


def pss_kib(pid: int) -> int:
    """Proportional set size of a process and its descendants, of those that still live."""
    total = 0
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total
