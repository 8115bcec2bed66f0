"""The spawn page: what it shows, and the choice that is read back from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from traitlets import default

from kale_spawner.cards import cards, entries
from kale_spawner.errors import ChoiceInvalid, KaleError
from kale_spawner.model.choices import parse_choice
from kale_spawner.model.limits import own_names
from kale_spawner.planning import PlanningSpawner, as_kubespawner
from kale_spawner.web import refused
from kale_spawner.web.form import FormView, parse_form, render_form
from kale_spawner.web.shown import Shown, shown

_KUBESPAWNERS = ("profile", "profile_options")
"""What of a choice a template of kubespawner's can show."""


class PageSpawner(PlanningSpawner):
    """Shows the page, and stores what it sends only if that can be done."""

    @property
    def _full(self) -> str:
        """The volume that this server's last start found full: the page offers to make it larger.

        The hub discards the spawner of a start that failed, and this has to outlive it.
        """
        return self.holds.full.get(self._pod_key, "")

    @_full.setter
    def _full(self, volume: str) -> None:
        self.holds.full.pop(self._pod_key, None)
        if volume:
            self.holds.full[self._pod_key] = volume

    @default("options_form")
    def _default_options_form(self) -> Any:
        if self._is_plain:
            return super()._options_form_default()
        return type(self)._render_template if self._has_template else type(self)._render_page

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._options_from_form if self._is_plain else self._options_from_page

    @property
    def _reads_form_itself(self) -> bool:
        ours = (self._options_from_form, self._options_from_page)
        return self.options_from_form not in ours

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
            last = self._asked(offers)
            parse_choice(last)
        except ChoiceInvalid:
            last = {}
        have, cluster = await asyncio.gather(self._inventory(), self._cluster())
        return FormView(
            profiles=cards(offers.profiles(), owner, pattern),
            claims=list(have.claims.values()),
            full=self._full,
            snapshots=[*have.snapshots.values(), *have.shared_snapshots.values()],
            shared=list(have.shared_claims.values()),
            cluster=cluster,
            choice=last,
            limits=limits,
            errors=attempt.errors if attempt else (),
            submitted=attempt.submitted if attempt else None,
            name_prefix=owner.slug,
            kept_names=own_names(owner, limits),
            home=self.volumes_settings.home,
            from_link=bool(attempt and attempt.from_link),
            server=self.name or "",
        )

    @property
    def _has_template(self) -> bool:
        """Whether the administrator gave kubespawner a template of their own."""
        folders = self.additional_profile_form_template_paths
        return bool(self.profile_form_template) or any(
            (Path(folder) / "form.html").is_file() for folder in folders
        )

    async def _render_template(self) -> str:
        """kubespawner's form by the administrator's template: our images, then their entries.

        It fills in what was chosen last, or what was refused just now, in kubespawner's words.
        """
        attempt = refused.current()
        spawner = attempt.spawner if attempt is not None else self
        offers = await spawner._offers()
        try:
            submitted = attempt.submitted if attempt is not None else None
            filled = spawner._asked(offers) if submitted is None else submitted
            choice = parse_choice({each: filled[each] for each in _KUBESPAWNERS if each in filled})
        except ChoiceInvalid:
            choice = parse_choice({})
        kept = spawner.user_options
        spawner.user_options = as_kubespawner(choice.profile, choice) if choice.profile else {}
        try:
            return str(spawner._render_options_form(entries(offers.profiles())))
        finally:
            spawner.user_options = kept

    def _options_from_page(self, formdata: dict[str, Any]) -> Awaitable[dict[str, Any]]:
        submitted = parse_form(formdata)
        return self._judge(submitted, refused.begin(self, submitted))

    async def _judge(self, data: dict[str, Any], attempt: refused.Refused) -> dict[str, Any]:
        """The choice as it is stored, if it can be planned; else the page shows why not."""
        try:
            return (await self.judged(data)).stored()
        except ChoiceInvalid as exc:
            attempt.errors = exc.errors
            raise shown(exc) from exc
        except KaleError as exc:
            raise shown(exc) from exc

    def options_from_query(self, query_data: dict[str, Any]) -> Any:
        """A link fills the page in; only a press of the button starts a server."""
        if self._is_plain:
            return super().options_from_query(query_data)
        refused.begin(self, parse_form(query_data), from_link=True)
        raise Shown(200, "This form was filled in by a link. Check it, then press Start.")
