"""`python -m bench.view ours|list COUNT`: show one user's volumes COUNT times; print the seconds of
each as JSON.

ours asks a hub (BENCH_URL, BENCH_TOKEN) for what its Volumes page shows. list does what Kubeflow's
web apps do for a page: with the `kubernetes` client, list the claims of the namespace
(BENCH_NAMESPACE, by KUBECONFIG) and keep the user's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import requests
from kubernetes import client, config

from kale_spawner.wire import USERNAME_LABEL

USER, OWN = "ann", 5
"""Who looks, and how many claims they have."""


def ours() -> Callable[[], int]:
    session = requests.Session()
    session.headers["Authorization"] = f"token {os.environ['BENCH_TOKEN']}"
    url = f"{os.environ['BENCH_URL']}/hub/api/users/{USER}/storage"
    return lambda: len(session.get(url, timeout=60).json()["volumes"])


def listed() -> Callable[[], int]:
    core = client.CoreV1Api(config.new_client_from_config())
    namespace = os.environ["BENCH_NAMESPACE"]

    def view() -> int:
        found = core.list_namespaced_persistent_volume_claim(namespace).items
        return sum((e.metadata.annotations or {}).get(USERNAME_LABEL) == USER for e in found)

    return view


def main(way: str, count: str) -> None:
    view = {"ours": ours, "list": listed}[way]()
    assert view() == OWN  # opens the connection
    took = []
    for _ in range(int(count)):
        began = time.perf_counter()
        assert view() == OWN
        took.append(time.perf_counter() - began)
    json.dump(took, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
