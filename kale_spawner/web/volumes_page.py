"""The Volumes page of the hub: its handler, its files, its tab.

The lists are in the page as JSON, for the script, and as tables for a browser without one. What
happens on the page goes through the hub's REST API, as `web/static/volumes/` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import has_scope, needs_scope
from tornado import web

from kale_spawner.errors import KaleError
from kale_spawner.web.api import storage_state
from kale_spawner.web.views import SharedThings, StateView
from kale_spawner.web.words import human_size

_HERE = Path(__file__).parent
_TEMPLATES = _HERE / "templates" / "hub"
_STATIC = _HERE / "static" / "volumes"

LINK_PREFIX = "opt-" if hasattr(SpawnHandler, "_get_user_options") else ""
"""What JupyterHub wants before the names of options in a link to the spawn page."""


def _version() -> str:
    """Of the files that are served: they are kept by browsers until it changes."""
    content = b"".join(path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.is_file())
    return hashlib.sha256(content).hexdigest()[:16]


VERSION = _version()


def register(app: Any) -> None:
    """Give the hub the page, before it makes its handlers and reads its templates.

    Both lists are changed in place: JupyterHub warns of an assignment to `extra_handlers`. Our
    page.html comes before JupyterHub's, which it extends, and after an administrator's.
    """
    app.extra_handlers.extend(
        [
            (r"/volumes", VolumesHandler),
            (r"/volumes/([^/]+)", VolumesHandler),
            (rf"/kale-spawner/{VERSION}/(.*)", Files, {"path": str(_STATIC)}),
        ]
    )
    paths = app.template_paths
    stock = str(Path(app.data_files_path) / "templates")
    paths.insert(paths.index(stock) if stock in paths else len(paths), str(_TEMPLATES))


class Files(web.StaticFileHandler):
    """Style and script. Their address has their hash in it, so that they need no asking again."""

    def get_cache_time(self, *_: Any) -> int:
        return self.CACHE_MAX_AGE

    def compute_etag(self) -> str | None:
        return None


class VolumesHandler(BaseHandler):  # type: ignore[misc]
    """One's own volumes, or those of a user that one may see."""

    @web.authenticated
    async def get(self, user_name: str | None = None) -> None:
        await self._get(user_name=user_name or self.current_user.name)

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    async def _get(self, user_name: str) -> None:
        user = self.find_user(user_name)
        if user is None:
            raise web.HTTPError(404, f"No such user: {user_name}")
        spawner = user.spawner
        state, problem = await _state(spawner)
        own = user.name == self.current_user.name
        data = {
            "user": user.name,
            "own": own,
            "base": self.hub.base_url,
            "xsrf": self.xsrf_token.decode("ascii"),
            "mayChange": self._may_change(user.name),
            "namedServers": bool(self.allow_named_servers),
            "linkPrefix": LINK_PREFIX,
            "home": spawner.volumes_settings.home,
            "state": state,
        }
        html = await self.render_template(
            "kale-volumes.html",
            kale_page="volumes",
            kale_files=f"{self.hub.base_url}kale-spawner/{VERSION}/",
            for_user=user,
            own=own,
            problem=problem,
            noscript=_plain(state),
            data=data,
        )
        self.set_header("Cache-Control", "no-store")
        self.finish(html)

    def _may_change(self, user_name: str) -> bool:
        return bool(has_scope(f"servers!user={user_name}", self.parsed_scopes, db=self.db))


async def _state(spawner: Any) -> tuple[Mapping[str, Any], str]:
    """What the user has, as the API tells it; empty, and why, where it is not known."""
    try:
        return await storage_state(spawner), ""
    except KaleError as exc:
        return EMPTY, str(exc)


def _plain(state: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """The cells of the tables for browsers without JavaScript."""
    shared = state["shared"]
    return {
        "volumes": [
            (
                each["name"],
                each["state_text"],
                human_size(each["size_bytes"]),
                ", ".join(name or "the default server" for name in each["servers"]),
                _day(each["created"]),
                each["origin_text"],
            )
            for each in state["volumes"]
        ],
        "snapshots": [
            (
                each["name"],
                each["volume"],
                each["state_text"],
                human_size(each["size_bytes"]),
                _day(each["taken"] or each["created"]),
            )
            for each in state["snapshots"]
        ],
        "sets": [
            (
                each["name"],
                each["server"] or "the default server",
                each["state_text"],
                ", ".join(each["volumes"]),
                _day(each["created"]),
            )
            for each in state["sets"]
        ],
        "shared": [
            (
                each["name"],
                what,
                human_size(each["size_bytes"]),
                (each["shared"] or {}).get("description", ""),
            )
            for what, kind in (("volume", "volumes"), ("snapshot", "snapshots"))
            for each in shared[kind]
        ],
    }


def _day(moment: str | None) -> str:
    """An RFC 3339 moment to the minute; the hub's clock and the visitor's may differ by zone."""
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else ""


EMPTY: Mapping[str, Any] = StateView(
    version="",
    volumes=[],
    snapshots=[],
    sets=[],
    shared=SharedThings(volumes=[], snapshots=[]),
    snapshots_missing="",
    servers=[],
    last_snapshot="offered",
).model_dump()
"""A state that the script replaces as soon as the API answers (its version differs)."""
