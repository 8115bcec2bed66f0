"""The few calls that bringing a cluster up makes to its API server, as its administrator."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcluster.network import PORT, Network

_ANSWER_WITHIN = 10


class Api:
    """One connection a call: the server comes and goes while a cluster starts."""

    def __init__(self, pki: Path, network: Network) -> None:
        self._host = str(network.node_ip)
        self._trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def ready(self) -> bool:
        """Whether it serves, its own start-up done."""
        return self._call("GET", "/readyz")[0] == http.client.OK

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at `path`; None where there is none, or no answer."""
        status, body = self._call("GET", path)
        return json.loads(body) if status == http.client.OK else None

    def create(self, path: str, body: bytes, kind: str = "application/json") -> bool:
        """Whether the object is there now: made, or already there."""
        status, _ = self._call("POST", path, body, kind)
        return status in (http.client.CREATED, http.client.CONFLICT)

    def _call(self, verb: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            self._host, PORT, context=self._trust, timeout=_ANSWER_WITHIN
        )
        try:
            headers = {"Content-Type": kind} if kind else {}
            connection.request(verb, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


Condition = Callable[[Api], bool]


def node_ready(node: str) -> Condition:
    """The node takes pods, and the kubelet knows the storage driver."""

    def met(api: Api) -> bool:
        found = api.get(f"/api/v1/nodes/{node}") or {}
        conditions = found.get("status", {}).get("conditions", [])
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        drivers = (api.get(f"/apis/storage.k8s.io/v1/csinodes/{node}") or {}).get("spec", {})
        return ready and not found["spec"].get("taints") and bool(drivers.get("drivers"))

    return met


def accounts_ready(api: Api) -> bool:
    """Pods can be created: their default account is there."""
    return api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None
