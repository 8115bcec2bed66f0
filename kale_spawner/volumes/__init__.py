"""What a user does with volumes apart from starting a server.

Everything is checked, in words with a way out, before anything is made. What somebody else has
reads like what is not there. `claims` are volumes, `snapshots` single ones, `sets` those of a whole
server.
"""

from kale_spawner.volumes.claims import Claims
from kale_spawner.volumes.sets import Sets
from kale_spawner.volumes.snapshots import Snapshots

__all__ = ["Claims", "Sets", "Snapshots"]
