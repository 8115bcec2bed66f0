"""`make test`: one pytest run a folder, all of them even after a failure, then a line for each."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from setup.python import OLDEST, ROOT, VENV

RUNS = (
    (VENV, "unit"),
    (OLDEST, "unit"),
    (VENV, "images"),
    (VENV, "gateway"),
    (VENV, "web"),
    (OLDEST, "web"),
    (VENV, "cluster"),
    (VENV, "browser"),
)


def main() -> int:
    outcomes = []
    for environment, folder in RUNS:
        name = f"tests/{folder} ({environment.name})"
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        # Programs of .venv (proxy, node) serve the oldest JupyterHub too.
        path = f"{environment}/bin:{VENV}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            [f"{environment}/bin/python", "-m", "pytest", "-q", f"tests/{folder}"],
            cwd=ROOT,
            env=os.environ | {"PATH": path},
        )
        outcomes.append((name, done.returncode, time.monotonic() - began))
    print()
    for name, code, took in outcomes:
        print(f"{'+' if code == 0 else 'x'} {name}, {took:.0f} s")
    return 1 if any(code for _, code, _ in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
