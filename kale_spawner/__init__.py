"""JupyterLab and VS Code with Kale, on volumes that last, for JupyterHub on Kubernetes.

    c.JupyterHub.spawner_class = "kale"

`KaleSpawner` is imported when it is asked for: the gateway imports this package where there
is no JupyterHub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kale_spawner.spawner import KaleSpawner

__version__ = "0.1.0"
__all__ = ["KaleSpawner", "__version__", "setup"]


def __getattr__(name: str) -> Any:
    if name == "KaleSpawner":
        from kale_spawner.spawner import KaleSpawner

        return KaleSpawner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def setup(c: Any) -> None:
    """All that a configuration file needs: `from kale_spawner import setup; setup(c)`."""
    c.JupyterHub.spawner_class = "kale_spawner.KaleSpawner"
