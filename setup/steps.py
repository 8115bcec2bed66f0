"""One line a step, with its time: how every command of this project says what it is doing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BAR_WIDTH = 24


class Step:
    """A step under way. `progress` draws a bar; only a terminal sees it move."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.note = ""
        self._started = time.monotonic()
        self._shown = -1

    def progress(self, done: int, total: int) -> None:
        """Show `done` of `total`; on a plain output a line at every tenth."""
        tenth = 10 * done // max(total, 1)
        filled = _BAR_WIDTH * done // max(total, 1)
        bar = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {100 * done // max(total, 1)} %"
        if sys.stdout.isatty():
            print(f"\r  {self.text} {bar}", end="", flush=True)
        elif tenth != self._shown:
            self._shown = tenth
            print(f"  {self.text} {bar}", flush=True)

    def end(self, mark: str) -> None:
        took = time.monotonic() - self._started
        note = f" ({self.note})" if self.note else ""
        start = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{start}{mark} {self.text}{note}, {took:.1f} s", flush=True)


@contextmanager
def step(text: str) -> Iterator[Step]:
    """Print `text` when it begins (on a terminal) and once more, with its time, when it ends."""
    current = Step(text)
    if sys.stdout.isatty():
        print(f"  {text} ...", end="", flush=True)
    try:
        yield current
    except BaseException:
        current.end("x")
        raise
    current.end("+")
