"""The whole manifest, compared as a whole."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kale_spawner.model.claims import claim_manifest
from kale_spawner.model.growth import NewClaim
from kale_spawner.model.limits import Owner
from kale_spawner.model.mounts import Mount
from kale_spawner.model.plan import Plan
from kale_spawner.model.pod import App, Gateway, add_gateway, add_volumes, harden, set_app
from kale_spawner.wire import KINDS

PLAN = Plan(
    mounts=(
        Mount("kale-workspace", "/home/jovyan", "alice-workspace"),
        Mount("kale-data-1", "/data", "alice-data-1", read_only=True),
    )
)
HUB = [
    {"name": "JPY_API_TOKEN", "value": "secret"},
    {"name": "JUPYTERHUB_API_TOKEN", "value": "secret"},
    {"name": "JUPYTERHUB_API_URL", "value": "http://hub/api"},
    {"name": "JUPYTERHUB_SERVICE_PREFIX", "value": "/user/alice/"},
    {"name": "JUPYTERHUB_USER", "value": "alice"},
]
BEFORE: dict[str, Any] = {
    "metadata": {"name": "jupyter-alice"},
    "spec": {
        "securityContext": {"fsGroup": 200},
        "initContainers": [{"name": "theirs", "image": "x", "securityContext": {"runAsUser": 0}}],
        "containers": [
            {
                "name": "notebook",
                "image": "reg/img:1",
                "ports": [{"name": "notebook-port", "containerPort": 8888}],
                "env": [*HUB, {"name": "OWN", "value": "1"}, {"name": "NB_PREFIX", "value": "/x"}],
                "resources": {"limits": {"memory": "1Gi"}},
                "securityContext": {"runAsUser": 1234, "allowPrivilegeEscalation": False},
                "volumeMounts": [{"name": "theirs", "mountPath": "/shared"}],
            },
            {"name": "extra", "image": "y"},
        ],
        "volumes": [{"name": "theirs", "emptyDir": {}}],
    },
}
GATEWAY = Gateway(image="gw:1", kind=KINDS["plain"], resources={"limits": {"memory": "256Mi"}})
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SIDECAR = {
    "name": "gateway",
    "image": "gw:1",
    "env": [*HUB[1:], {"name": "KALE_GATEWAY_KIND", "value": KINDS["plain"].to_json()}],
    "resources": {"limits": {"memory": "256Mi"}},
    "volumeMounts": [{"name": "kale-gateway-tmp", "mountPath": "/tmp"}],
    "securityContext": {
        **SAFE,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": True,
    },
}
AFTER: dict[str, Any] = {
    "metadata": {"name": "jupyter-alice"},
    "spec": {
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "fsGroup": 200,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": [100],
        },
        "initContainers": [
            {**SIDECAR, "restartPolicy": "Always"},
            {"name": "theirs", "image": "x", "securityContext": {"runAsUser": 0}},
        ],
        "containers": [
            {
                "name": "notebook",
                "image": "reg/img:1",
                "command": ["run"],
                "args": [],
                "ports": [
                    {"name": "notebook-port", "containerPort": 18888, "protocol": "TCP"},
                ],
                "env": [
                    {"name": "JUPYTERHUB_USER", "value": "alice"},
                    {"name": "OWN", "value": "1"},
                    {"name": "NB_PREFIX", "value": "/user/alice/"},
                    {"name": "NOTEBOOK_HOST", "value": "127.0.0.1"},
                ],
                "resources": {"limits": {"memory": "1Gi"}},
                "securityContext": {"runAsUser": 1234, "runAsGroup": 0, **SAFE},
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "theirs", "mountPath": "/shared"},
                    {"name": "kale-workspace", "mountPath": "/home/jovyan"},
                    {"name": "kale-data-1", "mountPath": "/data", "readOnly": True},
                ],
            },
            {"name": "extra", "image": "y"},
        ],
        "volumes": [
            {"name": "theirs", "emptyDir": {}},
            {
                "name": "kale-workspace",
                "persistentVolumeClaim": {"claimName": "alice-workspace"},
            },
            {"name": "kale-data-1", "persistentVolumeClaim": {"claimName": "alice-data-1"}},
            {"name": "kale-gateway-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    },
}


def made(gateway: Gateway = GATEWAY) -> dict[str, Any]:
    return add_gateway(harden(set_app(add_volumes(BEFORE, PLAN), App(("run",), ()))), gateway)


def test_the_whole_pod_with_a_sidecar() -> None:
    before = copy.deepcopy(BEFORE)
    assert made() == AFTER
    assert before == BEFORE


def test_the_gateway_beside_the_app_on_older_clusters() -> None:
    pod = made(Gateway("gw:1", KINDS["plain"], "container", "Always", GATEWAY.resources))
    expected = copy.deepcopy(AFTER)
    expected["spec"]["initContainers"].pop(0)
    expected["spec"]["containers"].append({**SIDECAR, "imagePullPolicy": "Always"})
    assert pod == expected


@pytest.mark.parametrize("where", ["pod", "container"])
def test_an_administrator_may_run_the_image_as_root(where: str) -> None:
    """As for images whose start needs it; then the rest of the standard holds still."""
    root = {"runAsUser": 0, "runAsGroup": 0}
    pod: dict[str, Any] = {"spec": {"containers": [{"name": "notebook"}]}}
    (pod["spec"] if where == "pod" else pod["spec"]["containers"][0])["securityContext"] = root
    context = harden(pod)["spec"]["containers"][0]["securityContext"]
    assert "runAsNonRoot" not in context
    assert context.get("runAsUser", 0) == 0
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_no_workspace_is_an_empty_folder() -> None:
    plan = Plan(mounts=(Mount("kale-workspace", "/home/jovyan", None, size_limit="2Gi"),))
    pod = add_volumes(BEFORE, plan)
    assert pod["spec"]["volumes"][1:] == [
        {"name": "kale-workspace", "emptyDir": {"sizeLimit": "2Gi"}}
    ]


def test_a_whole_claim() -> None:
    owner = Owner(
        "Alice",
        "gpu",
        {"hub.jupyter.org/username": "alice---x", "component": "overridden"},
        {"hub.jupyter.org/username": "overridden", "note": "kept"},
    )
    new = NewClaim("alice-data-1", "5Gi", "rok-csi", "ReadWriteOnce", "data", "/data")
    assert claim_manifest(new, owner, "alice-gw-token") == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "alice-data-1",
            "labels": {
                "hub.jupyter.org/username": "alice---x",
                "component": "singleuser-storage",
            },
            "annotations": {
                "note": "kept",
                "hub.jupyter.org/username": "Alice",
                "hub.jupyter.org/servername": "gpu",
                "jupyter-dataset": "alice-data-1",
                "kale-spawner/mount": "/data",
                "rok/creds-secret-name": "alice-gw-token",
            },
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "rok-csi",
        },
    }


def test_a_claim_of_the_clusters_own_class() -> None:
    new = NewClaim("w", "5Gi", "", "ReadWriteOnce", "workspace", "/home/jovyan")
    claim = claim_manifest(new, Owner("alice"))
    assert "storageClassName" not in claim["spec"]
    assert claim["metadata"]["annotations"]["jupyter-workspace"] == "w"
    assert "rok/creds-secret-name" not in claim["metadata"]["annotations"]
