"""`python3 -m setup demo|test|check`: install what that command lacks."""

from __future__ import annotations

import sys

from setup import python, system


def main(purpose: str) -> None:
    if purpose == "check":
        python.newest()
        return
    system.need_linux()
    system.install(system.PROGRAMS | (system.TEST_PROGRAMS if purpose == "test" else {}))
    python.newest()
    if purpose == "test":
        python.oldest()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2] or ["demo"])
    except system.RefusedError as refusal:
        sys.exit(f"setup: {refusal}")
