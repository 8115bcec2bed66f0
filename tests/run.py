"""`make test`: one pytest run a folder, all of them even after a failure, then a line for each.

The tests of the cluster wait most of the time: beside them run those that need no node. What runs
beside something else is shown when it has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from setup.python import OLDEST, ROOT, VENV


@dataclass(frozen=True)
class Run:
    environment: Path
    folder: str

    def __str__(self) -> str:
        return f"tests/{self.folder} ({self.environment.name})"


@dataclass(frozen=True)
class Outcome:
    run: Run
    code: int
    seconds: float

    def __str__(self) -> str:
        return f"{'x' if self.code else '+'} {self.run}, {self.seconds:.0f} s"


STAGES: tuple[tuple[tuple[Run, ...], ...], ...] = (
    ((Run(VENV, "unit"), Run(OLDEST, "unit"), Run(VENV, "images")),),
    (
        (Run(VENV, "cluster"),),
        (Run(VENV, "gateway"), Run(VENV, "web"), Run(OLDEST, "web")),
    ),
    ((Run(VENV, "browser"),),),
)
"""One after the other; the lanes of a stage side by side."""


def main() -> int:
    outcomes: list[Outcome] = []
    for lanes in STAGES:
        beside = len(lanes) > 1
        threads = [threading.Thread(target=_lane, args=(each, beside, outcomes)) for each in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print()
    for outcome in outcomes:
        print(outcome)
    return int(any(outcome.code for outcome in outcomes))


def _lane(runs: Sequence[Run], beside: bool, outcomes: list[Outcome]) -> None:
    for run in runs:
        print(f"\n== {run}", flush=True)
        began = time.monotonic()
        done = _pytest(run, beside)
        outcomes.append(Outcome(run, done.returncode, time.monotonic() - began))
        if beside:
            print(f"\n== {run} has ended\n{done.stdout}", flush=True)


def _pytest(run: Run, kept: bool) -> subprocess.CompletedProcess[str]:
    # Programs of .venv (proxy, node) serve the oldest JupyterHub too.
    path = f"{run.environment}/bin:{VENV}/bin:{os.environ['PATH']}"
    return subprocess.run(
        [f"{run.environment}/bin/python", "-m", "pytest", "-q", f"tests/{run.folder}"],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE if kept else None,
        stderr=subprocess.STDOUT if kept else None,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
