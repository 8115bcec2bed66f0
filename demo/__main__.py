"""`python -m demo check|up|down`. Settings by environment: PORT, KUBECONFIG, DEMO (its name)."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import localcluster
from demo import hub
from images import ImageError
from setup.locks import locked
from setup.steps import step
from setup.system import RefusedError, need_disk, need_linux, need_port, need_root

NAME = os.environ.get("DEMO", "demo")
PORT = os.environ.get("PORT", "8000")
GIVEN_CLUSTER = bool(os.environ.get("KUBECONFIG"))
WAITING = "  another make demo or demo-down is under way: waiting for it"
COLD_GIB, RUN_GIB = 16.0, 4.0
PORTS_ABOVE = (1, 81)
"""The proxy's and the hub's own; see jupyterhub_config.py."""
OWN_CLUSTER_NEEDS = {
    "KALE_IMAGES_REGISTRY": "the registry that the cluster pulls the images from",
    "KALE_IMAGES_TAG": "their tag",
    "KALE_GATEWAY_IMAGE": "the gateway's image",
    "KALE_HUB_CONNECT_IP": "this machine's address as the cluster's pods reach it",
}


def check() -> hub.Hub | None:
    """The hub, where it runs; else raise RefusedError for what stands in the way of one.

    Before anything is done, so with the standard library alone. A hub whose cluster was killed
    starts no server: it is ended, to be started again with its password and users.
    """
    found = hub.find(NAME)
    if found and hub.alive(found):
        if not found.owns_cluster or localcluster.status(NAME).running:
            return found
        hub.end(found)
    hub.end_proxy(NAME)
    need_port(PORT, also=PORTS_ABOVE)
    if GIVEN_CLUSTER:
        _need_settings()
    else:
        need_linux()
        need_root("a local cluster")
        need_disk(localcluster.cache(), RUN_GIB if localcluster.built() else COLD_GIB)
    return None


def up() -> None:
    if running := check():
        _tell(running, "already running")
        if running.made_from != hub.made_from():
            # Not ended: another checkout, or somebody else, may have started and be using it.
            print(f"""
  It was started with another configuration, code or setting, and goes on with that:
  run '{_down()}' first for a new one, or give a second one a name and a port
  (DEMO=name PORT=8080).""")
        return
    began = time.monotonic()
    settings = {"KALE_HUB_CLEANUP": "1"} if GIVEN_CLUSTER else _local_cluster()
    with step("hub"):
        started = hub.start(NAME, int(PORT), settings, owns_cluster=not GIVEN_CLUSTER)
    _tell(started, f"up after {time.monotonic() - began:.0f} s")


def down() -> None:
    found = hub.find(NAME)
    if found:
        with step("hub down"):
            hub.stop(found)
    if not found or found.owns_cluster:
        with step("cluster down"):
            localcluster.down(NAME)
    else:
        print("Volumes of its users stay in your cluster: kubectl get pvc -l app=jupyterhub")
    print(f"Nothing is left running. Built programs and images stay in {localcluster.cache()}")


def _need_settings() -> None:
    lacking = {name: why for name, why in OWN_CLUSTER_NEEDS.items() if not os.environ.get(name)}
    if lacking:
        raise RefusedError(
            "KUBECONFIG names a cluster, so these are needed in the environment too "
            "(or unset KUBECONFIG for a local cluster with images of its own):\n"
            + "\n".join(f"  {name}  {why}" for name, why in lacking.items())
        )


def _local_cluster() -> dict[str, str]:
    localcluster.check(NAME)
    if not localcluster.built():
        print("The first run builds Kubernetes and the images: about 20 minutes on 2 cores.")
    elif outdated := images.outdated():
        print(f"To be built first: {', '.join(outdated)}; at most 10 minutes on 2 cores.")
    with ThreadPoolExecutor() as pool:
        programs = pool.submit(localcluster.build)
        archives = pool.submit(images.build)
        programs.result()
        loads: list[Path] = archives.result()
    status = localcluster.up(NAME, load=loads)
    return {
        "KUBECONFIG": status.kubeconfig,
        "KALE_HUB_CONNECT_IP": status.host_ip,
    } | images.settings()


def _down() -> str:
    return "make demo-down" if NAME == "demo" else f"make demo-down DEMO={NAME}"


def _tell(started: hub.Hub, state: str) -> None:
    print(f"""
  The hub is {state}:  {started.url}
  Log in as  demo  (or any name; admin is the administrator)
  Password   {started.password}

  '{_down()}' takes it all away. The hub's log: {hub.folder(NAME) / "hub.log"}""")


if __name__ == "__main__":
    try:
        if sys.argv[1] == "check":
            check()
        else:
            with locked(localcluster.lock_file(f"hub-{NAME}"), WAITING):
                {"up": up, "down": down}[sys.argv[1]]()
    except (RefusedError, ImageError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("\ndemo: stopped; 'make demo' goes on from here, 'make demo-down' takes it away")
