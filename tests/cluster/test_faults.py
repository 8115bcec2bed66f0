"""Every call of a start and of a stop, gone wrong in every way: nothing lost, nothing doubled,
nothing left that nobody can see, and the user told something true."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CoreV1Api

import localcluster
from kale_spawner.errors import KaleError
from kale_spawner.spawner import KaleSpawner
from kale_spawner.volumes import Snapshots
from kale_spawner.web.shown import Shown
from tests.cluster.faults import FAULTS, KILLS, QUICK, READING, Door, door, print_table
from tests.cluster.servers import Make, claims, pods, shell, start
from tests.cluster.waiting import eventually

HELD = "head -c 2000000 /dev/urandom > /home/jovyan/held; sync; sha256sum < /home/jovyan/held"
READ = "for folder in /home/jovyan /copied /restored; do sha256sum < $folder/held; done"
CHANGING = {
    "POST persistentvolumeclaims (dry run)",
    "POST pods (dry run)",
    "POST persistentvolumeclaims",
    "PATCH persistentvolumeclaims NAME",
    "POST pods",
}
"""All calls of a start that change something, or ask whether they may."""


@pytest.fixture
async def passage(cluster: localcluster.Status) -> AsyncIterator[Door]:
    async with door(Path(cluster.kubeconfig)) as made:
        yield made


ALL = {"kept", "fresh", "copied", "restored"}
ONE = {"profile": "singleuser", "workspace": {"name": "kept", "size": "1Gi"}}


def choice(size: str) -> dict[str, Any]:
    """Uses one volume again, makes it grow, makes a new one, copies one and restores one."""
    return {
        "profile": "singleuser",
        "workspace": {"source": "existing", "name": "kept", "size": size},
        "data_volumes": [
            {"mount": "/new", "size": "1Gi", "name": "fresh"},
            {"source": "clone", "origin": "kept", "name": "copied", "mount": "/copied"},
            {"source": "snapshot", "origin": "saved", "name": "restored", "mount": "/restored"},
        ],
    }


def uids(core: CoreV1Api, namespace: str) -> dict[str, str]:
    return {name: claim.metadata.uid for name, claim in claims(core, namespace).items()}


def forget(core: CoreV1Api, namespace: str) -> None:
    """Away with what a start made, for the next one to make it again."""
    for name in set(claims(core, namespace)) - {"kept"}:
        core.delete_namespaced_persistent_volume_claim(name, namespace)
    listing = core.list_namespaced_persistent_volume_claim
    eventually(lambda: {each.metadata.name for each in listing(namespace).items} == {"kept"})


async def written(cluster: localcluster.Status, spawner: KaleSpawner) -> str:
    """The checksum of what a first server wrote into its volume, of which a snapshot is kept."""
    await start(spawner, ONE)
    held = shell(cluster, spawner.namespace, spawner.pod_name, HELD)
    await Snapshots(spawner).take("kept", "saved")
    await Snapshots(spawner).until_ready(["saved"])
    await spawner.stop(now=True)
    return held


def read(cluster: localcluster.Status, spawner: KaleSpawner) -> set[str]:
    """The checksums in the volume, in its copy and in what was restored from it."""
    return set(shell(cluster, spawner.namespace, spawner.pod_name, READ).splitlines())


def intact(
    spawner: KaleSpawner,
    core: CoreV1Api,
    cluster: localcluster.Status,
    kept: str,
    held: str,
    *why: object,
) -> None:
    """One pod, one claim of each name, the first of them as it was, and every byte."""
    there = uids(core, spawner.namespace)
    assert (there["kept"], set(there)) == (kept, ALL), why
    assert pods(core, spawner.namespace) == [spawner.pod_name], why
    assert read(cluster, spawner) == {held}, why


async def tried(spawner: KaleSpawner, options: dict[str, Any]) -> str:
    """What the user is told; "" where the server runs."""
    try:
        await start(spawner, options)
        return ""
    except Shown as told:
        # The hub stops a server whose start failed.
        await spawner.stop(now=True)
        return str(told.jupyterhub_message)


async def calls_of(spawner: KaleSpawner, passage: Door) -> list[str]:
    """The calls of a start where nothing goes wrong."""
    spawner.facts.asked.clear()
    passage.arm()
    assert await tried(spawner, choice("1100Mi")) == ""
    passage.disarm()
    await spawner.stop(now=True)
    return list(passage.calls)


async def test_every_call_of_a_start_gone_wrong(
    make: Make,
    passage: Door,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    namespace: str,
) -> None:
    spawner = make(QUICK)
    held = await written(cluster, spawner)
    kept = uids(core_v1, namespace)["kept"]
    calls, size = await calls_of(spawner, passage), 1100
    table: dict[tuple[str, str], str] = {}
    for call in dict.fromkeys(calls):
        # What is only read is asked again or done without: two faults of it stand for all.
        for fault in READING if call.startswith("GET") else FAULTS:
            forget(core_v1, namespace)
            size += 1
            spawner.facts.asked.clear()
            passage.arm(call, fault)
            said = await tried(spawner, choice(f"{size}Mi"))
            passage.disarm()
            there = uids(core_v1, namespace)
            assert there["kept"] == kept, (call, fault)
            if said:
                assert "Traceback" not in said and len(said) > 20, (call, fault, said)
                assert set(there) == {"kept"}, (call, fault, said, there)
                assert spawner.pod_name not in pods(core_v1, namespace), (call, fault, said)
                assert await tried(spawner, choice(f"{size}Mi")) == "", (call, fault, said)
            intact(spawner, core_v1, cluster, kept, held, call, fault, said)
            await spawner.stop(now=True)
            # Not every start asks for all that another one reads.
            if call in passage.calls:
                table[call, fault] = said or "started"
    print_table("start", table)
    assert set(table) >= {(call, fault) for call in CHANGING for fault in FAULTS}
    assert len(table) >= 40


async def test_every_call_of_a_stop_gone_wrong(
    make: Make, passage: Door, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make(QUICK)
    await start(spawner, ONE)
    kept = uids(core_v1, namespace)
    passage.arm()
    await spawner.stop(now=True)
    passage.disarm()
    calls = list(passage.calls)
    table: dict[tuple[str, str], str] = {}
    for at, call in enumerate(calls):
        for fault in FAULTS:
            await start(spawner, ONE)
            passage.arm(at, fault)
            said = ""
            try:
                await spawner.stop(now=True)
            except KaleError as told:
                said = str(told)
            passage.disarm()
            assert uids(core_v1, namespace) == kept, (call, fault)
            if said:
                assert len(said) > 20, (call, fault, said)
                await spawner.stop(now=True)
            assert await spawner.poll() is not None, (call, fault, said)
            assert spawner.pod_name not in pods(core_v1, namespace), (call, fault, said)
            table[call, fault] = said or "stopped"
    print_table("stop", table)


async def test_a_hub_that_ends_at_any_call_of_a_start(
    make: Make,
    passage: Door,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    namespace: str,
) -> None:
    """The next hub knows nothing but what the first one stored; its start finds what is there."""
    first = make(QUICK)
    held = await written(cluster, first)
    kept = uids(core_v1, namespace)["kept"]
    calls, size = await calls_of(first, passage), 1100
    for at in range(len(calls)):
        forget(core_v1, namespace)
        size += 1
        dying = make(QUICK)
        dying.user_options = choice(f"{size}Mi")
        dying.facts.asked.clear()
        passage.arm(at, "hangs")
        # The call that it hangs at is the last of this hub: neither it nor its clean-up goes on.
        dying._clean = lambda start: asyncio.ensure_future(asyncio.sleep(0))  # type: ignore[method-assign]
        starting = asyncio.ensure_future(dying._start())
        while len(passage.calls) <= at and not starting.done():
            await asyncio.sleep(0.01)
        starting.cancel()
        making = dying._starting._making if dying._starting else None
        if making is not None:
            making.cancel()
        await asyncio.wait([starting])
        passage.disarm()
        following = make(QUICK, state=dying.get_state())
        assert await tried(following, choice(f"{size}Mi")) == "", at
        intact(following, core_v1, cluster, kept, held, at)
        await following.stop(now=True)


async def test_a_hub_that_is_killed_at_any_change_of_a_start(
    make: Make,
    passage: Door,
    cluster: localcluster.Status,
    core_v1: CoreV1Api,
    namespace: str,
) -> None:
    """A process of its own, ended by SIGKILL; the next hub knows what was stored before."""
    first = make(QUICK)
    held = await written(cluster, first)
    kept, stored = uids(core_v1, namespace)["kept"], first.get_state()
    size = 1100
    for call in sorted(CHANGING):
        for fault in KILLS:
            forget(core_v1, namespace)
            size += 1
            wanted = choice(f"{size}Mi")
            told = json.dumps([passage.address, cluster.kubeconfig, namespace, wanted])
            hub = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.cluster.dyinghub", told
            )
            passage.kill = hub.kill
            passage.arm(call, fault)
            assert await asyncio.wait_for(hub.wait(), 60) == -signal.SIGKILL, (call, fault)
            passage.disarm()
            following = make(QUICK, state=stored)
            assert await tried(following, wanted) == "", (call, fault)
            intact(following, core_v1, cluster, kept, held, call, fault)
            await following.stop(now=True)
