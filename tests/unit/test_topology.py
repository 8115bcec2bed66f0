from __future__ import annotations

from typing import Any

from kale_spawner.model.topology import conflict

ZONE = "topology.kubernetes.io/zone"


def volume(*zones: str, label: str = ZONE) -> dict[str, Any]:
    terms = [
        {"matchExpressions": [{"key": label, "operator": "In", "values": [zone]}]} for zone in zones
    ]
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}


def pod(zone: str = "") -> dict[str, Any]:
    return {"spec": {"nodeSelector": {ZONE: zone} if zone else {}}}


def test_a_volume_in_another_zone_than_the_profile() -> None:
    said = conflict(pod(zone="b"), {"data": volume("a", "c")})
    assert said is not None
    assert said.startswith('Volume "data" is in zone a or c, but this profile is in b: no machine')
    assert conflict(pod(zone="c"), {"data": volume("a", "c")}) is None


def test_a_profile_that_asks_by_affinity() -> None:
    wanted = volume("b", "c")["spec"]["nodeAffinity"]["required"]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}
    asks = {"spec": {"affinity": affinity}}
    said = conflict(asks, {"data": volume("a")}) or ""
    assert said.startswith('Volume "data" is in zone a, but this profile is in b or c: no machine')
    assert conflict(asks, {"data": volume("a", "c")}) is None


def test_two_volumes_without_a_common_machine() -> None:
    apart = {"one": volume("n1", label="kubernetes.io/hostname")}
    apart["two"] = volume("n2", label="kubernetes.io/hostname")
    said = conflict(pod(), apart)
    assert said is not None
    assert 'Volume "two" is in machine n2, but volume "one" is in n1' in said
    assert conflict(pod(), {"one": volume("a", "b"), "two": volume("b", "c")}) is None
    three = {"one": volume("a", "b"), "two": volume("b", "c"), "wide": volume("a", "c")}
    assert conflict(pod(), three) is not None


def test_what_is_not_understood_is_left_to_the_scheduler() -> None:
    other = {"key": ZONE, "operator": "NotIn", "values": ["b"]}
    wild = {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [other]}]}}}
    assert conflict(pod(zone="b"), {"data": {"spec": wild}}) is None
    assert conflict(pod(zone="b"), {"data": {"spec": {}}}) is None
