"""Starts and stops on a real cluster, in a namespace that enforces the restricted standard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import CoreV1Api

import localcluster
from kale_spawner.spawner import KaleSpawner
from kale_spawner.web.shown import Shown
from tests.cluster.servers import (
    JUPYTER,
    LEVEL,
    Make,
    claims,
    pods,
    refused,
    shell,
    start,
    under_way,
)
from tests.cluster.waiting import gone, run


async def test_files_outlast_a_stop_and_a_change_of_image(
    make: Make, cluster: localcluster.Status, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    data = {"data_volumes": [{"mount": "/data", "size": "1Gi"}]}
    await start(spawner, {"profile": "jupyter", **data})
    assert await spawner.poll() is None
    write = "echo words > /home/jovyan/mine && echo more > /data/mine && id -u && id -G"
    assert shell(cluster, namespace, spawner.pod_name, write).split() == ["1000", "0", "100"]
    await spawner.stop()
    assert await spawner.poll() == 1
    before = {name: claim.metadata.uid for name, claim in claims(core_v1, namespace).items()}
    assert set(before) == {"alice-workspace", "alice-data-1"}
    await start(spawner, {"profile": "vscode", **data})
    read = "cat /home/jovyan/mine /data/mine"
    assert shell(cluster, namespace, spawner.pod_name, read) == "words\nmore"
    after = {name: claim.metadata.uid for name, claim in claims(core_v1, namespace).items()}
    assert after == before


async def test_the_user_is_told_what_happens(make: Make) -> None:
    spawner = make()
    told: list[dict[str, Any]] = []

    async def listen() -> None:
        async for event in spawner.progress():
            told.append(event)

    listening = asyncio.ensure_future(listen())
    await start(spawner)
    await asyncio.wait_for(listening, 10)
    messages = [event["message"] for event in told]
    for said in ("alice-workspace (10Gi) was made", "Machine", "attached", "is there", "starting"):
        assert any(said in message for message in messages), (said, messages)
    percents = [event["progress"] for event in told]
    assert percents == sorted(percents)
    assert len(messages) == len(set(messages))


@pytest.mark.parametrize("told_by", ["", "-told"], ids=["by-environment", "by-command"])
async def test_the_apps_own_port_is_closed_to_other_pods(
    make: Make, core_v1: CoreV1Api, namespace: str, told_by: str
) -> None:
    spawner = make()
    for profile in (f"jupyter{told_by}", f"vscode{told_by}"):
        url = await start(spawner, {"profile": profile})
        assert ports_seen(core_v1, namespace, url, profile) == DOOR
        await spawner.stop()


async def test_the_gateway_can_be_a_container_beside_the_app(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make({"KaleGateway": {"mode": "container"}})
    url = await start(spawner)
    assert url.endswith(":18888")
    assert await spawner.poll() is None
    pod = core_v1.read_namespaced_pod(spawner.pod_name, namespace)
    assert [each.name for each in pod.spec.containers] == ["notebook", "gateway"]
    assert pod.spec.init_containers is None
    assert [each.container_port for each in pod.spec.containers[0].ports] == [18888]
    assert ports_seen(core_v1, namespace, url, "container") == DOOR
    await spawner.stop()
    assert await spawner.poll() == 1
    assert spawner.pod_name not in pods(core_v1, namespace)


DOOR = ["8888 ConnectionRefusedError", "18888 open"]


def ports_seen(core: CoreV1Api, namespace: str, url: str, name: str) -> list[str]:
    """How another pod finds the app's own port and the gateway's."""
    address = url.removeprefix("http://").split(":")[0]
    code = (
        "import socket\n"
        "for port in (8888, 18888):\n"
        "    try:\n"
        f"        socket.create_connection(({address!r}, port), 5).close()\n"
        "        print(port, 'open')\n"
        "    except OSError as error:\n"
        "        print(port, type(error).__name__)\n"
    )
    return run(core, namespace, neighbour(f"neighbour-{name}", code)).split("\n")[:2]


def neighbour(name: str, code: str) -> dict[str, Any]:
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "c",
                    "image": JUPYTER,
                    "command": ["python3", "-c", code],
                    "securityContext": safe,
                }
            ],
        },
    }


def somebodys(name: str, user: str, label: str) -> dict[str, Any]:
    key = "hub.jupyter.org/username"
    return {
        "metadata": {
            "name": name,
            "labels": {key: label, "component": "singleuser-storage"},
            "annotations": {key: user},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "rok-csi",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


@pytest.mark.parametrize("label", ["bob", "alice"])
async def test_another_users_claim_is_not_reached(
    make: Make, core_v1: CoreV1Api, namespace: str, label: str
) -> None:
    """Also where the label, which is shortened, is the same."""
    taken = somebodys("alice-workspace", "bob", label)
    core_v1.create_namespaced_persistent_volume_claim(namespace, taken)
    spawner = make()
    error = await refused(spawner)
    assert error.status_code == 424
    assert "alice-workspace" in error.jupyterhub_message
    assert "bob" not in error.jupyterhub_message
    error = await refused(spawner, {"workspace": {"source": "existing", "name": "alice-workspace"}})
    assert error.status_code == 400
    assert error.jupyterhub_message.startswith("workspace.name: you have no volume")
    assert pods(core_v1, namespace) == []
    assert set(claims(core_v1, namespace)) == {"alice-workspace"}


async def test_a_class_that_is_not_there_is_told_with_those_that_are(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make({"KaleVolumes": {"storage_class": "rok"}})
    error = await refused(spawner)
    assert '"rok"' in error.jupyterhub_message
    assert "rok-csi" in error.jupyterhub_message
    assert claims(core_v1, namespace) == {}
    assert pods(core_v1, namespace) == []


@pytest.mark.parametrize("storage", ["5Gi", "12Gi"])
async def test_a_quota_refuses_and_nothing_is_left_behind(
    make: Make, core_v1: CoreV1Api, namespace: str, storage: str
) -> None:
    """12Gi: each claim would fit alone, which is all that the dry run can know."""
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.storage": storage}}}
    core_v1.create_namespaced_resource_quota(namespace, quota)
    await asyncio.to_thread(_counted, core_v1, namespace)
    spawner = make()
    error = await refused(spawner, {"data_volumes": [{"mount": "/data", "size": "10Gi"}]})
    assert error.status_code == 400
    assert "quota" in error.jupyterhub_message
    assert 'ResourceQuota "q"' in error.jupyterhub_message
    assert claims(core_v1, namespace) == {}
    assert pods(core_v1, namespace) == []


def _counted(core: CoreV1Api, namespace: str) -> None:
    from tests.cluster.waiting import seen

    seen(core.list_namespaced_resource_quota, "q", lambda quota: quota.status.hard, namespace)


async def test_an_image_that_cannot_be_pulled_fails_soon_and_leaves_nothing(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    began = time.monotonic()
    error = await refused(spawner, {"profile": "missing"})
    assert time.monotonic() - began < 30
    assert "localhost/kale-spawner/none:1" in error.jupyterhub_message
    assert "cannot be pulled" in error.jupyterhub_message
    assert pods(core_v1, namespace) == []
    assert claims(core_v1, namespace) == {}


async def test_a_program_that_keeps_ending_is_told_and_its_volume_stays(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    error = await refused(spawner, {"profile": "broken"})
    assert "exit code 3" in error.jupyterhub_message
    assert "no such module" in error.jupyterhub_message
    assert pods(core_v1, namespace) == []
    assert set(claims(core_v1, namespace)) == {"alice-workspace"}


async def test_a_server_is_found_again_after_the_hub_was_restarted(make: Make) -> None:
    spawner = make()
    url = await start(spawner)
    again = make(state=spawner.get_state(), options=spawner.user_options)
    again.server.ip, again.server.port = spawner.server.ip, spawner.server.port
    again._check_pending = True
    assert await again.poll() is None
    assert await again.get_url() == url


async def ended_hub() -> None:
    """A hub that was killed cleans nothing up."""


async def begun(
    make: Make, spawner: KaleSpawner, options: dict[str, Any]
) -> tuple[asyncio.Future[str], KaleSpawner]:
    """A start whose hub was killed, and the spawner of the next hub, which finds its pod."""
    spawner.clear_state()
    state = spawner.get_state()
    spawner.api_token = "secret-token"
    starting = await under_way(spawner, options)
    assert spawner._starting is not None
    spawner._starting.clean = ended_hub  # type: ignore[method-assign]
    again = make(state=state)
    again._check_pending = True
    assert await again.poll() is None
    return starting, again


async def test_a_start_that_lost_its_hub_is_finished_by_the_next(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    starting, again = await begun(make, spawner, {})
    url = await asyncio.wait_for(again.get_url(), 100)
    assert url == await starting


async def test_a_start_that_lost_its_hub_and_fails_is_cleaned_by_the_next(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    starting, again = await begun(make, spawner, {"profile": "missing"})
    await asyncio.wait_for(again.get_url(), 100)
    with pytest.raises(Shown):
        await starting
    assert pods(core_v1, namespace) == []
    assert claims(core_v1, namespace) == {}


async def test_after_a_pod_that_somebody_deletes_the_volume_stays(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """Nobody saw its end, so it may have written."""
    spawner = make()
    starting = await under_way(spawner, {"profile": "missing"})
    core_v1.delete_namespaced_pod(spawner.pod_name, namespace, grace_period_seconds=0)
    with pytest.raises(Shown) as caught:
        await starting
    assert "while it was starting" in caught.value.jupyterhub_message
    assert set(claims(core_v1, namespace)) == {"alice-workspace"}


async def test_a_cancelled_start_leaves_nothing(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """The hub does not wait for its pod to end; a start after it does."""
    spawner = make()
    starting = await under_way(spawner, {"profile": "missing"})
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert pods(core_v1, namespace) == [spawner.pod_name]
    (cleaning,) = KaleSpawner._cleaning.values()
    error = await refused(spawner, {"profile": "missing"})
    assert cleaning.done()
    assert "cannot be pulled" in error.jupyterhub_message
    assert KaleSpawner._cleaning == {}
    assert pods(core_v1, namespace) == []
    assert claims(core_v1, namespace) == {}


async def test_of_two_servers_that_ask_for_one_new_volume_the_later_is_told_and_may_share_it(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    options = {"workspace": {"name": "alice-shared"}}
    servers = [make(server=name) for name in ("one", "two")]
    starting = (start(server, options) for server in servers)
    answers = await asyncio.gather(*starting, return_exceptions=True)
    (said,) = (each for each in answers if isinstance(each, Shown))
    assert '"alice-shared" is being made for server' in said.jupyterhub_message
    await start(servers[answers.index(said)], options)
    assert set(claims(core_v1, namespace)) == {"alice-shared"}
    assert [await server.poll() for server in servers] == [None, None]


async def test_a_failed_start_leaves_the_volume_that_another_server_came_to_use(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    options = {"workspace": {"name": "alice-shared"}}
    nowhere = {"unschedulable_grace": 100.0, "node_selector": {"there": "is-none"}}
    fails, works = make({"KaleSpawner": nowhere}, server="one"), make(server="two")
    failing = await under_way(fails, {"profile": "jupyter", **options})
    await start(works, {"profile": "jupyter", **options})
    failing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await failing
    await asyncio.gather(*KaleSpawner._cleaning.values())
    assert pods(core_v1, namespace) == [works.pod_name]
    assert set(claims(core_v1, namespace)) == {"alice-shared"}


async def test_what_the_api_server_finds_wrong_is_known_before_anything_is_made(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make({"KaleSpawner": {"start_timeout": 60, "extra_pod_config": {"dnsPolicy": "Bad"}}})
    error = await refused(spawner)
    assert "dnsPolicy" in error.jupyterhub_message
    assert claims(core_v1, namespace) == {}


async def test_a_bad_choice_is_refused_before_anything_is_made(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make()
    error = await refused(spawner, {"data_volumes": [{"mount": "/etc/x", "size": "1Gi"}]})
    assert error.status_code == 400
    assert "data_volumes.0.mount" in error.jupyterhub_message
    assert claims(core_v1, namespace) == {}


async def test_an_entry_of_kubespawners_keeps_kubespawners_storage(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """No gateway, no volumes of ours, kubespawner's own claim, hooks and labels."""
    hooked: list[str] = []
    safe = {"capabilities": {"drop": ["ALL"]}}
    spawner = make(
        {
            "KubeSpawner": {
                "profile_list": [
                    {"display_name": "Theirs", "kubespawner_override": {"image": JUPYTER}}
                ],
                "storage_pvc_ensure": True,
                "storage_class": "rok-csi",
                "storage_capacity": "1Gi",
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}],
                "volume_mounts": [{"name": "v", "mountPath": "/home/jovyan"}],
                "uid": 1000,
                "fs_gid": 100,
                "container_security_context": safe,
                "pod_security_context": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "extra_container_config": {"command": ["python3", "-m", "http.server", "8888"]},
                "after_pod_created_hook": lambda spawner, pod: hooked.append(
                    pod["metadata"]["name"]
                ),
            }
        }
    )
    url = await start(spawner, {"profile": "theirs"})
    assert url.endswith(":8888")
    assert hooked == [spawner.pod_name]
    pod = core_v1.read_namespaced_pod(spawner.pod_name, namespace)
    assert [container.name for container in pod.spec.containers] == ["notebook"]
    assert pod.spec.init_containers is None
    assert set(claims(core_v1, namespace)) == {"claim-alice"}
    await spawner.stop()
    assert await spawner.poll() == 1
    assert spawner.delete_pvc
    await spawner.delete_forever()
    assert set(claims(core_v1, namespace)) == {"claim-alice"}
    spawner.volumes_settings.when_deleted = "delete"
    await spawner.delete_forever()
    await asyncio.gather(*spawner.background)
    gone(core_v1.read_namespaced_persistent_volume_claim, "claim-alice", namespace)


async def test_an_image_with_jupyterhubs_own_server_goes_without_gateway(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """With our volumes and the restricted standard all the same."""
    spawner = make()
    url = await start(spawner, {"profile": "singleuser"})
    assert url.endswith(":8888")
    pod = core_v1.read_namespaced_pod(spawner.pod_name, namespace)
    assert [container.name for container in pod.spec.containers] == ["notebook"]
    assert pod.spec.init_containers is None
    assert set(claims(core_v1, namespace)) == {"alice-workspace"}


async def test_an_administrators_containers_run_as_they_say(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """As the one by which Zero to JupyterHub closes the cloud's metadata server."""
    level = {"pod-security.kubernetes.io/enforce": "privileged"}
    core_v1.patch_namespace(namespace, {"metadata": {"labels": level}})
    close = {
        "name": "block-cloud-metadata",
        "image": JUPYTER,
        "command": ["sh", "-c", "test $(id -u) = 0"],
        "securityContext": {
            "privileged": True,
            "runAsUser": 0,
            "capabilities": {"add": ["NET_ADMIN"]},
        },
    }
    spawner = make({"KubeSpawner": {"init_containers": [close]}})
    await start(spawner, {"profile": "jupyter"})
    assert await spawner.poll() is None


async def test_deleting_a_server_for_ever_keeps_our_claims(
    make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    spawner = make(server="gpu")
    await start(spawner)
    await spawner.stop()
    await spawner.delete_forever()
    assert set(claims(core_v1, namespace)) == {"alice--gpu-workspace"}


@pytest.fixture
def of_users(request: pytest.FixtureRequest, core_v1: CoreV1Api, namespace: str) -> Iterator[str]:
    """A template of users' namespaces; they are deleted after the test."""
    yield f"{namespace}-{{username}}"
    if not request.config.getoption("--keep"):
        for each in core_v1.list_namespace().items:
            if each.metadata.name.startswith(f"{namespace}-"):
                core_v1.delete_namespace(each.metadata.name, grace_period_seconds=0)


async def test_users_have_namespaces_of_their_own(
    of_users: str, make: Make, core_v1: CoreV1Api, namespace: str
) -> None:
    """`enable_user_namespaces`: pods and claims there, nobody else's reached, a restart reuses."""
    config = {
        "KaleSpawner": {
            "enable_user_namespaces": True,
            "user_namespace_template": of_users,
            "user_namespace_labels": LEVEL,
        }
    }
    alice, bob = make(config), make(config, user="bob")
    await asyncio.gather(start(alice), start(bob))
    for name, spawner in (("alice", alice), ("bob", bob)):
        own = f"{namespace}-{name}"
        assert await spawner.poll() is None
        assert pods(core_v1, own) == [spawner.pod_name]
        assert set(claims(core_v1, own)) == {f"{name}-workspace"}
    assert pods(core_v1, namespace) == []
    assert claims(core_v1, namespace) == {}
    wanted = {"workspace": {"source": "existing", "name": "alice-workspace"}}
    error = await refused(make(config, user="bob", server="two"), wanted)
    assert error.jupyterhub_message.startswith("workspace.name: you have no volume")
    [before] = claims(core_v1, alice.namespace).values()
    await alice.stop()
    await start(alice)
    [after] = claims(core_v1, alice.namespace).values()
    assert after.metadata.uid == before.metadata.uid
