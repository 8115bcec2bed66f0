"""KaleSpawner: start, stop and progress of a server, and what the hub keeps of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any, ClassVar
from urllib.parse import urlparse

from jupyterhub import spawner as hub_spawner
from traitlets import Float

from kale_spawner.errors import (
    Busy,
    ChoiceInvalid,
    DiskFull,
    KaleError,
    Refused,
)
from kale_spawner.hubstart import check_when_hub_starts
from kale_spawner.keeping import KeepingSpawner
from kale_spawner.kube.ready import until_ready
from kale_spawner.kube.start import Start
from kale_spawner.kube.watch import Waiter, Watches
from kale_spawner.model.plan import Plan
from kale_spawner.model.topology import conflict, places_of_pod
from kale_spawner.volumes.storage import called
from kale_spawner.web.shown import shown
from kale_spawner.wire import GATEWAY_CONTAINER, USERNAME_LABEL

_TELLS_REFUSALS = hasattr(hub_spawner, "SpawnException")
"""Whether this hub tells refusals and failures apart."""

_MARGIN = 5.0
"""Seconds before the hub's own time-out at which a start tells why it took so long."""


class KaleSpawner(KeepingSpawner):
    """Servers with Kale on Kubernetes. Every trait of KubeSpawner keeps its meaning."""

    unschedulable_grace = Float(
        15.0,
        min=0,
        help="""
        Seconds for which a pod that fits on no machine is waited for, unless an autoscaler
        says that it is adding one.
        """,
    ).tag(config=True)

    _cleaning: ClassVar[dict[str, asyncio.Task[None]]] = {}
    """What is being cleaned up after, by the pod's key; a server's next start waits for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._starting: Start | None = None
        self._planned = Plan()
        self._held = ""
        super().__init__(*args, **kwargs)

    @classmethod
    def class_traits(cls, **metadata: Any) -> dict[str, Any]:
        """As ever. A hub that has this package installed asks for it before it does anything."""
        check_when_hub_starts()
        return dict(super().class_traits(**metadata))

    async def _start(self) -> str:
        self._starting = None
        try:
            return await self._started()
        except KaleError as exc:
            self._uncount(exc)
            raise shown(exc) from exc
        finally:
            self.holds.started(self._held)

    async def _started(self) -> str:
        try:
            await self.load_user_options()
            if self.enable_user_namespaces:
                await self._ensure_namespace()
            start = await self._prepare()
        except ChoiceInvalid:
            self.forget_choice()
            raise
        return await self._run(start)

    def _uncount(self, exc: KaleError) -> None:
        """Whatever users ask for, they do not end the hub.

        Before version 6 a hub counts what it was right to refuse as a failure of its own, and
        ends itself after `consecutive_failure_limit` of them (5 in Zero to JupyterHub).
        """
        if exc.status < 500 and not _TELLS_REFUSALS and self.handler is not None:
            settings = self.handler.settings
            settings["failure_count"] = settings.get("failure_count", 0) - 1

    async def _prepare(self) -> Start:
        """Watches, plan and manifests; nothing is made yet."""
        watches = await self._watch()
        if former := self._cleaning.get(self._pod_key):
            await asyncio.wait([former])  # what it takes away is not to be planned with
        plan = Plan()
        offers, profile, choice = self._offered, self._profile, self._choice
        if offers is not None and profile is not None and choice is not None:
            plan = await self._plan(offers, profile, choice)
        self._check_starts_beside(plan)
        start_id = uuid.uuid4().hex
        held = self.holds.start(start_id, self.name or "", map(self._key, plan.claims))
        if held is not None:
            name = held.partition("/")[2]
            raise Busy(f'"{name}" is being deleted. Choose another volume.')
        self._held, self._planned = start_id, plan
        owner = self._owner(start_id)
        has_gateway = profile is not None and profile.kind is not None
        pod = await self._pod_manifest(plan, start_id)
        await self._check_places(pod, plan)
        return Start(
            objects=self._objects(),
            watches=watches,
            pod=pod,
            claims=[self._claim_manifest(new, owner) for new in plan.create],
            mounted=plan.claims,
            beside=plan.beside,
            grow={each.claim.name: each.size for each in plan.grow},
            user=self.user.name,
            user_label=(USERNAME_LABEL, self._user_label),
            is_ready=self.is_pod_running,
            ask=self._ask_gateway if has_gateway else None,
            seconds=max(self.start_timeout - _MARGIN, 1.0),
            grace=self.unschedulable_grace,
        )

    def _check_starts_beside(self, plan: Plan) -> None:
        """What another start, whose pod is not there yet, makes or mounts for itself alone."""
        alone = [claim.name for claim in plan.reuse if claim.exclusive]
        for name in (*(new.name for new in plan.create), *alone):
            others = [each for each in self.holds.starters(self._key(name)) if each != self.name]
            if others and name in alone:
                raise Busy(
                    f'"{name}" is about to be used by {called(others[0])}, and only one server at '
                    "a time can mount it (ReadWriteOncePod). Stop that, or choose another."
                )
            if others:
                raise Busy(
                    f'"{name}" is being made for {called(others[0])} at this moment. Choose '
                    "another name; or wait until that has started, and mount it in both."
                )

    async def _check_places(self, pod: dict[str, Any], plan: Plan) -> None:
        """The volumes that are there, and what the profile asks of a node, have one in common."""
        bound = {claim.name: claim.volume for claim in plan.reuse if claim.volume}
        if len(bound) + bool(places_of_pod(pod)) < 2:
            return
        found = await asyncio.gather(*map(self._objects().volume, bound.values()))
        volumes = {name: each for name, each in zip(bound, found, strict=True) if each}
        if reason := conflict(pod, volumes):
            raise Refused(reason, "topology")

    async def _run(self, start: Start) -> str:
        self._starting = start
        try:
            await start.accept()
            await self._keep_before_image_change(start)
            self._keep_choice(self._planned.mounts)
            if self.storage_pvc_ensure:
                await self._ensure_own_claim()
            await start.make()
            await self._after_creation()
            pod = await start.wait()
        except BaseException as exc:
            cleaning = self._clean(start)
            # Of a start that it cancels, the hub waits for the end for one second only.
            if not isinstance(exc, asyncio.CancelledError):
                await _finish(cleaning)
            if isinstance(exc, DiskFull):
                self._full = exc.volume
            if isinstance(exc, KaleError):
                self.log.warning("%s: %s", self._log_name, exc)
            raise
        self._full = ""
        self.pod_id = pod["metadata"]["uid"]
        self._keep_later()
        return str(self._get_pod_url(pod))

    def _clean(self, start: Start) -> asyncio.Task[None]:
        key, task = start.key(start.name), asyncio.ensure_future(start.clean())
        self._cleaning[key] = task

        def forget(_: object) -> None:
            if self._cleaning.get(key) is task:
                del self._cleaning[key]

        task.add_done_callback(forget)
        return task

    async def _ask_gateway(self, pod: dict[str, Any]) -> None:
        prefix = self.server.base_url if self.server else "/"
        await until_ready(self._get_pod_url(pod) + prefix)

    async def stop(self, now: bool = False) -> None:
        """End the pod, and wait until it is gone. Claims stay."""
        watches = await self._watch()
        key = self._pod_key
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.start_timeout
        with Waiter([(watches.pods, key)]) as waiter:
            objects = self._objects()
            await objects.delete_pod(self.pod_name, 0 if now else self.delete_grace_period)
            while key in watches.pods.resources:
                if loop.time() > deadline:
                    await self._start_watching_pods(replace=True)
                    raise TimeoutError(f"pod {key} did not end in {self.start_timeout} seconds")
                await waiter.wait(5.0)
                pod = await objects.pod(self.pod_name)
                if pod is None:
                    watches.pods.resources.pop(key, None)
                elif not pod["metadata"].get("deletionTimestamp"):
                    # The request was lost on its way.
                    await objects.delete_pod(self.pod_name, 0 if now else self.delete_grace_period)
        await self._keep_at_stop()

    async def get_url(self) -> str:
        """Where the server is. After the hub was restarted during a start, wait for its end."""
        stored = str(await super().get_url())
        if urlparse(stored).hostname and not self._check_pending:
            return stored
        watches = await self._watch()
        pod = watches.pods.resources.get(self._pod_key)
        if pod is None:
            return stored
        start = self._resumed(watches, pod)
        try:
            url = str(self._get_pod_url(await start.wait()))
            self._keep_later()
            return url
        except KaleError as exc:
            self.log.warning("%s: the start that was under way failed: %s", self._log_name, exc)
            await self._clean(start)
            return stored

    def _resumed(self, watches: Watches, pod: dict[str, Any]) -> Start:
        """The start of a hub before this one, to be waited for or cleaned up after."""
        names = [container["name"] for container in pod["spec"].get("initContainers") or ()]
        names += [container["name"] for container in pod["spec"]["containers"]]
        return Start(
            objects=self._objects(),
            watches=watches,
            pod=pod,
            claims=[],
            mounted=frozenset(),
            user=self.user.name,
            user_label=(USERNAME_LABEL, self._user_label),
            is_ready=self.is_pod_running,
            ask=self._ask_gateway if GATEWAY_CONTAINER in names else None,
            seconds=float(self.start_timeout),
            grace=self.unschedulable_grace,
            uid=pod["metadata"]["uid"],
        )

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the user is told: once each, and only what has happened."""
        told: set[str] = set()
        percent = 0
        while True:
            done = self._start_future is not None and self._start_future.done()
            start = self._starting
            if start is None:
                if done:
                    return
                await asyncio.sleep(0.05)
                continue
            with start.waiter() as waiter:
                for step in start.progress():
                    if step.message not in told:
                        told.add(step.message)
                        percent = max(percent, step.percent)
                        yield {"progress": percent, "message": step.message}
                if done:
                    return
                await waiter.wait(1.0)


async def _finish(work: Awaitable[None]) -> None:
    """Run to the end even if whoever waits is cancelled again."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue


check_when_hub_starts()
