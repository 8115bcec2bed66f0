"""Where volumes are, against where a pod may run: a conflict shows before the pod is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]


def conflict(pod: Manifest, volumes: Mapping[str, Manifest]) -> str | None:
    """Why no node has all these volumes and is one that the pod asks for, or None.

    volumes: PersistentVolumes by the claim they are bound to. What is compared are single
    labels, as drivers write their topology; anything finer is left to the scheduler.
    """
    where = {label: (values, "this profile") for label, values in places_of_pod(pod).items()}
    for claim, volume in sorted(volumes.items()):
        affinity = (volume.get("spec") or {}).get("nodeAffinity") or {}
        for label, values in _places(affinity.get("required")):
            known, whose = where.setdefault(label, (values, f'volume "{claim}"'))
            if known.isdisjoint(values):
                return (
                    f'Volume "{claim}" is in {_named(label)} {_or(values)}, but {whose} is in '
                    f"{_or(known)}: no machine has both. Choose another volume or another "
                    "profile, or copy it by a snapshot, or ask your administrator."
                )
            where[label] = known & values, whose
    return None


def places_of_pod(pod: Manifest) -> dict[str, frozenset[str]]:
    """The labels that a node has to have for the pod, each with the values that will do."""
    spec = pod["spec"]
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    places = dict(_places(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")))
    for label, value in (spec.get("nodeSelector") or {}).items():
        places[label] = frozenset({value})
    return places


def _places(required: Manifest | None) -> Iterator[tuple[str, frozenset[str]]]:
    """What every node that a selector admits has: alternatives that name the same label."""
    terms = [
        {each["key"]: frozenset(each.get("values") or ()) for each in _asked(term)}
        for term in (required or {}).get("nodeSelectorTerms") or ()
    ]
    for label in set.intersection(*map(set, terms)) if terms else ():
        yield label, frozenset().union(*(term[label] for term in terms))


def _asked(term: Manifest) -> Iterator[Manifest]:
    return (each for each in term.get("matchExpressions") or () if each.get("operator") == "In")


def _named(label: str) -> str:
    return {"zone": "zone", "region": "region", "hostname": "machine"}.get(
        label.rpartition("/")[2], f"{label} ="
    )


def _or(values: Iterable[str]) -> str:
    return " or ".join(sorted(values))
