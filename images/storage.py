"""buildah in a storage of the project's own, in namespaces that die with this process."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from setup.locks import locked
from setup.pruning import to_prune

HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")


class ImageError(Exception):
    """An image could not be made; the text says which step, and where its log is."""


class Storage:
    """buildah's folders, and commands on them.

    Every command runs in a mount and a process namespace of its own, which the kernel takes away
    when this process ends, however it ends: no mount and no process outlives a killed build.
    """

    def __init__(self, folder: Path, driver: str) -> None:
        self._folder = folder
        self._driver = driver

    def run(
        self,
        log: Path,
        *argv: str | Path,
        watch: Callable[[str], None] = lambda line: None,
    ) -> str:
        """Run `argv`; all output goes to `log`, standard output is also returned.

        `watch` is called with every line. Raise ImageError, with the last lines, when it fails.
        """
        lines: list[str] = []
        with (
            log.open("a") as out,
            subprocess.Popen(
                [*_NAMESPACES, *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                lines.append(line.rstrip())
                watch(line)
        if process.returncode:
            tail = "\n".join(line[:300] for line in lines[-12:])
            raise ImageError(f"{argv[0]} failed; the whole log is {log}\n{tail}")
        return "\n".join(lines)

    def buildah(
        self, log: Path, *argv: str | Path, watch: Callable[[str], None] = lambda line: None
    ) -> str:
        return self.run(log, *self.command(), *argv, watch=watch)

    def prune(self, log: Path, used: Iterable[str]) -> None:
        """Remove the images, those of single steps too, that nobody has used for long.

        `used` are IDs, or how they begin.
        """
        there = set((self._folder / "layers" / f"{self._driver}-images").glob("?" * 64))
        old = to_prune(there, (image for image in there if image.name.startswith(tuple(used))))
        if old:
            # With an image go its ancestors that no other needs, unless they have a name.
            for image in there.difference(old):
                self.buildah(log, "tag", image.name, f"localhost/kept:{image.name}")
            self.buildah(log, "rmi", "--force", *(image.name for image in old))

    def command(self) -> list[str]:
        return [
            "buildah",
            f"--root={self._folder / 'layers'}",
            f"--runroot={self._folder / 'run'}",
            f"--storage-driver={self._driver}",
        ]


_NAMESPACES: Sequence[str] = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


@contextmanager
def opened(folder: Path) -> Iterator[Storage]:
    """The storage in `folder`, to one process at a time; what a killed one left is cleared."""
    with locked(folder / "lock"):
        # Counts of mounts that went with their namespace.
        shutil.rmtree(folder / "run", ignore_errors=True)
        storage = Storage(folder, "overlay" if _overlay_works(folder) else "vfs")
        storage.buildah(folder / "storage.log", "rm", "--all")
        yield storage


def _overlay_works(folder: Path) -> bool:
    """Whether the kernel mounts an overlay whose upper layer is in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        below, upper, work, top = (Path(name) / part for part in ("below", "upper", "work", "top"))
        for part in (below, upper, work, top):
            part.mkdir()
        options = f"lowerdir={below},upperdir={upper},workdir={work}"
        mount = ("mount", "-t", "overlay", "overlay", "-o", options, str(top))
        done = subprocess.run([*_NAMESPACES, *mount], capture_output=True, check=False)
        return done.returncode == 0
