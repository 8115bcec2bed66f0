"""One line a step, with its time: how every command of this project says what it is doing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BAR_WIDTH = 24
_lock = threading.Lock()
_active: list[Step] = []


class Step:
    """A step under way; steps may run side by side in threads.

    A terminal shows the live line of a step that runs alone. Any other output gets one line
    when a step begins to take long and one when it ends.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.note = ""
        self._started = time.monotonic()
        self._tenth = 0

    def progress(self, done: int, total: int) -> None:
        """Show `done` of `total` as a bar; where lines cannot be redrawn, at every tenth."""
        share = min(done / max(total, 1), 1.0)
        filled = int(_BAR_WIDTH * share)
        line = f"  {self.text} [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {share:4.0%}"
        with _lock:
            if _alone(self):
                print(f"\r\033[K{line}", end="", flush=True)
            elif int(share * 10) > self._tenth:
                print(line, flush=True)
            self._tenth = int(share * 10)

    def begin(self) -> None:
        with _lock:
            _clear()
            _active.append(self)
            if _alone(self):
                print(f"  {self.text} ...", end="", flush=True)

    def end(self, mark: str) -> None:
        took = time.monotonic() - self._started
        note = f" ({self.note})" if self.note else ""
        with _lock:
            _clear()
            _active.remove(self)
            print(f"{mark} {self.text}{note}, {took:.1f} s", flush=True)


def _alone(step: Step) -> bool:
    return sys.stdout.isatty() and _active == [step]


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="")


@contextmanager
def step(text: str) -> Iterator[Step]:
    """Run the block as a step: `+` before its line when it is done, `x` when it failed."""
    current = Step(text)
    current.begin()
    try:
        yield current
    except BaseException:
        current.end("x")
        raise
    current.end("+")
