"""`make pins`: write newest.txt and oldest.txt anew from pyproject.toml."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from setup.python import ROOT, VENV

OLDEST = {"jupyterhub": "5.2.*"}
"""The oldest version that is claimed, of what has more than one."""


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as oldest:
        oldest.write("".join(f"{name}=={version}\n" for name, version in OLDEST.items()))
        oldest.flush()
        _compile("newest.txt", "--extra", "tools")
        _compile("oldest.txt", "-c", oldest.name)


def _compile(name: str, *options: str) -> None:
    command = [str(VENV / "bin" / "uv"), "pip", "compile", "--quiet", "--upgrade", "--no-header"]
    command += ["--no-annotate", "--python-version", "3.11", "--extra", "test", *options]
    target = Path("setup") / name
    subprocess.run([*command, "pyproject.toml", "-o", str(target)], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
