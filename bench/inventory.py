"""`python -m bench.inventory`: what a view of one's volumes costs beside the claims of others.

On the API server of a local cluster, two namespaces, each with a hub of its own: in both one user
with a few claims, and others with 10 claims and with 10,000. All are measured in turn, so that a
machine that becomes slower does so for all. `--pause` leaves them there until Enter, with the
environments in which `python -m bench.view` measures the same.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

import localcluster
from bench.view import OWN, USER
from tests.web.browserless import call
from tests.web.conftest import Cluster, made_namespace, running_hub

FEW, MANY = 10, 10_000
ROUNDS, VIEWS, LISTS = 5, 40, 4
"""Each way is measured in so many rounds, of so many views: a list takes much longer."""
IDLE = 30.0
_LIST = re.compile(
    r'^apiserver_request_total\{[^}]*"persistentvolumeclaims"[^}]*verb="LIST"[^}]*\} (.+)$', re.M
)


@dataclass
class Site:
    """A namespace with a hub. process: the hub's."""

    others: int
    environment: dict[str, str]
    process: psutil.Process
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "list": []})
    idle: float = 0.0
    """Share of a processor that the hub takes while nobody looks."""

    def measure(self, way: str, count: int) -> None:
        command = [sys.executable, "-m", "bench.view", way, str(count)]
        done = subprocess.run(
            command, env=os.environ | self.environment, check=True, stdout=subprocess.PIPE
        )
        self.seconds[way] += json.loads(done.stdout)

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def site(kubeconfig: str, others: int) -> Iterator[Site]:
    with ExitStack() as stack:
        cluster = stack.enter_context(made_namespace(kubeconfig))
        fill(cluster, others)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        before = set(psutil.Process().children())
        hub = stack.enter_context(running_hub(cluster, folder, "", len))
        (process,) = set(psutil.Process().children()) - before
        call(hub.url, hub.token, "POST", f"/users/{USER}")
        made = call(hub.url, hub.token, "POST", f"/users/{USER}/tokens", {})
        environment = {
            "KUBECONFIG": kubeconfig,
            "BENCH_NAMESPACE": cluster.namespace,
            "BENCH_URL": hub.url,
            "BENCH_TOKEN": made.json["token"],
        }
        yield Site(others, environment, process)


def fill(cluster: Cluster, others: int) -> None:
    """Claims as starts make them, of a hundred users."""
    for number in range(OWN):
        cluster.claim(f"{USER}-data-{number}", USER)
    with ThreadPoolExecutor(8) as pool:
        names = ((f"u{n % 100}-data-{n}", f"u{n % 100}") for n in range(others))
        for done in [pool.submit(cluster.claim, *each) for each in names]:
            done.result()


def lists(cluster: Cluster) -> int:
    """How often the API server has listed claims since it began, for whomever."""
    api = cluster.core.api_client
    answer = api.call_api(*api.param_serialize("GET", "/metrics", auth_settings=["BearerToken"]))
    text = answer.read().decode()
    return int(sum(float(each) for each in _LIST.findall(text)))


def table(sites: list[Site], idle_lists: float, view_lists: float) -> str:
    few, many = sites
    lines = [
        "| a view, in ms | median, 10 of others | median, 10,000 | ratio | 95 of 100 below |",
        "|---|---|---|---|---|",
    ]
    for way, called in (("ours", "this hub's"), ("list", "a list call for each view")):
        at = [sorted(each.seconds[way]) for each in sites]
        low, high = map(median, at)
        below = [each[int(len(each) * 0.95)] for each in at]
        lines.append(
            f"| {called} | {low * 1000:.1f} | {high * 1000:.1f} | {high / low:.2f} "
            f"| {below[0] * 1000:.1f} and {below[1] * 1000:.1f} |"
        )
    ours, listed = (median(many.seconds[way]) for way in ("ours", "list"))
    return "\n".join(
        [
            *lines,
            "",
            f"With 10,000, a list call takes {listed / ours:.0f} times as long as this hub's view.",
            f"Lists of claims in a second: {idle_lists:.2f} while nobody looks, {view_lists:.2f} "
            f"while this hub is asked for views.",
            f"Share of a processor that a hub takes while nobody looks: {few.idle:.1%} and "
            f"{many.idle:.1%}.",
        ]
    )


def main(*options: str) -> None:
    kubeconfig = localcluster.up("bench", control_plane_only=True).kubeconfig
    try:
        with ExitStack() as stack:
            print(f"making {FEW + MANY + 2 * OWN} claims", flush=True)
            watched = stack.enter_context(made_namespace(kubeconfig))
            sites = [stack.enter_context(site(kubeconfig, n)) for n in (FEW, MANY)]
            for each in sites:
                each.measure("ours", 5)
                each.seconds["ours"].clear()
            if "--pause" in options:
                for each in sites:
                    words = (f"{k}={shlex.quote(v)}" for k, v in each.environment.items())
                    print(f"# {each.others} of others\nexport {' '.join(words)}", flush=True)
                input("Enter goes on ")
            began, known, before = time.monotonic(), lists(watched), [s.cpu() for s in sites]
            time.sleep(IDLE)
            idle = time.monotonic() - began
            idle_lists = (lists(watched) - known) / idle
            for each, then in zip(sites, before, strict=True):
                each.idle = (each.cpu() - then) / idle
            shown, asked = 0.0, 0
            for _ in range(ROUNDS):
                began, known = time.monotonic(), lists(watched)
                for each in sites:
                    each.measure("ours", VIEWS)
                shown, asked = shown + time.monotonic() - began, asked + lists(watched) - known
                for each in sites:
                    each.measure("list", LISTS)
            print(table(sites, idle_lists, asked / shown))
    finally:
        localcluster.down("bench")


if __name__ == "__main__":
    main(*sys.argv[1:])
