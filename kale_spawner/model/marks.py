"""Labels and annotations by which objects of the cluster are known again."""

from __future__ import annotations

MOUNT = "kale-spawner/mount"
"""Of a claim: where it was mounted first, proposed again when it is chosen later. Its snapshots
have it too."""

ROLE = "kale-spawner/role"
"""Of a snapshot: whether its volume was "workspace" or "data"."""

START = "kale-spawner/start"
"""Which start made an object; how a start knows its own work again after a lost answer."""

ORIGIN = "kale-spawner/origin"
"""Of a claim that was not empty at first: an `Origin` as JSON."""

STORAGE_CLASS = "kale-spawner/storage-class"
"""Of a snapshot: the class of its volume, which a volume made from it gets."""

SET = "kale-spawner/set"
"""Label of a snapshot: the set that it belongs to."""

SET_SIZE = "kale-spawner/set-size"
"""How many snapshots a set has when it is whole."""

NUMBER = "kale-spawner/number"
"""Of a snapshot of a set: which of the server's volumes it is of, from 1."""

MEMBERS = "kale-spawner/members"
"""Of a VolumeGroupSnapshot: the annotations that its snapshots get, by claim, as JSON."""

TAKEN_WITH = "kale-spawner/taken-with-"
"""Begins the label of claims that a VolumeGroupSnapshot takes at one instant; after it, what is
of just these claims. So no other set's claims have it, and it may be set twice."""

CHOICE = "kale-spawner/choice"
"""The choice, as JSON, of the server that a set was taken of."""

GROUPED = "kale-spawner/grouped"
"""Annotation of a snapshot that was taken in the same instant as the others of its set."""

REASON = "kale-spawner/reason"
"""Why a snapshot was taken where nobody asked for it: "stop", "image" or "delete"."""

SHARED = "kale-spawner/shared"
"""Label by which an administrator gives a claim or a snapshot to others: "true"."""

GROUPS = "kale-spawner/groups"
"""Of what is shared: JupyterHub's groups, separated by commas. Without it, all users."""

WRITABLE = "kale-spawner/writable"
"""Of a shared claim: "true" where users may change its files."""

DESCRIPTION = "kale-spawner/description"
"""Of what is shared: a few words for the page."""
