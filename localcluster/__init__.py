"""A real Kubernetes for the demo and the tests, in namespaces of its own."""

from localcluster.cluster import Status, check, down, load_images, run_inside, status, up
from localcluster.errors import ClusterError, MachineUnfit
from localcluster.folders import cache, lock_file, state
from localcluster.programs import build, built

__all__ = [
    "ClusterError",
    "MachineUnfit",
    "Status",
    "build",
    "built",
    "cache",
    "check",
    "down",
    "load_images",
    "lock_file",
    "run_inside",
    "state",
    "status",
    "up",
]
