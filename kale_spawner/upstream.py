"""What of kubespawner is done in another way here, whatever is started.

Its traits keep their meaning. What it does to itself during a start is undone after it, its
watches wake those who wait, and the steps of its start can be called one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from jupyterhub.utils import exponential_backoff, maybe_future
from kubespawner import KubeSpawner
from kubespawner.objects import make_namespace, make_owner_reference
from kubespawner.spawner import EventReflector, PodReflector

from kale_spawner.kube.facts import Facts
from kale_spawner.kube.objects import Objects
from kale_spawner.kube.usage import Kubelets
from kale_spawner.kube.watch import (
    Resource,
    WakingClaims,
    WakingCustom,
    WakingEvents,
    WakingPods,
    WakingReflector,
    Watches,
)
from kale_spawner.model import marks
from kale_spawner.wire import COMPONENT_LABEL, STORAGE_COMPONENT

_MISSING = object()
_STORAGE = {COMPONENT_LABEL: STORAGE_COMPONENT}
_SHARED = {marks.SHARED: "true"}


class UpstreamSpawner(KubeSpawner):  # type: ignore[misc]
    """KubeSpawner, in steps that may run twice."""

    pvc_name: str
    _pvc_exists: bool
    reflectors: dict[Any, Any] = {}  # noqa: RUF012  kubespawner's name; not shared with it
    _facts: ClassVar[WeakKeyDictionary[Any, Facts]] = WeakKeyDictionary()
    _kubelets: ClassVar[WeakKeyDictionary[Any, Kubelets]] = WeakKeyDictionary()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._overridden: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    def _apply_overrides(self, spawner_override: Mapping[str, Any]) -> None:
        """kubespawner's, which also changes values in place: remember them as they were."""
        for name in spawner_override:
            if name not in self._overridden:
                self._overridden[name] = _copied(getattr(self, name, _MISSING))
        super()._apply_overrides(dict(spawner_override))

    def _restore_overridden(self) -> None:
        """Nothing that a start set is left for the next one."""
        while self._overridden:
            name, value = self._overridden.popitem()
            if value is _MISSING:
                delattr(self, name)
            else:
                setattr(self, name, value)

    def clear_state(self) -> None:
        self._restore_overridden()
        super().clear_state()

    def _objects(self) -> Objects:
        return Objects(
            self.api,
            self.namespace,
            float(self.k8s_api_request_timeout),
            float(self.k8s_api_request_retry_timeout),
        )

    async def _ensure_namespace(self) -> None:
        """kubespawner's, repeated and told as every other call is."""
        model = make_namespace(
            self.namespace,
            labels=self._expand_all(self.user_namespace_labels),
            annotations=self._expand_all(self.user_namespace_annotations),
        )
        manifest = self.api.api_client.sanitize_for_serialization(model)
        await self._objects().make_namespace(manifest)

    def _get_pod_port(self, pod: dict[str, Any]) -> int:
        """kubespawner's, but other containers need not declare ports."""
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == "notebook-port":
                    return int(port["containerPort"])
        raise KeyError(f"No port 'notebook-port' in pod {pod['metadata']['name']}")

    async def _ensure_own_claim(self) -> None:
        """kubespawner's one claim (`storage_pvc_ensure`), by kubespawner's rules."""
        if self._pvc_exists:
            return
        if self.handle_legacy_names and self._state_kubespawner_version == "unknown":
            legacy = self._expand_user_properties(self.pvc_name_template, slug_scheme="escape")
            if (
                legacy != self.pvc_name
                and not await self._check_pvc_exists(self.pvc_name, self.namespace)
                and await self._check_pvc_exists(legacy, self.namespace)
            ):
                self.pvc_name = legacy
        create = partial(
            self._make_create_pvc_request, self.get_pvc_manifest(), self.k8s_api_request_timeout
        )
        await exponential_backoff(
            create,
            f"Could not create PVC {self.pvc_name}",
            timeout=self.k8s_api_request_retry_timeout,
        )
        self._pvc_exists = True

    async def _after_creation(self) -> None:
        """What kubespawner does for `internal_ssl`, `services_enabled` and the hook."""
        if not (self.internal_ssl or self.services_enabled or self.after_pod_created_hook):
            return
        pod = await self._objects().pod(self.pod_name)
        if pod is None:
            return
        owner = make_owner_reference(self.pod_name, pod["metadata"]["uid"])
        if self.internal_ssl:
            await self._replace("secret", self.get_secret_manifest(owner))
        if self.internal_ssl or self.services_enabled:
            port = self._get_pod_port(pod)
            await self._replace("service", self.get_service_manifest(owner, port))
        if self.after_pod_created_hook:
            await maybe_future(self.after_pod_created_hook(self, pod))

    async def _replace(self, kind: str, manifest: Any) -> None:
        name = manifest.metadata.name
        await exponential_backoff(
            partial(self._ensure_not_exists, kind, name), f"Failed to delete {kind} {name}"
        )
        await exponential_backoff(
            partial(self._make_create_resource_request, kind, manifest),
            f"Failed to create {kind} {name}",
        )

    async def _start_reflector(
        self, kind: str, reflector_class: type[Any], replace: bool = False, **kwargs: Any
    ) -> Any:
        """kubespawner's, with reflectors that wake."""
        waking = {PodReflector: WakingPods, EventReflector: WakingEvents}
        return await super()._start_reflector(
            kind, waking.get(reflector_class, reflector_class), replace, **kwargs
        )

    async def _watch(self) -> Watches:
        missing = await self._snapshots_missing()
        groups = None if missing else await self._group_resource()
        work = {
            "pods": self._start_watching_pods(),
            "claims": self._watching("persistentvolumeclaims", WakingClaims, _STORAGE),
            "shared_claims": self._watching("shared-claims", WakingClaims, _SHARED),
        }
        if not missing:
            work |= {
                "snapshots": self._watching("volumesnapshots", WakingCustom, _STORAGE),
                "shared_snapshots": self._watching("shared-snapshots", WakingCustom, _SHARED),
            }
        if groups is not None:
            work["group_snapshots"] = self._watching(
                "volumegroupsnapshots", WakingCustom, _STORAGE, resource=groups
            )
        if self.events_enabled:
            work |= {
                "pod_events": self._start_watching_events(),
                "claim_events": self._start_reflector(
                    "claim-events",
                    WakingEvents,
                    fields={"involvedObject.kind": "PersistentVolumeClaim"},
                    omit_namespace=self.enable_user_namespaces,
                ),
            }
        watches = dict(zip(work, await asyncio.gather(*work.values()), strict=True))
        return Watches(**watches, snapshots_missing=missing)

    def _watching(
        self, kind: str, reflector: type[WakingReflector], labels: dict[str, str], **more: Any
    ) -> Awaitable[WakingReflector]:
        everywhere = self.enable_user_namespaces
        return self._start_reflector(
            kind, reflector, labels=labels, omit_namespace=everywhere, **more
        )

    @property
    def facts(self) -> Facts:
        """Shared by all spawners that have this client."""
        client = self.api.api_client
        known = self._facts.get(client)
        if known is None:
            seconds = float(self.k8s_api_request_timeout), float(self.k8s_api_request_retry_timeout)
            known = self._facts[client] = Facts(client, *seconds)
        return known

    @property
    def kubelets(self) -> Kubelets:
        """Shared as `facts` are."""
        client = self.api.api_client
        if client not in self._kubelets:
            self._kubelets[client] = Kubelets(client)
        return self._kubelets[client]

    async def _snapshots_missing(self) -> str:
        """Why there are no snapshots here, or ""."""
        return await self.facts.snapshots_missing(self._watched_namespace)

    async def _group_resource(self) -> Resource | None:
        """What groups of snapshots are called here; None where they cannot be seen."""
        return await self.facts.group_snapshots(self._watched_namespace)

    @property
    def _watched_namespace(self) -> str | None:
        """None where the watches are of all of them."""
        return None if self.enable_user_namespaces else str(self.namespace)


def _copied(value: Any) -> Any:
    """Only what can be changed in place needs a copy."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
