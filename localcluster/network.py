"""A cluster's addresses, and the one link by which it and the machine reach each other.

A cluster has a block of 2048 addresses, taken where the machine has no address or route: the
link's two ends, the services, the pods. The link is a veth pair; it and its routes vanish with
the cluster's network namespace.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from localcluster.errors import MachineUnfit, NotUp

UPLINK = "uplink"
"""The link's end inside."""

PORT = 6443
"""Of the API server."""

_RANGES = [IPv4Network(text) for text in ("10.213.0.0/16", "172.29.0.0/16", "192.168.192.0/18")]


@dataclass(frozen=True)
class Network:
    """`block` is a /21; everything else follows from it."""

    block: IPv4Network

    @property
    def host_ip(self) -> IPv4Address:
        """The machine, as pods reach it."""
        return self.block[1]

    @property
    def node_ip(self) -> IPv4Address:
        """The node and its API server, as the machine and the pods reach them."""
        return self.block[2]

    @property
    def services(self) -> IPv4Network:
        return IPv4Network((self.block[512], 23))

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network((self.block[1024], 22))

    @property
    def api(self) -> str:
        return f"https://{self.node_ip}:{PORT}"


def choose(taken: Iterable[IPv4Network]) -> Network:
    """The first block that overlaps neither `taken` nor what the machine reaches."""
    avoid = [*taken, *_known_to_the_machine()]
    for wide in _RANGES:
        for block in wide.subnets(new_prefix=21):
            if not any(block.overlaps(other) for other in avoid):
                return Network(block)
    ranges = ", ".join(str(wide) for wide in _RANGES)
    raise MachineUnfit(f"no free addresses for a cluster in {ranges}: remove a route or a cluster")


def _known_to_the_machine() -> list[IPv4Network]:
    routes = json.loads(_ip("-json", "-4", "route", "show", "table", "all") or "[]")
    found = [route["dst"] for route in routes if route["dst"] != "default"]
    addresses = json.loads(_ip("-json", "-4", "address") or "[]")
    found += [
        f"{one['local']}/{one['prefixlen']}" for link in addresses for one in link["addr_info"]
    ]
    return [IPv4Network(text, strict=False) for text in found]


def attach(network: Network, link: str, pid: int) -> None:
    """Lay the link between the machine and the network namespace of the process `pid`."""
    node, ours = str(network.node_ip), f"{network.host_ip}/30"
    _ip("link", "add", link, "type", "veth", "peer", "name", UPLINK, "netns", str(pid))
    _ip("address", "add", ours, "dev", link)
    _ip("link", "set", link, "up")
    for inside in (network.pods, network.services):
        _ip("route", "add", str(inside), "via", node, "dev", link)


def detach(link: str) -> None:
    """Remove what a half-made link left; nothing where there is none."""
    subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotUp(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
