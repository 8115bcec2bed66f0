"""Images for the cluster: archives brought in, and the one that the cluster itself needs."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

PAUSE = "localhost/kale-local-cluster/pause:1"
"""The image of a pod's sandbox: a program that waits."""

_OCI = "application/vnd.oci.image"


def write_pause(program: Path, archive: Path) -> None:
    """Write an OCI archive whose one file is `program`, a static binary."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as content:
        _add(content, "pause", program.read_bytes(), mode=0o755)
    with tarfile.open(archive, "w") as out:
        diff = _blob(out, layer.getvalue())
        config = {
            "architecture": _architecture(program),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [diff["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": {"mediaType": f"{_OCI}.config.v1+json", **_blob(out, _json(config))},
            "layers": [{"mediaType": f"{_OCI}.layer.v1.tar", **diff}],
        }
        entry = {
            "mediaType": f"{_OCI}.manifest.v1+json",
            "annotations": {"io.containerd.image.name": PAUSE},
            **_blob(out, _json(manifest)),
        }
        _add(out, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        _add(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))


def _architecture(program: Path) -> str:
    """In OCI's words, read from the ELF header."""
    machine = int.from_bytes(program.read_bytes()[18:20], "little")
    return {0x3E: "amd64", 0xB7: "arm64", 0xF3: "riscv64"}[machine]


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _blob(out: tarfile.TarFile, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    _add(out, f"blobs/sha256/{digest}", content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _add(out: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    out.addfile(entry, io.BytesIO(content))
