"""The process of a hub that starts one server, to be killed in the midst of it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kubespawner.spawner

from tests.cluster.faults import QUICK
from tests.cluster.servers import connect, settings, start
from tests.spawning import make_spawner


async def main(address: str, kubeconfig: str, namespace: str, choice: dict[str, Any]) -> None:
    kubespawner.spawner.load_config = lambda **_: None
    await connect(kubeconfig, address)
    await start(make_spawner(settings(QUICK), namespace=namespace), choice)


if __name__ == "__main__":
    asyncio.run(main(*json.loads(sys.argv[1])))
