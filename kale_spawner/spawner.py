"""KaleSpawner: kubespawner's hooks, wired to choice, plan and start."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlparse

from jupyterhub.utils import exponential_backoff, maybe_future
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from kubespawner.objects import make_owner_reference
from kubespawner.slugs import is_valid_label, safe_slug
from kubespawner.spawner import EventReflector, PodReflector
from sqlalchemy import inspect
from tornado import web
from traitlets import Float, default

from kale_spawner.errors import ChoiceInvalid, FieldError, KaleError
from kale_spawner.kube.objects import START_ANNOTATION, Objects
from kale_spawner.kube.ready import until_ready
from kale_spawner.kube.start import Start, Watches
from kale_spawner.kube.watch import Waiter, WakingClaims, WakingEvents, WakingPods
from kale_spawner.model import pod as pods
from kale_spawner.model.choices import Choice, UnlistedChoice, parse_choice, upgrade
from kale_spawner.model.claims import claim_manifest
from kale_spawner.model.inventory import Inventory, claims_in_use, make_inventory
from kale_spawner.model.limits import Limits, Owner, own_names
from kale_spawner.model.names import expand
from kale_spawner.model.plan import Plan, make_plan
from kale_spawner.offers import (
    Offers,
    Profile,
    cards,
    check_image,
    make_limits,
)
from kale_spawner.settings import KaleGateway, KaleImages, KaleVolumes
from kale_spawner.web import refused
from kale_spawner.web.form import FormView, parse_form, render_form
from kale_spawner.wire import (
    COMPONENT_LABEL,
    GATEWAY_CONTAINER,
    STORAGE_COMPONENT,
    USERNAME_LABEL,
)

_MISSING = object()
_MARGIN = 5.0
"""Seconds before the hub's own time-out at which a start tells why it took so long."""


class KaleSpawner(KubeSpawner):  # type: ignore[misc]
    """Servers with Kale on Kubernetes. Every trait of KubeSpawner keeps its meaning."""

    checks_settings = True
    user_options: Any
    pvc_name: str
    _pvc_exists: bool
    reflectors: dict[Any, Any] = {}  # noqa: RUF012  kubespawner's name; not shared with it

    unschedulable_grace = Float(
        15.0,
        min=0,
        help="""
        Seconds for which a pod that fits on no machine is waited for, unless an autoscaler
        says that it is adding one.
        """,
    ).tag(config=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._overridden: dict[str, Any] = {}
        self._offered: Offers | None = None
        self._profile: Profile | None = None
        self._choice: Choice | None = None
        self._last_choice: dict[str, Any] | None = None
        self._starting: Start | None = None
        super().__init__(*args, **kwargs)
        self.images = KaleImages(parent=self)
        self.volumes_settings = KaleVolumes(parent=self)
        self.gateway = KaleGateway(parent=self)

    # --- the page -----------------------------------------------------------------------

    @property
    def _is_plain(self) -> bool:
        """Without images of ours this is KubeSpawner, page and options included."""
        entries = self.profile_list if isinstance(self.profile_list, list) else []
        return not self.images.images and not any("kale" in entry for entry in entries)

    @default("options_form")
    def _default_options_form(self) -> Any:
        return super()._options_form_default() if self._is_plain else type(self)._render_page

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._options_from_form if self._is_plain else self._options_from_page

    @default("apply_user_options")
    def _default_apply(self) -> Any:
        return lambda spawner, options: None

    async def _render_page(self) -> str:
        attempt = refused.current()
        spawner = attempt.spawner if attempt is not None else self
        view = await spawner._form_view(attempt)
        return render_form(view)

    async def _form_view(self, attempt: refused.Refused | None) -> FormView:
        offers = await self._offers()
        owner, pattern = self._owner(), self.images.custom_image_pattern
        limits = self._limits(offers)
        try:
            last = _asked(self.user_options, offers)
            parse_choice(last)
        except ChoiceInvalid:
            last = {}
        return FormView(
            profiles=cards(offers.profiles(), owner, pattern),
            claims=list((await self._inventory()).claims.values()),
            choice=last,
            limits=limits,
            errors=attempt.errors if attempt else (),
            submitted=attempt.submitted if attempt else None,
            name_prefix=owner.slug,
            kept_names=own_names(owner, limits),
            home=self.volumes_settings.home,
            from_link=bool(attempt and attempt.from_link),
        )

    def _options_from_page(self, formdata: dict[str, Any]) -> Awaitable[dict[str, Any]]:
        submitted = parse_form(formdata)
        return self._judge(submitted, refused.begin(self, submitted))

    async def _judge(self, data: dict[str, Any], attempt: refused.Refused) -> dict[str, Any]:
        """The choice as it is stored, if it can be planned; else the page shows why not."""
        try:
            offers = await self._offers()
            profile, choice, found = offers.judge(data)
            await self._plan(offers, profile, choice, found)
        except ChoiceInvalid as exc:
            attempt.errors = exc.errors
            raise _http(exc) from exc
        except KaleError as exc:
            raise _http(exc) from exc
        return choice.stored()

    def options_from_query(self, query_data: dict[str, Any]) -> Any:
        """A link fills the page in; only a press of the button starts a server."""
        if self._is_plain:
            return super().options_from_query(query_data)
        refused.begin(self, parse_form(query_data), from_link=True)
        raise Shown(200, "This form was filled in by a link. Check it, then press Start.")

    # --- the choice ---------------------------------------------------------------------

    async def _profile_list(self) -> list[dict[str, Any]]:
        entries = self._sorted_dict_values(self.profile_list)
        if callable(entries):
            entries = self._sorted_dict_values(await maybe_future(entries(self)))
        return list(self._get_initialized_profile_list(entries or []))

    async def _offers(self) -> Offers:
        entries = await self._profile_list()
        return Offers(self.images, self.volumes_settings, self.gateway, entries)

    async def load_user_options(self) -> None:
        """Apply the overrides of what was chosen. Raises ChoiceInvalid."""
        offers = await self._offers()
        if self._is_plain and not any("kale" in entry for entry in offers.profile_list):
            self._profile = self._choice = None
            try:
                await super().load_user_options()
            except (ValueError, KeyError) as exc:
                raise Shown(400, f"profile: {exc}") from exc
            return
        profile, choice, found = offers.judge(_asked(self.user_options, offers))
        if found:
            await self._plan(offers, profile, choice, found)  # raises, with what else is wrong
        self._offered, self._profile, self._choice = offers, profile, choice
        self._apply_profile(profile, choice, [dict(entry) for entry in offers.profile_list])

    def _apply_profile(
        self, profile: Profile, choice: Choice, entries: list[dict[str, Any]]
    ) -> None:
        if profile.image is not None and profile.entry is None:
            own = check_image(profile, choice, self.images.custom_image_pattern)
            image = own or profile.image.reference(self.images.registry, self.images.tag)
            command = {} if profile.gateway_mode == "none" else {"cmd": None}
            self._apply_overrides({"image": image, **command})
            self._apply_overrides(copy.deepcopy(profile.image.kubespawner_override))
            return
        if profile.image is not None:
            image = profile.image.reference(self.images.registry, self.images.tag)
            self._apply_overrides({"image": image})
        options = self.user_options
        self.user_options = _as_kubespawner(profile.id, choice)
        try:
            self._validate_user_options(entries)
            self._load_profile(profile.id, entries)
        finally:
            self.user_options = options

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

    def _keep_choice(self) -> None:
        """The cluster took it, so this is what the page shows next time."""
        if self._choice is not None:
            self._last_choice = self._choice.stored()
            self._store_options(self._last_choice)

    def _forget_choice(self) -> None:
        """A refused choice does not replace the last good one."""
        self._store_options(self._last_choice or {})

    def _store_options(self, options: dict[str, Any]) -> None:
        self.user_options = options
        if self.orm_spawner is not None:
            self.orm_spawner.user_options = options
            # The hub rolls back what a start left uncommitted when it handles another request.
            stored = inspect(self.orm_spawner, raiseerr=False)
            if stored is not None and stored.session is not None:
                stored.session.commit()

    # --- state --------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self._last_choice is not None:
            state["kale_choice"] = self._last_choice
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._last_choice = state.get("kale_choice")

    def clear_state(self) -> None:
        self._restore_overridden()
        super().clear_state()

    # --- plan ---------------------------------------------------------------------------

    def _owner(self, start: str = "") -> Owner:
        labels = self._build_common_labels(self._expand_all(self.storage_extra_labels))
        annotations = self._build_common_annotations(
            self._expand_all(self.storage_extra_annotations)
        )
        if start:
            annotations[START_ANNOTATION] = start
        labels[USERNAME_LABEL] = self._user_label
        return Owner(self.user.name, self.name or "", labels, annotations)

    @property
    def _user_label(self) -> str:
        return str(safe_slug(self.user.name, is_valid=is_valid_label))

    def _objects(self) -> Objects:
        return Objects(
            self.api,
            shared_client("StorageV1Api"),
            self.namespace,
            float(self.k8s_api_request_timeout),
            float(self.k8s_api_request_retry_timeout),
        )

    async def _inventory(self) -> Inventory:
        claims = await self._objects().claims_of(USERNAME_LABEL, self._user_label)
        reflector = self.pod_reflector
        namespace = self.namespace
        running = [
            pod
            for pod in (reflector.pods.values() if reflector is not None else ())
            if pod["metadata"]["namespace"] == namespace
        ]
        return make_inventory(claims, self.user.name, claims_in_use(running, self.user.name))

    def _limits(self, offers: Offers) -> Limits:
        mounts = self._expand_all(self._sorted_dict_values(self.volume_mounts)) or []
        taken = [mount["mountPath"] for mount in mounts]
        return make_limits(offers, taken, [self.pvc_name_template])

    async def _plan(
        self, offers: Offers, profile: Profile, choice: Choice, found: Sequence[FieldError] = ()
    ) -> Plan:
        limits, owner = self._limits(offers), self._owner()
        return make_plan(choice, await self._inventory(), limits, owner, profile.offer, found)

    # --- the pod ------------------------------------------------------------------------

    async def _pod_manifest(self, plan: Plan, start: str) -> dict[str, Any]:
        """kubespawner's pod, the administrator's hook, then volumes and gateway."""
        model = await self.get_pod_manifest()
        if self.modify_pod_hook:
            model = await maybe_future(self.modify_pod_hook(self, model))
        pod: dict[str, Any] = self.api.api_client.sanitize_for_serialization(model)
        pod["metadata"].setdefault("annotations", {})[START_ANNOTATION] = start
        profile = self._profile
        if profile is None:
            return pod
        pod = pods.add_volumes(pod, plan)
        if profile.kind is None:
            return pods.harden(pod) if profile.entry is None else pod
        gateway = pods.Gateway(
            image=self.gateway.image,
            kind=profile.kind,
            mode="sidecar" if profile.gateway_mode == "sidecar" else "container",
            pull_policy=self.gateway.pull_policy or None,
            resources=self.gateway.resources,
        )
        return pods.harden(pods.add_gateway(pod, profile.app(self.image), gateway))

    def _get_pod_port(self, pod: dict[str, Any]) -> int:
        """kubespawner's, but other containers need not declare ports."""
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == "notebook-port":
                    return int(port["containerPort"])
        raise KeyError(f"No port 'notebook-port' in pod {pod['metadata']['name']}")

    # --- start and stop -----------------------------------------------------------------

    async def _start(self) -> str:
        self._starting = None
        try:
            await self.load_user_options()
            if self.enable_user_namespaces:
                await self._ensure_namespace()
            start = await self._prepare()
        except ChoiceInvalid as exc:
            self._forget_choice()
            raise _http(exc) from exc
        except KaleError as exc:
            raise _http(exc) from exc
        return await self._run(start)

    async def _prepare(self) -> Start:
        """Watches, plan and manifests; nothing is made yet."""
        watches = await self._watch()
        plan = Plan()
        offers, profile, choice = self._offered, self._profile, self._choice
        if offers is not None and profile is not None and choice is not None:
            plan = await self._plan(offers, profile, choice)
        start_id = uuid.uuid4().hex
        owner = self._owner(start_id)
        template = self.volumes_settings.rok_secret
        secret = expand(template, owner.user, owner.server) if template else ""
        has_gateway = self._profile is not None and self._profile.kind is not None
        return Start(
            objects=self._objects(),
            watches=watches,
            pod=await self._pod_manifest(plan, start_id),
            claims=[claim_manifest(new, owner, secret) for new in plan.create],
            mounted=plan.claims,
            user=self.user.name,
            user_label=(USERNAME_LABEL, self._user_label),
            is_ready=self.is_pod_running,
            ask=self._ask_gateway if has_gateway else None,
            seconds=max(self.start_timeout - _MARGIN, 1.0),
            grace=self.unschedulable_grace,
        )

    async def _run(self, start: Start) -> str:
        self._starting = start
        try:
            await start.accept()
            self._keep_choice()
            if self.storage_pvc_ensure:
                await self._ensure_own_claim()
            await start.make()
            await self._after_creation()
            pod = await start.wait()
        except BaseException as exc:
            await _finish(start.clean())
            if isinstance(exc, KaleError):
                self.log.warning("%s: %s", self._log_name, exc)
                raise _http(exc) from exc
            raise
        self.pod_id = pod["metadata"]["uid"]
        return str(self._get_pod_url(pod))

    async def _ask_gateway(self, pod: dict[str, Any]) -> None:
        prefix = self.server.base_url if self.server else "/"
        await until_ready(self._get_pod_url(pod) + prefix)

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
        assert self._starting is not None
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

    async def stop(self, now: bool = False) -> None:
        """End the pod, and wait until it is gone. Claims stay."""
        watches = await self._watch()
        key = f"{self.namespace}/{self.pod_name}"
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
                if await objects.pod(self.pod_name) is None:
                    watches.pods.resources.pop(key, None)

    async def get_url(self) -> str:
        """Where the server is. After the hub was restarted during a start, wait for its end."""
        stored = str(await super().get_url())
        if urlparse(stored).hostname and not self._check_pending:
            return stored
        watches = await self._watch()
        pod = watches.pods.resources.get(f"{self.namespace}/{self.pod_name}")
        if pod is None:
            return stored
        start = self._resumed(watches, pod)
        try:
            return str(self._get_pod_url(await start.wait()))
        except KaleError as exc:
            self.log.warning("%s: the start that was under way failed: %s", self._log_name, exc)
            await start.remove_pod()
            return stored

    def _resumed(self, watches: Watches, pod: dict[str, Any]) -> Start:
        """The start of a hub before this one. Its claims stay, whatever happens."""
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

    # --- watching -----------------------------------------------------------------------

    async def _start_reflector(
        self, kind: str, reflector_class: type[Any], replace: bool = False, **kwargs: Any
    ) -> Any:
        """kubespawner's, with reflectors that wake."""
        waking = {PodReflector: WakingPods, EventReflector: WakingEvents}
        return await super()._start_reflector(
            kind, waking.get(reflector_class, reflector_class), replace, **kwargs
        )

    async def _watch(self) -> Watches:
        everywhere = self.enable_user_namespaces
        work = [
            self._start_watching_pods(),
            self._start_reflector(
                "persistentvolumeclaims",
                WakingClaims,
                labels={COMPONENT_LABEL: STORAGE_COMPONENT},
                omit_namespace=everywhere,
            ),
        ]
        if self.events_enabled:
            work += [
                self._start_watching_events(),
                self._start_reflector(
                    "claim-events",
                    WakingEvents,
                    fields={"involvedObject.kind": "PersistentVolumeClaim"},
                    omit_namespace=everywhere,
                ),
            ]
        return Watches(*await asyncio.gather(*work))

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


def _asked(options: Any, offers: Offers) -> dict[str, Any]:
    """What was stored, or came over the API, with kubespawner's own words where it may."""
    given = dict(options or {})
    entries = [entry["slug"] for entry in offers.profile_list]
    return upgrade(given) if given.get("profile") in entries else given


def _as_kubespawner(slug: str, choice: Choice) -> dict[str, Any]:
    """A choice in the words of kubespawner's own options."""
    options: dict[str, Any] = {"profile": slug}
    for name, value in choice.profile_options.items():
        if isinstance(value, UnlistedChoice):
            options[f"{name}--unlisted-choice"] = value.unlisted_choice
        else:
            options[name] = value
    return options


def _copied(value: Any) -> Any:
    """Only what can be changed in place needs a copy."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


class Shown(web.HTTPError):
    """An error as the hub shows it: JSON with the message over the API, text on the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message.replace("%", "%%"))
        self.jupyterhub_message = message


def _http(exc: KaleError) -> Shown:
    return Shown(exc.status, str(exc))


async def _finish(work: Awaitable[None]) -> None:
    """Run to the end even if whoever waits is cancelled again."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
