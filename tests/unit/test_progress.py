"""A table of what the cluster shows, and what the user is told and spared."""

from __future__ import annotations

from typing import Any

import pytest

from kale_spawner.model.failures import Scene, failure, refusal, trouble
from kale_spawner.model.mounted import mounted_claims
from kale_spawner.model.progress import steps

UID = "pod-uid"


def pod(
    status: dict[str, Any] | None = None,
    node: str = "n1",
    phase: str = "Pending",
    **conditions: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": UID},
        "spec": {
            "nodeName": node,
            "volumes": [
                {"name": "w", "persistentVolumeClaim": {"claimName": "alice-workspace"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "alice-data-1"}},
                {"name": "e", "emptyDir": {}},
            ],
            "initContainers": [{"name": "gateway", "volumeMounts": [{"name": "e"}]}],
            "containers": [{"name": "notebook", "volumeMounts": [{"name": "w"}, {"name": "d"}]}],
        },
        "status": {"phase": phase, **(status or {}), **conditions},
    }


def container(state: dict[str, Any], restarts: int = 0, **more: Any) -> dict[str, Any]:
    status = {
        "name": "notebook",
        "image": "reg/img:1",
        "state": state,
        "restartCount": restarts,
        **more,
    }
    return pod({"containerStatuses": [status]})


def waiting(reason: str, message: str = "", restarts: int = 0, **more: Any) -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}}, restarts, **more)


def event(
    reason: str,
    message: str = "",
    kind: str = "Pod",
    name: str = "p",
    warning: bool = True,
    n: int = 1,
) -> dict[str, Any]:
    return {
        "metadata": {"uid": f"{reason}{name}{message}"},
        "involvedObject": {"kind": kind, "name": name, "uid": UID},
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message,
        "count": n,
    }


def claim(phase: str = "Pending") -> dict[str, Any]:
    return {
        "metadata": {"name": "alice-workspace"},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}},
        "status": {"phase": phase},
    }


UNSCHEDULABLE = pod(
    {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu.",
            }
        ]
    },
    node="",
)
CRASHED = {"lastState": {"terminated": {"exitCode": 3, "message": "no module x"}}}
PULL = 'Failed to pull image "reg/img:1": rpc error: reg/img:1: not found'
SLOW = 'Failed to pull image "reg/img:1": 503 Service Unavailable'
CLASS = 'storageclass.storage.k8s.io "nope" not found'


def claims_scene(message: str, n: int = 1, phase: str = "Pending") -> Scene:
    failed = event("ProvisioningFailed", message, "PersistentVolumeClaim", "alice-workspace", n=n)
    return Scene(pod(), {"alice-workspace": claim(phase)}, (failed,))


@pytest.mark.parametrize(
    ("scene", "cause", "says"),
    [
        (Scene(waiting("ErrImagePull"), events=(event("Failed", PULL),)), "image", "not found"),
        (Scene(waiting("ImagePullBackOff", "connection refused")), "image", "reg/img:1"),
        (Scene(waiting("InvalidImageName", "bad")), "image", "bad"),
        (Scene(waiting("ErrImageNeverPull")), "image", "another image"),
        (
            Scene(waiting("ImagePullBackOff"), events=(event("Failed", SLOW, n=3),)),
            "image",
            "503",
        ),
        (Scene(waiting("CrashLoopBackOff", restarts=1, **CRASHED)), "crash", "no module x"),
        (
            Scene(container({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, 1)),
            "memory",
            "larger profile",
        ),
        (
            Scene(
                container(
                    {"terminated": {"exitCode": 1, "message": "a\nOSError: [Errno 28] x\nb\nc"}}, 1
                ),
                claims={"w": {"status": {"phase": "Bound"}}},
            ),
            "disk-full",
            'Volume "w" is full',
        ),
        (
            Scene(UNSCHEDULABLE, unschedulable_for=16, beside='"w" is mounted by server lab'),
            "unschedulable",
            'Volume "w" is mounted by server lab, where this server has no room',
        ),
        (Scene(waiting("CreateContainerConfigError", "no secret s")), "container", "no secret s"),
        (Scene(pod(phase="Failed", reason="Evicted")), "ended", "Evicted"),
        (Scene(pod(phase="Succeeded")), "ended", "by itself"),
        (Scene(UNSCHEDULABLE, unschedulable_for=16), "unschedulable", "Insufficient cpu"),
        (
            Scene(UNSCHEDULABLE, events=(event("NotTriggerScaleUp", "max"),)),
            "unschedulable",
            "smaller profile",
        ),
        (claims_scene(CLASS), "storage-class", '"nope"'),
        (claims_scene("rpc error: code = ResourceExhausted desc = full"), "volume", "full"),
        (claims_scene("rpc error: code = Unavailable", n=3), "volume", "Unavailable"),
        (Scene(claims={"alice-workspace": claim("Lost")}), "volume", "gone"),
    ],
)
def test_a_certain_failure_is_told_with_cause_and_way_out(
    scene: Scene, cause: str, says: str
) -> None:
    failed = failure(scene)
    assert failed is not None
    assert failed.cause == cause
    assert says in str(failed)


@pytest.mark.parametrize(
    "scene",
    [
        Scene(),
        Scene(pod()),
        Scene(waiting("ContainerCreating")),
        Scene(waiting("ErrImagePull"), events=(event("Failed", SLOW),)),
        Scene(waiting("ImagePullBackOff"), events=(event("Failed", SLOW, n=2),)),
        Scene(container({"terminated": {"exitCode": 1}})),
        Scene(container({"running": {}}, 1, **CRASHED)),
        Scene(UNSCHEDULABLE, unschedulable_for=14),
        Scene(
            UNSCHEDULABLE,
            events=(event("TriggeredScaleUp", warning=False),),
            unschedulable_for=500,
        ),
        claims_scene(CLASS, phase="Bound"),
        claims_scene("rpc error: code = DeadlineExceeded"),
        Scene(pod(), events=(event("FailedAttachVolume", "Multi-Attach error"),)),
    ],
)
def test_what_may_pass_is_waited_for(scene: Scene) -> None:
    assert failure(scene) is None


def test_a_start_is_told_step_by_step() -> None:
    running = pod(
        {
            "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
            "containerStatuses": [
                {"name": "notebook", "state": {"running": {}}, "restartCount": 1}
            ],
        }
    )
    scene = Scene(
        running,
        {"alice-workspace": claim(), "old": claim()},
        (
            event("Provisioning", "", "PersistentVolumeClaim", "alice-workspace", False),
            event("ProvisioningSucceeded", "", "PersistentVolumeClaim", "alice-workspace", False),
            event("Pulling", 'Pulling image "reg/img:1"', warning=False),
            event("Pulled", 'Successfully pulled image "reg/img:1" in 3s', warning=False),
            event("FailedMount", "MountVolume.SetUp failed"),
        ),
    )
    told = steps(scene, frozenset({"alice-workspace"}))
    assert [step.message for step in told] == [
        "Volume alice-workspace (10Gi) was made",
        "Volume old is used again",
        "Volume alice-workspace is being prepared",
        "Volume alice-workspace is ready",
        "The server was handed to the cluster",
        "Machine n1 will run the server",
        "The volumes are attached",
        "Image reg/img:1 is being pulled",
        "Image reg/img:1 is there",
        "MountVolume.SetUp failed",
        "Container notebook ended and was started again (1)",
        "The app is starting",
    ]
    assert trouble(scene) == "MountVolume.SetUp failed"
    assert steps(Scene()) == []


@pytest.mark.parametrize(
    ("scene_pod", "mounted"),
    [
        (pod(), set()),
        (waiting("ImagePullBackOff"), set()),
        (waiting("ContainerCreating"), set()),
        (container({"running": {}}), {"alice-workspace", "alice-data-1"}),
        (
            container({"terminated": {"exitCode": 0, "containerID": "c://1"}}),
            {"alice-workspace", "alice-data-1"},
        ),
        (
            container({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}),
            set(),
        ),
        (waiting("CrashLoopBackOff", restarts=1), {"alice-workspace", "alice-data-1"}),
        (
            waiting("CrashLoopBackOff", lastState={"terminated": {"startedAt": "t"}}),
            {"alice-workspace", "alice-data-1"},
        ),
        (pod({"initContainerStatuses": [{"name": "gateway", "state": {"running": {}}}]}), set()),
    ],
)
def test_a_claim_counts_as_mounted_once_a_container_that_mounts_it_ran(
    scene_pod: dict[str, Any], mounted: set[str]
) -> None:
    assert mounted_claims(scene_pod) == mounted


@pytest.mark.parametrize(
    ("detail", "cause", "says"),
    [
        ('pods "p" is forbidden: exceeded quota: q, requested: cpu=2', "quota", "requested: cpu=2"),
        ('violates PodSecurity "restricted:latest": privileged', "policy", "privileged"),
        ("user hub cannot create pods", "denied", "administrator"),
        (
            'claim is forbidden: User "hub" cannot patch resource "persistentvolumeclaims" in API',
            "denied",
            "The hub may not patch persistentvolumeclaims here.",
        ),
        ("exceeded quota: q, requested: pods=1, used: pods=2", "quota", "stop a server"),
        ("exceeded quota: q, requested: requests.storage=1", "quota", "fewer volumes, delete one"),
    ],
)
def test_a_refusal_says_who_refused_what(detail: str, cause: str, says: str) -> None:
    failed = refusal(detail)
    assert failed.cause == cause
    assert says in str(failed)
    assert failed.status == 403
