"""Every call of a snapshot, a restore, a growth, a copy and a deletion, gone wrong in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CoreV1Api

import localcluster
from kale_spawner.errors import KaleError
from kale_spawner.model.choices import DataVolume
from kale_spawner.model.holds import Holds
from kale_spawner.model.inventory import Inventory
from kale_spawner.spawner import KaleSpawner
from kale_spawner.volumes import Claims, Sets, Snapshots
from tests.cluster.faults import FAULTS, QUICK, READING, Door, door, print_table
from tests.cluster.servers import Make, claims, shell, start
from tests.cluster.test_volumes import READ, WRITE, settled, snapshots

CHOICE: dict[str, Any] = {
    "profile": "singleuser",
    "workspace": {"name": "kept", "size": "1Gi"},
    "data_volumes": [{"mount": "/data", "name": "second", "size": "1Gi"}],
}
SPARE = 10
"""So many volumes with content are made by one start."""


@pytest.fixture
async def passage(cluster: localcluster.Status) -> AsyncIterator[Door]:
    async with door(Path(cluster.kubeconfig)) as made:
        yield made


async def no_preparation(make: Make, spawner: KaleSpawner, n: int) -> None:
    """Nothing is needed."""


@dataclass(frozen=True)
class Deed:
    """What a user does, for the n-th time. done: whether what they have says so."""

    do: Callable[[KaleSpawner, int], Awaitable[Any]]
    done: Callable[[Inventory, int], bool]
    prepare: Callable[[Make, KaleSpawner, int], Awaitable[None]] = no_preparation
    grouped: bool = True

    def time(self, n: int) -> Callable[[Inventory], bool]:
        return lambda have: self.done(have, n)


async def snapshot(spawner: KaleSpawner, n: int) -> None:
    await Snapshots(spawner).take("kept", f"one-{n}")
    await Snapshots(spawner).until_ready([f"one-{n}"])


async def whole(spawner: KaleSpawner, n: int) -> None:
    await spawner.snapshot_all(f"all-{n}")


async def grow(spawner: KaleSpawner, n: int) -> None:
    await Claims(spawner).grow("second", f"{1100 + n}Mi")


async def copy(spawner: KaleSpawner, n: int) -> None:
    copied = DataVolume(source="clone", origin="kept", name=f"copy-{n}")
    await Claims(spawner).create(copied)


async def delete(spawner: KaleSpawner, n: int) -> None:
    await Claims(spawner).delete(f"spare-{n}", True)


async def delete_set(spawner: KaleSpawner, n: int) -> None:
    await Sets(spawner).delete_all(f"all-{n}")


async def spare(make: Make, spawner: KaleSpawner, n: int) -> None:
    """Volumes with content that no server mounts."""
    if n % SPARE:
        return
    rows = [{"mount": f"/d{i}", "name": f"spare-{n + i}", "size": "400Mi"} for i in range(SPARE)]
    other = make({**QUICK, "KaleVolumes": {"max_data_volumes": SPARE}}, server="lab")
    await start(other, {**CHOICE, "workspace": {"source": "none"}, "data_volumes": rows})
    await other.stop(now=True)


async def taken(make: Make, spawner: KaleSpawner, n: int) -> None:
    await whole(spawner, n)
    await Sets(spawner).until_all_ready(f"all-{n}")


def no_set(have: Inventory, n: int) -> bool:
    found = have.sets().get(f"all-{n}")
    return found is None or found.deleting


def is_whole(have: Inventory, n: int) -> bool:
    found = have.sets().get(f"all-{n}")
    return found is not None and found.ready


def is_deleted(have: Inventory, n: int) -> bool:
    last = [each for each in have.snapshots.values() if each.volume == f"spare-{n}"]
    claim = have.claims.get(f"spare-{n}")
    return (claim is None or claim.deleting) and any(each.ready for each in last)


FACTS = {
    f"GET {kind}"
    for kind in (
        "resourcequotas",
        "storageclasses",
        "volumesnapshotclasses",
        "volumegroupsnapshotclasses",
        "volumesnapshots",
        "volumegroupsnapshots",
    )
}
"""What each deed begins with: the first of them tries what comes of its faults."""
DEEDS = {
    "snapshot": Deed(snapshot, lambda have, n: ready(have, f"one-{n}")),
    "set, at one instant": Deed(whole, is_whole),
    "set, one by one": Deed(whole, is_whole, grouped=False),
    "growth": Deed(grow, lambda have, n: have.claims["second"].requested_bytes >= (1100 + n) << 20),
    "copy": Deed(copy, lambda have, n: f"copy-{n}" in have.claims),
    "delete after a snapshot": Deed(delete, is_deleted, spare),
    "delete a set of one instant": Deed(delete_set, no_set, taken),
    "delete a set, one by one": Deed(delete_set, no_set, taken, grouped=False),
}


def ready(have: Inventory, name: str) -> bool:
    return name in have.snapshots and have.snapshots[name].ready


def nothing_going(have: Inventory) -> bool:
    """Whether all that is on its way out is gone."""
    return not any(each.deleting for each in (*have.claims.values(), *have.snapshots.values()))


async def told(deed: Deed, spawner: KaleSpawner, n: int) -> str:
    """What the user is told, at once or on the page later; "" where it is done."""
    spawner.holds.told.clear()
    try:
        await deed.do(spawner, n)
    except KaleError as told:
        return str(told)
    finally:
        await settled(spawner)
    return "".join(spawner.holds.told.values())


async def comes(spawner: KaleSpawner, met: Callable[[Inventory], bool]) -> None:
    """Return once what the user has is so."""
    await Claims(spawner)._seen(met, 60.0, "it never shows")


@dataclass
class Scene:
    """A running server with data, and all that may never change of it."""

    spawner: KaleSpawner
    core: CoreV1Api
    cluster: localcluster.Status
    wrote: str
    uids: dict[str, str]

    @classmethod
    async def set(
        cls, spawner: KaleSpawner, core: CoreV1Api, cluster: localcluster.Status
    ) -> Scene:
        await start(spawner, CHOICE)
        wrote = shell(cluster, spawner.namespace, spawner.pod_name, WRITE)
        there = claims(core, spawner.namespace)
        return cls(spawner, core, cluster, wrote, {n: c.metadata.uid for n, c in there.items()})

    def nothing_lost(self, *why: object) -> None:
        """No claim is another, and no byte."""
        there = claims(self.core, self.spawner.namespace)
        assert {n: c.metadata.uid for n, c in there.items()}.items() >= self.uids.items(), why
        read = shell(self.cluster, self.spawner.namespace, self.spawner.pod_name, READ)
        assert read == self.wrote, why

    async def nothing_hidden(self, spawner: KaleSpawner) -> None:
        """All that is in the cluster shows, so that it can be done away with."""
        await spawner.storage_views()

        def shows(have: Inventory) -> bool:
            there = set(claims(self.core, spawner.namespace))
            shown = {name for name, each in have.claims.items() if not each.deleting}
            return there == shown and set(have.snapshots) >= set(
                snapshots(self.core, spawner.namespace)
            )

        await comes(spawner, shows)


@pytest.mark.parametrize("name", DEEDS)
async def test_every_call_gone_wrong(
    make: Make, passage: Door, cluster: localcluster.Status, core_v1: CoreV1Api, name: str
) -> None:
    deed, n = DEEDS[name], 0
    spawner = make(QUICK | {"KaleVolumes": {"group_snapshots": deed.grouped}})
    scene = await Scene.set(spawner, core_v1, cluster)

    async def do(call: str | None = None, fault: str = "") -> str:
        await deed.prepare(make, spawner, n)
        spawner.facts.asked.clear()
        passage.arm(call, fault)
        said = await told(deed, spawner, n)
        passage.disarm()
        return said

    assert await do() == ""
    await comes(spawner, deed.time(0))
    table: dict[tuple[str, str], str] = {}
    for call in dict.fromkeys(passage.calls):
        if call in FACTS and name != "snapshot":
            continue
        for fault in READING if call.startswith("GET") else FAULTS:
            n += 1
            said = await do(call, fault)
            why = (call, fault, said)
            scene.nothing_lost(*why)
            # What the watches ask for comes at times of its own.
            if call in passage.calls:
                table[call, fault] = said or "done"
            if said:
                assert len(said) > 20, why
                assert "Traceback" not in said, why
                await scene.nothing_hidden(spawner)
                if not deed.done(await spawner._inventory(), n):
                    await comes(spawner, nothing_going)
                    spawner.facts.asked.clear()
                    assert await told(deed, spawner, n) == "", why
            await comes(spawner, deed.time(n))
            await scene.nothing_hidden(spawner)
            scene.nothing_lost(*why)
    print_table(name, table)
    assert len(table) >= len(FAULTS)


@pytest.mark.parametrize("name", DEEDS)
async def test_a_hub_that_ends_at_any_call(
    make: Make,
    passage: Door,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next hub shows all that this one began, and does it when it is asked again."""
    deed, n = DEEDS[name], 0
    settings = QUICK | {"KaleVolumes": {"group_snapshots": deed.grouped}}
    spawner = make(settings)
    scene = await Scene.set(spawner, core_v1, cluster)
    await deed.prepare(make, spawner, n)
    passage.arm()
    assert await told(deed, spawner, n) == ""
    passage.disarm()
    # Before it changes anything, it leaves nothing.
    reads = [call.startswith("GET") for call in passage.calls]
    for at in range(reads.index(False), len(reads)):
        n += 1
        await deed.prepare(make, spawner, n)
        spawner.facts.asked.clear()
        passage.arm(at, "hangs")
        going = asyncio.ensure_future(told(deed, spawner, n))
        while len(passage.calls) <= at and not (going.done() and not spawner.background):
            await asyncio.sleep(0.01)
        # Nothing of this hub goes on: neither the request nor what it began.
        ended = [going, *spawner.background]
        for task in ended:
            task.cancel()
        await asyncio.wait(ended)
        passage.disarm()
        monkeypatch.setattr(KaleSpawner, "holds", Holds())
        following = make(settings, state=spawner.get_state())
        await scene.nothing_hidden(following)
        if not deed.done(await following._inventory(), n):
            await comes(following, nothing_going)
            said = await told(deed, following, n)
            assert said == "" or "already" in said, (at, said)
        await comes(following, deed.time(n))
        await scene.nothing_hidden(following)
        scene.nothing_lost(at)
