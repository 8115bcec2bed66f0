"""Which volumes the hub is busy with: a start that will mount one, a deletion that has begun; and
what it has to tell of the last one.

Neither shows in the cluster yet, and each excludes the other. All of it is for the one thread
of the hub: between asking and entering nothing else runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Holds:
    """Volumes by their key, "namespace/name".

    deleting: what is told of a deletion under way. told: why the last one did not happen.
    taking, adopting: sets that are being asked for, or whose snapshots are being made known, by
    "namespace/user/name".
    stopping: servers of which a snapshot is taken since they stopped, by the key of their pod.
    full: the volume that a server's last start found full, by the key of its pod.
    """

    starting: dict[str, dict[object, str]] = field(default_factory=dict)
    deleting: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    taking: set[str] = field(default_factory=set)
    adopting: set[str] = field(default_factory=set)
    stopping: set[str] = field(default_factory=set)
    full: dict[str, str] = field(default_factory=dict)

    def start(self, token: object, server: str, keys: Iterable[str]) -> str | None:
        """Enter a start's volumes, all or none: the key of one that is being deleted, or None."""
        keys = list(keys)
        for key in keys:
            if key in self.deleting:
                return key
        for key in keys:
            self.starting.setdefault(key, {})[token] = server
        return None

    def started(self, token: object) -> None:
        """The start is over: what it mounts shows in the cluster, or it mounts nothing."""
        for key in list(self.starting):
            self.starting[key].pop(token, None)
            if not self.starting[key]:
                del self.starting[key]

    def starters(self, key: str) -> list[str]:
        """The servers whose starts will mount it."""
        return list(self.starting.get(key, {}).values())
