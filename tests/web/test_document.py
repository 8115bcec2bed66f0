"""Every operation of the API's document, with requests made of it, valid and invalid, and sent to
a real hub: no failure, nothing that the document does not say, nothing of another user's."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pytest
import schemathesis
from kubernetes.client import CustomObjectsApi
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kale_spawner.kube.watch import SNAPSHOTS
from kale_spawner.model import marks
from kale_spawner.model.limits import SYSTEM_FOLDERS
from kale_spawner.web.openapi import document
from kale_spawner.wire import COMPONENT_LABEL, STORAGE_COMPONENT, USERNAME_LABEL
from tests.web.browserless import Answer, call
from tests.web.conftest import Cluster, Hub, StartHub
from tests.web.test_hub import stop, until

EXAMPLES = 15
"""An operation, beside those that try each bound of each field."""

CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {
            "max-examples": EXAMPLES,
            "deterministic": True,
            "database": "none",
            "with-security-parameters": False,
        },
    }
)
schema = schemathesis.openapi.from_dict(document("/hub/"), config=CONFIG)
BOBS = ("bob-letters", "bob-letters-1", "bob-monday", "bob-monday-1")
"""Names of another user's volume, snapshot, set, and its snapshot."""
SECRETS = ("hidden-of-bobs", "7654321Mi", "/bobs-folder")
"""What is in them; no request has these words."""
MINE = {
    "volumes": ("ann-letters", "ann-letters", "ann-lab", "ann-empty"),
    "snapshots": ("ann-letters-1", "ann-letters-1", "ann-monday-1"),
    "snapshot-sets": ("ann-monday",),
}
BODIES = {
    "volume": MINE["volumes"],
    "origin": ("ann-letters", "ann-letters-1", *BOBS),
    "name": BOBS,
    "size": ("6Gi", "6Gi", "60Gi"),
    "server": ("lab", "lab", "new", ""),
}
"""What most requests ask for; the rest is as it was drawn."""


@dataclass(frozen=True)
class Site:
    """Where Ann asks, and Bob has things, too."""

    hub: Hub
    cluster: Cluster
    token: str
    bobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def custom(self) -> CustomObjectsApi:
        return CustomObjectsApi(self.cluster.core.api_client)

    def objects(self) -> list[dict[str, Any]]:
        """All claims, snapshots and pods, as they are."""
        core, namespace = self.cluster.core, self.cluster.namespace
        found: list[dict[str, Any]] = self.custom.list_namespaced_custom_object(
            SNAPSHOTS[0], SNAPSHOTS[1], namespace, SNAPSHOTS[2]
        )["items"]
        for listed in (
            core.list_namespaced_persistent_volume_claim(namespace),
            core.list_namespaced_pod(namespace),
        ):
            found += core.api_client.sanitize_for_serialization(listed)["items"]
        return found

    def stock(self) -> None:
        """Ann has everything (again); Bob too."""
        there = {each["metadata"]["name"]: each for each in self.objects()}
        for user, size, mount in (("ann", "5Gi", "/data"), ("bob", SECRETS[1], SECRETS[2])):
            claim = there.get(name := f"{user}-letters")
            if claim and "deletionTimestamp" in claim["metadata"]:
                self.cluster.forget(name)
                claim = None
            if claim is None:
                self.bound(name, user, size, mount)
            for snapshot, of_set in (("letters-1", ""), ("monday-1", f"{user}-monday")):
                if f"{user}-{snapshot}" not in there:
                    self.snapshot(f"{user}-{snapshot}", user, name, size, of_set)
        if "ann-empty" not in there:
            self.cluster.claim("ann-empty", "ann")
        if "ann-lab" not in there:
            self.bound("ann-lab", "ann", "1Gi", "/home/jovyan")

    def bound(self, name: str, user: str, size: str, mount: str) -> None:
        """A claim that a server has written to."""
        self.cluster.claim(name, user, size)
        noted = {"metadata": {"annotations": {marks.MOUNT: mount, "note": SECRETS[0]}}}
        body = {"status": {"phase": "Bound", "capacity": {"storage": size}}}
        core, namespace = self.cluster.core, self.cluster.namespace
        core.patch_namespaced_persistent_volume_claim(name, namespace, noted)
        core.patch_namespaced_persistent_volume_claim_status(name, namespace, body)

    def snapshot(self, name: str, user: str, of: str, size: str, saved: str = "") -> None:
        """One that is ready; saved: the set that it is all of."""
        choice = {"profile": "jupyter-kale", "workspace": {"source": "none"}}
        known = {marks.STORAGE_CLASS: "rok-csi", marks.MOUNT: "/data"}
        labels = {marks.SET: saved} if saved else {}
        noted = {marks.SET_SIZE: "1", marks.CHOICE: json.dumps(choice)} if saved else {}
        body = {
            "apiVersion": "/".join(SNAPSHOTS[:2]),
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": name,
                "labels": {COMPONENT_LABEL: STORAGE_COMPONENT, USERNAME_LABEL: user, **labels},
                "annotations": {USERNAME_LABEL: user, **known, **noted},
            },
            "spec": {"source": {"persistentVolumeClaimName": of}},
        }
        where = (SNAPSHOTS[0], SNAPSHOTS[1], self.cluster.namespace, SNAPSHOTS[2])
        self.custom.create_namespaced_custom_object(*where, body)
        status = {"status": {"readyToUse": True, "restoreSize": size}}
        self.custom.patch_namespaced_custom_object_status(*where, name, status)

    def clear(self) -> None:
        self.cluster.clear()
        where = (SNAPSHOTS[0], SNAPSHOTS[1], self.cluster.namespace, SNAPSHOTS[2])
        self.custom.delete_collection_namespaced_custom_object(*where)


def owner(thing: dict[str, Any]) -> str | None:
    return (thing["metadata"].get("annotations") or {}).get(USERNAME_LABEL)


@pytest.fixture(scope="module")
def document_hub(start_hub: StartHub) -> Hub:
    """Its API does not wait for a start, which here never ends."""
    return start_hub(
        "c.KaleVolumes.max_size = '50Gi'\n"
        "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 0}\n"
        "c.JupyterHub.named_server_limit_per_user = 2\n"
    )


@pytest.fixture(scope="module")
def site(document_hub: Hub, cluster: Cluster) -> Iterator[Site]:
    """What one request leaves, the next one finds."""
    hub = document_hub
    for user in ("ann", "bob"):
        call(hub.url, hub.token, "POST", f"/users/{user}")
    made = call(hub.url, hub.token, "POST", "/users/ann/tokens", {})
    found = Site(hub, cluster, made.json["token"])
    found.clear()
    found.stock()
    started = {"workspace": {"source": "existing", "name": "ann-lab"}, "data_volumes": []}
    assert call(hub.url, found.token, "POST", "/users/ann/servers/lab", started).status < 300
    until(cluster.pods)
    found.bobs[:] = [each for each in found.objects() if owner(each) == "bob"]
    yield found
    servers = call(hub.url, hub.token, "GET", "/users/ann?include_stopped_servers").json["servers"]
    for name in servers:
        path = f"/users/ann/servers/{name}" if name else "/users/ann/server"
        call(hub.url, hub.token, "DELETE", path, {"remove": True} if name else None)
    found.clear()


def test_the_hub_serves_this_document(document_hub: Hub) -> None:
    served = call(document_hub.url, "", "GET", "/kale-spawner/openapi.json").json
    assert served == document("/hub/")


@schema.parametrize()
def test_an_operation(case: Case, site: Site) -> None:
    aim(case)
    headers = {"Authorization": f"token {site.token}"}
    response = case.call(base_url=f"{site.hub.url}/hub/api", headers=headers)
    case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])
    if response.status_code >= 400 and case.method == case.operation.method.upper():
        told = response.json()
        assert told["status"] == response.status_code
        assert told["message"]
    request = response.request
    sent = f"{request.url} {request.body!r}"
    for word in (*SECRETS, *(each["metadata"]["uid"] for each in site.bobs)):
        assert word not in response.text
    for name in BOBS:
        assert name not in response.text or name in sent
    there = site.objects()
    assert [each for each in there if owner(each) == "bob"] == site.bobs
    for each in there:
        assert owner(each) in ("ann", "bob")
        within_the_rules(each)
    if case.method == "DELETE" and response.status_code < 300:
        site.stock()


@pytest.mark.parametrize(
    "name",
    [
        "..%2Fbob-letters",
        "%2E%2E%2Fbob%2Fvolumes%2Fbob-letters",
        "bob-letters%00",
        "a" * 300,
    ],
)
def test_a_name_that_is_none_is_not_there(site: Site, name: str) -> None:
    """Such as the client above would not send."""
    for path, verbs in document("/hub/")["paths"].items():
        if "{name}" not in path:
            continue
        place = path.replace("{user}", "ann").replace("{name}", name)
        for verb in verbs:
            body = {"size": "20Gi"} if verb == "patch" else {} if verb == "post" else None
            answer = call(site.hub.url, site.token, verb.upper(), place, body)
            assert answer.status in (400, 404), (verb, path, answer.text)
    assert [each for each in site.objects() if owner(each) == "bob"] == site.bobs


def aim(case: Case) -> None:
    """Of what is valid, most asks for what there is: Ann's, and Bob's."""
    if mode(case, ParameterLocation.PATH).is_positive:
        path = dict(case.path_parameters)
        path["user"] = picked(str(path), ("ann",) * 8 + ("bob", path["user"]))
        if name := path.get("name"):
            kind = case.operation.path.split("/")[3]
            path["name"] = picked(f"{name} {case.body}", (*MINE[kind] * 4, *BOBS, "{slug}", name))
        case.path_parameters = path
    if mode(case, ParameterLocation.BODY).is_positive and isinstance(case.body, dict):
        for key, names in BODIES.items():
            if isinstance(value := case.body.get(key), str):
                case.body[key] = picked(f"{key} {case.body}", (*names, value))


def mode(case: Case, where: ParameterLocation) -> GenerationMode:
    found = case.meta and case.meta.components.get(where)
    return found.mode if found else GenerationMode.NEGATIVE


def picked(seed: str, among: tuple[str, ...]) -> str:
    """Always the same one for the same seed."""
    return among[zlib.crc32(seed.encode(errors="replace")) % len(among)]


def within_the_rules(thing: dict[str, Any]) -> None:
    """No name and no path but what the rules admit, and of a pod, no volume but the user's."""
    spec = thing["spec"]
    paths = [(thing["metadata"].get("annotations") or {}).get(marks.MOUNT)]
    if thing.get("kind") == "VolumeSnapshot":
        assert spec["source"]["persistentVolumeClaimName"].startswith(owner(thing))
    for volume in spec.get("volumes") or ():
        assert volume.keys() & {"persistentVolumeClaim", "emptyDir", "projected", "downwardAPI"}
        assert "bob" not in json.dumps(volume)
    for container in spec.get("containers") or ():
        paths += [each["mountPath"] for each in container.get("volumeMounts") or ()]
    for path in filter(None, paths):
        assert path == str(PurePosixPath("/", path))
        assert ".." not in PurePosixPath(path).parts
        assert not any(PurePosixPath(path).is_relative_to(each) for each in SYSTEM_FOLDERS)


@contextmanager
def quota(site: Site, resource: str, amount: str) -> Iterator[None]:
    core, namespace = site.cluster.core, site.cluster.namespace
    hard, used = {resource: amount}, {resource: "0"}
    body = {"metadata": {"name": "few"}, "spec": {"hard": hard}}
    core.create_namespaced_resource_quota(namespace, body)
    status = {"status": {"hard": hard, "used": used}}
    core.patch_namespaced_resource_quota_status("few", namespace, status)
    yield
    core.delete_namespaced_resource_quota("few", namespace)


def restored(site: Site, server: str = "again") -> Answer:
    path = "/users/ann/snapshot-sets/ann-monday/restore"
    return call(site.hub.url, site.hub.token, "POST", path, {"server": server})


def servers(site: Site) -> dict[str, Any]:
    path = "/users/ann?include_stopped_servers"
    return dict(call(site.hub.url, site.hub.token, "GET", path).json["servers"])


def test_a_restore_that_is_refused_leaves_no_server(site: Site) -> None:
    site.stock()
    with quota(site, "requests.storage", "1Gi"):
        answer = restored(site)
        assert answer.status == 403, answer.text
        said = answer.json["message"]
        assert said.startswith('A server cannot be started with "ann-monday" now: ')
        assert "your quota leaves 1Gi of storage" in said
        assert "one by one" in said
        assert "again" not in servers(site)


def test_a_restore_that_the_cluster_refuses_can_be_asked_for_again(site: Site) -> None:
    site.stock()
    with quota(site, "pods", "0"):
        for _ in range(2):
            refused = restored(site)
            assert refused.status == 403, refused.text
            assert "stop a server that you do not need" in refused.json["message"]
        assert servers(site)["again"]["user_options"] == {}  # a plain start does not restore
    assert restored(site).status == 202
    stop(site.hub, "ann", "again")
    again = restored(site)
    assert (again.status, "over: true" in again.json["message"]) == (409, True)


def test_a_restore_beyond_the_limit_of_servers_is_told_as_such(site: Site) -> None:
    site.stock()
    hub = site.hub
    names = [name for name in servers(site) if name]
    for name in (*names, "one", "two"):
        call(
            hub.url, hub.token, "POST", f"/users/ann/servers/{name}", {"workspace": {"size": "no"}}
        )
    answer = restored(site, "three")
    assert answer.status == 400, answer.text
    assert "maximum" in answer.json["message"]
    for name in ("one", "two"):
        call(hub.url, hub.token, "DELETE", f"/users/ann/servers/{name}", {"remove": True})


def test_a_restore_as_a_server_of_a_strange_name_is_told_of_that(site: Site) -> None:
    site.stock()
    for name in ("a/b", "x" * 300, "x" * 100):
        answer = restored(site, name)
        if answer.status == 202:
            stop(site.hub, "ann", name)
        else:
            assert "somebody else" not in answer.text, answer.text
