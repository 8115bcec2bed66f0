"""The process of a hub that starts one server, to be killed in the midst of it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kubespawner.spawner
from kubernetes_asyncio import config as kube_config
from kubernetes_asyncio.client import Configuration

from tests.cluster.faults import QUICK
from tests.cluster.servers import CONFIG, start
from tests.spawning import make_spawner


async def main(address: str, kubeconfig: str, namespace: str, choice: dict[str, Any]) -> None:
    kubespawner.spawner.load_config = lambda **_: None
    await kube_config.load_kube_config(config_file=kubeconfig)
    configuration = Configuration.get_default_copy()
    configuration.host = address
    Configuration.set_default(configuration)
    settings = {key: dict(value) for key, value in CONFIG.items()}
    for group, values in QUICK.items():
        settings.setdefault(group, {}).update(values)
    await start(make_spawner(settings, namespace=namespace), choice)


if __name__ == "__main__":
    asyncio.run(main(*json.loads(sys.argv[1])))
