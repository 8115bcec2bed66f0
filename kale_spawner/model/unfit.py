"""Why a volume cannot come from where it should, in words with the way out."""

from __future__ import annotations

from urllib.parse import urlsplit

from kale_spawner.model.claim import Claim
from kale_spawner.model.cluster import Cluster

WHICH = {
    "snapshot": "choose which snapshot",
    "clone": "choose which of your volumes is copied",
    "rok": "write the address of a snapshot of Rok's",
}


def too_small(text: str, what: str, least: str) -> str:
    return f"{text} is too small for what is in {what}; it takes {least} at least"


def no_class(name: str, cluster: Cluster) -> str:
    known = ", ".join(sorted(cluster.classes or ())) or "none"
    what = f'storage class "{name}"' if name else "default storage class"
    return (
        f"this cluster has no {what}, only {known}; choose another, or ask your administrator "
        "(setting KaleVolumes.storage_classes)"
    )


def stop_first(server: str) -> str:
    return f"stop {server}" if "another user" not in server else "wait for it"


def never_made(claim: Claim, cluster: Cluster) -> str | None:
    """Why a claim that no server mounted yet will get no volume, or None."""
    name = claim.storage_class
    if claim.phase != "Pending" or not name or cluster.has_class(name):
        return None
    return f'"{claim.name}" was never mounted, and {no_class(name, cluster)}'


def rok_error(url: str, hosts: tuple[str, ...]) -> str | None:
    """Why this is no address of a Rok that may be used here, or None."""
    if not hosts:
        return "volumes from Rok are not offered here"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return "write the whole address of a snapshot, like https://rok.example/rok/buckets/..."
    if host not in hosts and f"{host}:{port}" not in hosts:
        return f"{host} is not allowed here; use {' or '.join(hosts)}"
    return None
