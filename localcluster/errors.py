"""What can go wrong, as one line that a person can act on.

ClusterError
├── MachineUnfit   the machine lacks something; nothing was done
├── BuildFailed    a Go program or an image could not be made
└── NotUp          a part of the cluster did not come up, or stopped; names its log
"""

from __future__ import annotations

from setup.system import RefusedError


class ClusterError(RefusedError):
    """Base of all; its text is for the person at the terminal."""


class MachineUnfit(ClusterError):
    """Found before anything was done. Says what to do about it."""


class BuildFailed(ClusterError):
    """Something that the cluster is made of could not be made."""


class NotUp(ClusterError):
    """The cluster, or the part that is named, does not run."""
