"""Debian packages, and the checks that come before anything is done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from setup.steps import step


class RefusedError(Exception):
    """The machine cannot do this; the message is one line with the way out."""


PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "mkfs.xfs": "xfsprogs",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
"""For a cluster and its images: a program (or file) and the package that brings it.

A program that is there already is left alone, whatever package it came from: Debian's
containerd would push out Docker's own.
"""

_LIBRARIES = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or ''}"
TEST_PROGRAMS = {
    "nginx": "nginx-light",
    "chromium": "chromium",
    # Of the node that playwright brings.
    f"{_LIBRARIES}/libatomic.so.1": "libatomic1",
}

_POLICY = Path("/usr/sbin/policy-rc.d")


def missing(programs: dict[str, str]) -> list[str]:
    """The packages to install, without those whose program is on the machine."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted(
        {
            package
            for program, package in programs.items()
            if not (Path(program).exists() if "/" in program else shutil.which(program, path=path))
        }
    )


def install(programs: dict[str, str]) -> None:
    """Install the packages that `programs` lack; start no service, remove nothing."""
    packages = missing(programs)
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise RefusedError(f"apt-get is not here: install what Debian calls {packages}")
    need_root("installing " + ", ".join(packages))
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--no-remove"]
    with step(f"system packages: {', '.join(packages)}"), _no_service_starts():
        for command in (["apt-get", "update", "-q"], [*install, *packages]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RefusedError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian starts what it installs; neither nginx nor containerd is wanted as a service."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def need_linux() -> None:
    if sys.platform != "linux":
        raise RefusedError(
            f"this is {sys.platform}, and the local cluster needs Linux: "
            "use a Linux machine, or set KUBECONFIG to a cluster that you have"
        )


def need_root(purpose: str) -> None:
    if os.geteuid():
        raise RefusedError(f"{purpose} needs root: run it again with sudo")


def need_disk(folder: Path, gib: float) -> None:
    """`folder` need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        raise RefusedError(
            f"{folder} has {free:.1f} GiB free and {gib:.0f} are needed: free some, "
            "or set KALE_CACHE and KALE_STATE to folders on a larger disk"
        )


def need_port(text: str, also: tuple[int, ...] = ()) -> int:
    """The port that `text` names, free on localhost; so are those that lie `also` above it."""
    way_out = "choose another, for example PORT=8080"
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535 - max(also, default=0)):
        raise RefusedError(f"PORT={text} is no port that this can use: {way_out}")
    for port in (int(text), *(int(text) + more for more in also)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise RefusedError(
                    f"port {port} of localhost is in use ({error.strerror}): {way_out}"
                ) from error
    return int(text)
