"""The cluster's keys: one authority, and who it vouches for. All made by openssl, all thrown away.

Whoever can read the cluster's folder (root) is its administrator.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from localcluster.errors import NotUp
from localcluster.network import Network

_DAYS = "365"


def make(pki: Path, network: Network, node: str) -> None:
    """Write ca, apiserver, admin and kubelet as NAME.crt and NAME.key, and the accounts' key."""
    _key(pki / "ca.key")
    _run(
        *("req", "-x509", "-new", "-key", str(pki / "ca.key"), "-out", str(pki / "ca.crt")),
        *("-days", _DAYS, "-subj", "/CN=kale-local-cluster", "-batch"),
    )
    _key(pki / "accounts.key")
    _run("ec", "-in", str(pki / "accounts.key"), "-pubout", "-out", str(pki / "accounts.pub"))
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    addresses = [network.node_ip, network.services[1], "127.0.0.1"]
    alternatives = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    serving = f"extendedKeyUsage=serverAuth\nsubjectAltName={','.join(alternatives)}\n"
    _sign(pki, "apiserver", "/CN=kube-apiserver", serving)
    client = "extendedKeyUsage=clientAuth\n"
    _sign(pki, "admin", "/O=system:masters/CN=admin", client)
    _sign(pki, "kubelet", f"/O=system:nodes/CN=system:node:{node}", client)


def _sign(pki: Path, name: str, subject: str, extensions: str) -> None:
    key, request, wanted = (pki / f"{name}.{ending}" for ending in ("key", "csr", "ext"))
    _key(key)
    wanted.write_text(extensions)
    _run("req", "-new", "-key", str(key), "-out", str(request), "-subj", subject, "-batch")
    _run(
        *("x509", "-req", "-in", str(request), "-out", str(pki / f"{name}.crt"), "-days", _DAYS),
        *("-CA", str(pki / "ca.crt"), "-CAkey", str(pki / "ca.key"), "-CAcreateserial"),
        *("-extfile", str(wanted)),
    )
    request.unlink()
    wanted.unlink()


def _key(path: Path) -> None:
    _run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    path.chmod(0o600)


def _run(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotUp(f"openssl {arguments[0]}: {done.stderr.strip()}")
