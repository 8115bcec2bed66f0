"""Spawners without a hub around them, for the tests of units and of the cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from traitlets.config import Config

from kale_spawner.spawner import KaleSpawner

SETTINGS: dict[str, Any] = {"KaleImages": {"tag": "release-2.0"}}


def make_spawner(
    config: dict[str, Any] | None = None,
    user: str = "alice",
    server: str = "",
    state: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    namespace: str = "default",
) -> KaleSpawner:
    """A spawner as the hub makes one. Needs a running event loop."""
    settings = Config(SETTINGS)
    settings.merge(Config({"KaleSpawner": {"namespace": namespace}}))
    settings.merge(Config(config or {}))
    base = f"/user/{user}/{server}/" if server else f"/user/{user}/"
    orm_spawner = SimpleNamespace(
        name=server,
        user_options=options or {},
        server=orm.Server(base_url=base, proto="http", ip="", port=0, cookie_name="c"),
        state={},
    )
    person = SimpleNamespace(
        name=user,
        id=1,
        url=f"/user/{user}/",
        escaped_name=user,
        groups=[],
        orm_user=SimpleNamespace(orm_spawners={}),
        settings={},
        db=None,
        authenticator=None,
    )
    hub = SimpleNamespace(
        public_host="",
        url="http://hub:8081/hub/",
        base_url="/hub/",
        api_url="http://hub:8081/hub/api",
    )
    spawner = KaleSpawner(
        user=person,
        hub=hub,
        orm_spawner=orm_spawner,
        config=settings,
        user_options=options or {},
        oauth_client_id=f"jupyterhub-user-{user}",
        api_token="secret-token",
    )
    spawner.load_state(state or {})
    return spawner
