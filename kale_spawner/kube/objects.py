"""Claims and pods of one namespace: what a start and its cleaning up do to them.

Everything may run twice. A claim is only ever deleted by its uid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kale_spawner.errors import Busy, Conflict, Denied, NotFound, StartFailed
from kale_spawner.kube.client import MERGE_PATCH, Manifest, call
from kale_spawner.model import marks
from kale_spawner.model.claim import owned_by
from kale_spawner.model.mounted import has_ended, mounts_of

_T = TypeVar("_T")


class NameTaken(Busy):
    """There is an object of this name already, whoever's it is."""


class PodExists(Conflict):
    """A pod of this name is there, of an earlier start."""


@dataclass(frozen=True)
class Made:
    """A claim after `make_claims`. new: this start created it."""

    manifest: Manifest
    new: bool


@dataclass(frozen=True)
class Objects:
    """api: kubernetes_asyncio's CoreV1Api.

    attempt_seconds, total_seconds: time-outs of one attempt, and of a call with its repeats.
    """

    api: Any
    namespace: str
    attempt_seconds: float = 3.0
    total_seconds: float = 30.0

    async def claims_of(self, label: str, value: str) -> list[Manifest]:
        """All claims with this label, ours or not; who owns them is told by `owned_by`."""
        answer = await self.call(
            self.api.list_namespaced_persistent_volume_claim,
            self.namespace,
            label_selector=f"{label}={value}",
        )
        return list(answer.get("items") or ())

    async def make_namespace(self, manifest: Manifest) -> None:
        """Create the namespace, or find it there. Raises StartFailed where that is not allowed."""
        try:
            await self.call(self.api.create_namespace, manifest)
        except Conflict:
            return
        except Denied as exc:
            name = manifest["metadata"]["name"]
            raise StartFailed(
                f'The hub may not create the namespace "{name}" for your servers. '
                "Ask your administrator.",
                "namespace",
            ) from exc

    async def try_all(self, claims: Iterable[Manifest], pod: Manifest) -> None:
        """Let the API server accept everything, with strict fields, and create nothing.

        Raises what it says of the first that it refuses; PodExists for an old pod.
        """
        checks = [self._try_claim(claim) for claim in claims]
        await all_of([*checks, self._try_pod(pod)])

    async def make_claims(self, claims: Iterable[Manifest], user: str) -> list[Made]:
        """Create the claims side by side, or find them there as the user's own."""
        return await all_of([self._make_claim(claim, user) for claim in claims])

    async def make_pod(self, pod: Manifest) -> Manifest:
        """Create the pod. Raises PodExists where there is one that this start did not make."""
        try:
            return await self.call(self.api.create_namespaced_pod, self.namespace, pod)
        except Conflict as exc:
            found = await self.pod(pod["metadata"]["name"])
            if found is not None and start_of(found) == start_of(pod):
                return found
            raise PodExists(str(exc), exc.detail, exc.code) from exc

    async def grow_claim(self, name: str, size: str) -> Manifest:
        """Ask for a larger size; it comes later. Raises Denied or Rejected, in the API server's
        words, for what may not or cannot grow."""
        body = {"spec": {"resources": {"requests": {"storage": size}}}}
        return await self._patch_claim(name, body)

    async def label_claim(self, name: str, labels: dict[str, str]) -> Manifest:
        """Add these labels."""
        return await self._patch_claim(name, {"metadata": {"labels": labels}})

    async def claim(self, name: str) -> Manifest | None:
        """The claim as it is now."""
        try:
            return await self.call(
                self.api.read_namespaced_persistent_volume_claim, name, self.namespace
            )
        except NotFound:
            return None

    async def users_of(self, claim: str) -> list[Manifest]:
        """All pods that may still use a claim, also those that are nobody's server."""
        answer = await self.call(self.api.list_namespaced_pod, self.namespace)
        pods = answer.get("items") or ()
        return [pod for pod in pods if claim in mounts_of(pod) and not has_ended(pod)]

    async def make_new_claim(self, manifest: Manifest) -> Manifest:
        """Create a claim that is not there yet. Raises NameTaken, whoever's is there."""
        create = self.api.create_namespaced_persistent_volume_claim
        making = self.call(create, self.namespace, manifest)
        return await made_by(making, self.claim, manifest)

    async def volume(self, name: str) -> Manifest | None:
        """The PersistentVolume; None where it is gone or may not be read."""
        try:
            return await self.call(self.api.read_persistent_volume, name)
        except (NotFound, Denied):
            return None

    async def pod(self, name: str) -> Manifest | None:
        """The pod as it is now."""
        try:
            return await self.call(self.api.read_namespaced_pod, name, self.namespace)
        except NotFound:
            return None

    async def delete_pod(self, name: str, grace_seconds: int, uid: str = "") -> None:
        """Ask for the pod's end; no error when it is gone or, with `uid`, is another by now."""
        options: Manifest = {"gracePeriodSeconds": grace_seconds}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self.call(self.api.delete_namespaced_pod, name, self.namespace, body=options)
        except (NotFound, Conflict):
            return

    async def delete_claim(self, claim: Manifest) -> None:
        """Delete this very claim: not one of the same name that was made since."""
        metadata = claim["metadata"]
        deleting = self.call(
            self.api.delete_namespaced_persistent_volume_claim,
            metadata["name"],
            self.namespace,
            body={"preconditions": {"uid": metadata["uid"]}},
        )
        await gone_by(deleting, self.claim, metadata)

    async def _patch_claim(self, name: str, body: Manifest) -> Manifest:
        patch = self.api.patch_namespaced_persistent_volume_claim
        return await self.call(patch, name, self.namespace, body, _content_type=MERGE_PATCH)

    async def _try_claim(self, claim: Manifest) -> None:
        try:
            await self.call(
                self.api.create_namespaced_persistent_volume_claim,
                self.namespace,
                claim,
                dry_run="All",
                field_validation="Strict",
            )
        except Conflict:
            return  # whose it is, is looked at when it is to be made

    async def _try_pod(self, pod: Manifest) -> None:
        try:
            await self.call(
                self.api.create_namespaced_pod,
                self.namespace,
                pod,
                dry_run="All",
                field_validation="Strict",
            )
        except Conflict as exc:
            raise PodExists(str(exc), exc.detail, exc.code) from exc

    async def _make_claim(self, claim: Manifest, user: str) -> Made:
        name = claim["metadata"]["name"]
        try:
            made = await self.call(
                self.api.create_namespaced_persistent_volume_claim, self.namespace, claim
            )
            return Made(made, new=True)
        except Conflict as exc:
            there = await self.claim(name)
            if there is None:
                raise Conflict(str(exc), exc.detail, exc.code) from exc
            found = there
        if not owned_by(found["metadata"], user):
            raise StartFailed(
                f'The volume name "{name}" cannot be used. Choose another name.', "name"
            )
        return Made(found, new=start_of(found) == start_of(claim))

    async def call(
        self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Manifest:
        """With this namespace's time-outs; see `client.call`."""
        return await call(
            method,
            *args,
            attempt_seconds=self.attempt_seconds,
            total_seconds=self.total_seconds,
            **kwargs,
        )


def start_of(manifest: Manifest) -> str | None:
    value = (manifest["metadata"].get("annotations") or {}).get(marks.START)
    return str(value) if value else None


async def made_by(
    making: Awaitable[Manifest],
    read: Callable[[str], Awaitable[Manifest | None]],
    manifest: Manifest,
) -> Manifest:
    """What a create call made, also one whose answer was lost: it is known again by its
    `marks.START`. Raises NameTaken for an object of that name that something else made."""
    name = manifest["metadata"]["name"]
    try:
        return await making
    except Conflict as exc:
        found = await read(name)
        if found is None:
            raise
        if start_of(found) == start_of(manifest):
            return found
        raise NameTaken(f'The name "{name}" is taken. Choose another.') from exc


async def gone_by(
    deleting: Awaitable[Manifest],
    read: Callable[[str], Awaitable[Manifest | None]],
    metadata: Manifest,
) -> None:
    """A delete call for one uid: no error when that object is gone, or is another by now."""
    try:
        await deleting
    except NotFound:
        return
    except Conflict:
        found = await read(metadata["name"])
        if found is not None and found["metadata"]["uid"] == metadata["uid"]:
            raise


async def all_of(work: list[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run side by side to the end, then raise the first error.

    Not a TaskGroup: it would cancel a create whose answer is under way, and nobody would know
    of what it made.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[_T]", results)
