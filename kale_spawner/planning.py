"""From what was asked to what will be done: profile, plan and pod of one start."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from jupyterhub.utils import maybe_future
from kubespawner.slugs import is_valid_label, safe_slug

from kale_spawner.errors import ChoiceInvalid, FieldError
from kale_spawner.model import marks
from kale_spawner.model import pod as pods
from kale_spawner.model.choices import Choice, UnlistedChoice, upgrade
from kale_spawner.model.claim import uses_of
from kale_spawner.model.claims import claim_manifest
from kale_spawner.model.cluster import Cluster
from kale_spawner.model.growth import NewClaim
from kale_spawner.model.holds import Holds
from kale_spawner.model.inventory import Inventory, make_inventory
from kale_spawner.model.limits import Limits, Owner
from kale_spawner.model.names import expand
from kale_spawner.model.plan import Plan, make_plan
from kale_spawner.offers import Offers, Profile, check_image, make_limits
from kale_spawner.settings import KaleGateway, KaleImages, KaleVolumes
from kale_spawner.upstream import UpstreamSpawner
from kale_spawner.wire import USERNAME_LABEL


class PlanningSpawner(UpstreamSpawner):
    """Knows the settings, what they offer to its user, and what a choice comes to."""

    checks_settings = True
    holds: ClassVar[Holds] = Holds()
    background: ClassVar[set[asyncio.Future[None]]] = set()
    """What goes on after the request that began it was answered."""

    user_options: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._offered: Offers | None = None
        self._profile: Profile | None = None
        self._choice: Choice | None = None
        self._last_choice: dict[str, Any] | None = None
        self.last_volumes: list[dict[str, Any]] = []
        """The volumes of the last start, each as a `Member`'s fields."""
        super().__init__(*args, **kwargs)
        self.images = KaleImages(parent=self)
        self.volumes_settings = KaleVolumes(parent=self)
        self.gateway = KaleGateway(parent=self)

    @property
    def _is_plain(self) -> bool:
        """Without images of ours this is KubeSpawner, page and options included."""
        entries = self.profile_list if isinstance(self.profile_list, list) else []
        return not self.images.images and not any("kale" in entry for entry in entries)

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
                raise ChoiceInvalid([FieldError("profile", str(exc))]) from exc
            return
        profile, choice, found = offers.judge(self._asked(offers))
        if found:
            await self._plan(offers, profile, choice, found)  # raises, with what else is wrong
        self._offered, self._profile, self._choice = offers, profile, choice
        self._apply_profile(profile, choice, [dict(entry) for entry in offers.profile_list])

    @property
    def _reads_form_itself(self) -> bool:
        """Whether `options_from_form` is the administrator's own; the page knows."""
        return False

    def _asked(self, offers: Offers) -> dict[str, Any]:
        """What was stored, or came over the API, with kubespawner's own words where it may.

        What an administrator's `options_from_form` adds for hooks of theirs is not looked at.
        """
        given = dict(self.user_options or {})
        entry = next((e for e in offers.profile_list if e["slug"] == given.get("profile")), None)
        if self._reads_form_itself:
            options = (entry or {}).get("profile_options") or {}
            known = {
                *Choice.model_fields,
                *options,
                *(f"{each}--unlisted-choice" for each in options),
            }
            given = {key: value for key, value in given.items() if key in known}
        return given if entry is None else upgrade(given)

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
        self.user_options = as_kubespawner(profile.id, choice)
        try:
            self._validate_user_options(entries)
            self._load_profile(profile.id, entries)
        finally:
            self.user_options = options

    def _owner(self, start: str = "") -> Owner:
        labels = self._build_common_labels(self._expand_all(self.storage_extra_labels))
        annotations = self._build_common_annotations(
            self._expand_all(self.storage_extra_annotations)
        )
        if start:
            annotations[marks.START] = start
        labels[USERNAME_LABEL] = self._user_label
        return Owner(self.user.name, self.name or "", labels, annotations)

    def _claim_manifest(self, new: NewClaim, owner: Owner) -> dict[str, Any]:
        template = self.volumes_settings.rok_secret
        secret = expand(template, owner.user, owner.server) if template else ""
        return claim_manifest(new, owner, secret)

    @property
    def _user_label(self) -> str:
        return str(safe_slug(self.user.name, is_valid=is_valid_label))

    async def _inventory(self, fresh: bool = False) -> Inventory:
        """What the watches show: however many claims others have, only the user's are looked at.

        fresh: the user's claims as they are now, for a plan: a watch that was interrupted may
        show one that is gone, or not yet one that was made just now.
        """
        watches = await self._watch()
        own = None
        if fresh:
            own = await self._objects().claims_of(USERNAME_LABEL, self._user_label)
        seen = watches.of_user(self.user.name, self.namespace, own)
        return make_inventory(
            seen.claims,
            self.user.name,
            uses_of(seen.pods, self.user.name),
            seen.snapshots,
            [group.name for group in self.user.groups],
            watches.snapshots_missing,
            seen.group_snapshots,
        )

    def _key(self, name: str) -> str:
        """What the watches know an object of this namespace by."""
        return f"{self.namespace}/{name}"

    @property
    def _pod_key(self) -> str:
        return self._key(self.pod_name)

    async def _cluster(self, fresh: bool = False) -> Cluster:
        return await self.facts.cluster(self.namespace, fresh)

    def _limits(self, offers: Offers) -> Limits:
        mounts = self._expand_all(self._sorted_dict_values(self.volume_mounts)) or []
        taken = [mount["mountPath"] for mount in mounts]
        return make_limits(offers, taken, [self.pvc_name_template])

    async def _plan(
        self,
        offers: Offers,
        profile: Profile,
        choice: Choice,
        found: Sequence[FieldError] = (),
        server: str | None = None,
    ) -> Plan:
        limits, owner = self._limits(offers), self._owner()
        if server is not None:
            owner = replace(owner, server=server)
        inventory, cluster = await asyncio.gather(
            self._inventory(fresh=True), self._cluster(fresh=True)
        )
        return make_plan(choice, inventory, limits, owner, profile.offer, found, cluster)

    async def judged(self, data: dict[str, Any], server: str | None = None) -> Choice:
        """What is asked for, of this server or another of its user's, if it can be planned now.
        Raises ChoiceInvalid."""
        offers = await self._offers()
        profile, choice, found = offers.judge(data)
        await self._plan(offers, profile, choice, found, server)
        return choice

    async def _pod_manifest(self, plan: Plan, start: str) -> dict[str, Any]:
        """kubespawner's pod, the administrator's hook, then volumes and gateway."""
        model = await self.get_pod_manifest()
        if self.modify_pod_hook:
            model = await maybe_future(self.modify_pod_hook(self, model))
        pod: dict[str, Any] = self.api.api_client.sanitize_for_serialization(model)
        pod["metadata"].setdefault("annotations", {})[marks.START] = start
        profile = self._profile
        if profile is None:
            return pod
        pod = pods.place(pods.add_volumes(pod, plan), plan.node)
        if profile.kind is None and profile.entry is not None:
            return pod
        pod = pods.harden(pods.set_app(pod, profile.app(self.image)))
        if profile.kind is None:
            return pod
        gateway = pods.Gateway(
            image=self.gateway.image,
            kind=profile.kind,
            mode="sidecar" if profile.gateway_mode == "sidecar" else "container",
            pull_policy=self.gateway.pull_policy or None,
            resources=self.gateway.resources,
        )
        return pods.add_gateway(pod, gateway)


def as_kubespawner(slug: str, choice: Choice) -> dict[str, Any]:
    """A choice in the words of kubespawner's own options."""
    options: dict[str, Any] = {"profile": slug}
    for name, value in choice.profile_options.items():
        if isinstance(value, UnlistedChoice):
            options[f"{name}--unlisted-choice"] = value.unlisted_choice
        else:
            options[name] = value
    return options
