"""The REST API of volumes, under the hub's own.

Reading needs the scope `read:servers` of the user in the path, changing `servers`: users see
their own, administrators what their scopes say. What is somebody else's is 404, as if it were not
there.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
from collections.abc import Awaitable, Callable
from http.client import responses
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.scopes import needs_scope
from pydantic import BaseModel, ValidationError
from tornado import web

from kale_spawner.errors import Busy, ChoiceInvalid, KaleError, Missing, Refused
from kale_spawner.model.choices import field_errors
from kale_spawner.volumes import Claims, Sets, Snapshots
from kale_spawner.web.openapi import (
    LONGEST_NAME,
    LONGEST_SEEN,
    LONGEST_WAIT,
    Grow,
    NewVolume,
    Restore,
    TakeSet,
    TakeSnapshot,
    document,
)
from kale_spawner.web.views import (
    ServerView,
    StateView,
    set_view,
    snapshot_view,
    volume_view,
)

_MOST_BYTES = 1 << 16


Method = Callable[..., Awaitable[None]]


def _told(method: Method) -> Method:
    """Errors of ours as the API tells them."""

    @functools.wraps(method)
    async def telling(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            await method(self, *args, **kwargs)
        except KaleError as exc:
            self.tell(exc)

    return telling


class Handler(APIHandler):  # type: ignore[misc]
    """What all handlers of volumes have in common."""

    def spawner_of(self, user_name: str, server: str = "", *, there: bool = False) -> Any:
        """Of the user's server; `there` wants one that was made before."""
        user = self.find_user(user_name)
        if user is None:
            raise Missing(f'There is no user "{user_name[:80]}".')
        if there and server and server not in user.orm_user.orm_spawners:
            raise Missing(f'You have no server "{server[:80]}".')
        return user.spawners[server]

    def body(self, model: type[Any]) -> Any:
        """The request's body. Raises ChoiceInvalid with all that is wrong with it."""
        if len(self.request.body) > _MOST_BYTES:
            raise web.HTTPError(400, f"The body has more than {_MOST_BYTES} bytes.")
        data = self.get_json_body() if self.request.body else {}
        try:
            return model.model_validate(data)
        except ValidationError as exc:
            raise ChoiceInvalid(field_errors(exc)) from exc
        except RecursionError as exc:
            raise web.HTTPError(400, "The body is nested too deeply.") from exc

    def get_json_body(self) -> Any:
        try:
            return super().get_json_body()
        except UnicodeDecodeError as exc:  # of JupyterHub 5
            raise web.HTTPError(400, "The body is not in UTF-8.") from exc
        except RecursionError as exc:
            raise web.HTTPError(400, "The body is nested too deeply.") from exc

    def tell(self, exc: KaleError) -> None:
        answer: dict[str, Any] = {"status": exc.status, "message": str(exc)}
        if isinstance(exc, ChoiceInvalid):
            answer["errors"] = [{"field": e.field, "message": e.message} for e in exc.errors]
        self.set_status(exc.status)
        self.finish(json.dumps(answer))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """JupyterHub's, always with words; a verb that is not offered with those that are."""
        exc = kwargs.get("exc_info", (None, None))[1]
        if status_code == 405 and isinstance(exc, web.HTTPError):
            exc.headers = {"Allow": ", ".join(self._verbs())}  # type: ignore[attr-defined]
        if isinstance(exc, web.HTTPError) and not exc.reason:
            exc.reason = responses.get(status_code, "Unknown Error")
        super().write_error(status_code, **kwargs)

    def _verbs(self) -> list[str]:
        none = web.RequestHandler._unimplemented_method
        return [
            verb for verb in self.SUPPORTED_METHODS if getattr(type(self), verb.lower()) is not none
        ]

    def send(self, view: BaseModel | dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        data = view.model_dump() if isinstance(view, BaseModel) else view
        self.finish(json.dumps(data))


class StorageHandler(Handler):
    """All that a user has, at once, and when it changes."""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str) -> None:
        spawner = self.spawner_of(user_name)
        wait, seen = self._wait(), self.get_argument("seen", "")
        if len(seen) > LONGEST_SEEN:
            raise web.HTTPError(400, "seen: write a version that this told")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        watches = await spawner._watch()
        with watches.waiter_of_user(spawner.user.name, spawner.namespace) as waiter:
            while True:
                state = await storage_state(spawner)
                left = deadline - loop.time()
                if state["version"] != seen or left <= 0:
                    break
                await waiter.wait(left)
        self.send(state)

    def _wait(self) -> float:
        text = self.get_argument("wait", "0")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= LONGEST_WAIT:
            raise web.HTTPError(400, f"wait: write 0 to {LONGEST_WAIT:.0f} seconds")
        return seconds


class ListHandler(Handler):
    """All of one kind. key: what a `StateView` calls them."""

    key = ""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send({self.key: state[self.key]})


class ItemHandler(Handler):
    """One of a kind, by its name. called: in words."""

    key = called = ""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str, name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        found = next((each for each in state[self.key] if each["name"] == name), None)
        if found is None:
            raise Missing(f'You have no {self.called} "{name[:80]}".')
        self.send(found)


class VolumesHandler(ListHandler):
    key = "volumes"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        spawner = self.spawner_of(user_name)
        made = await Claims(spawner).create(self.body(NewVolume))
        self.send(volume_view(made, await spawner._cluster()), 201)


class VolumeHandler(ItemHandler):
    key, called = "volumes", "volume"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def patch(self, user_name: str, name: str) -> None:
        spawner = self.spawner_of(user_name)
        grown = await Claims(spawner).grow(name, self.body(Grow).size)
        self.send(volume_view(grown, await spawner._cluster()), 202)

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        asked = self.get_argument("snapshot", None)
        if asked not in (None, "true", "false"):
            raise web.HTTPError(400, "snapshot: write true or false")
        claims = Claims(self.spawner_of(user_name))
        last = await claims.delete(name, None if asked is None else asked == "true")
        self.send({"snapshot": last}, 202)


class SnapshotsHandler(ListHandler):
    key = "snapshots"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        asked = self.body(TakeSnapshot)
        taken = await Snapshots(self.spawner_of(user_name)).take(asked.volume, asked.name)
        self.send(snapshot_view(taken), 201)


class SnapshotHandler(ItemHandler):
    key, called = "snapshots", "snapshot"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        await Snapshots(self.spawner_of(user_name)).delete(name)
        self.send({}, 202)


class SetsHandler(ListHandler):
    key = "sets"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        asked = self.body(TakeSet)
        spawner = self.spawner_of(user_name, asked.server, there=True)
        self.send(set_view(await spawner.snapshot_all(asked.name)), 201)


class SetHandler(ItemHandler):
    key, called = "sets", "snapshot of a server"

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        await Sets(self.spawner_of(user_name)).delete_all(name)
        self.send({}, 202)


class RestoreHandler(Handler, UserServerAPIHandler):  # type: ignore[misc]
    """Start a server with what a set holds, as the hub starts any server.

    The hub's other verbs would take the set's name for a server's.
    """

    put = patch = delete = web.RequestHandler._unimplemented_method

    slow_spawn_timeout = 2
    """Seconds in which a refusal is still told here; the pending page tells what comes later."""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str, name: str) -> None:
        server = self.get_argument("server", "")
        if len(server) > LONGEST_NAME:
            raise web.HTTPError(400, f"server: write at most {LONGEST_NAME} characters")
        _, names = await Sets(self.spawner_of(user_name)).restored(name, server)
        self.send({"volumes": names})

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str, name: str) -> None:
        asked = self.body(Restore)
        user, spawner = self.find_user(user_name), self.spawner_of(user_name)
        choice, names = await Sets(spawner).restored(name, asked.server)
        there = asked.server in user.orm_user.orm_spawners
        former = user.spawners[asked.server] if there else None
        called = f'server "{asked.server}"' if asked.server else "default server"
        if former is not None and former.active:
            raise Busy(f"The {called} is running. Stop it first.")
        # To look at a spawn page is enough for JupyterHub to know a name.
        if former is not None and former.last_volumes and not asked.over:
            raise Busy(
                f"You have a {called} already. Choose another name, or restore over it "
                "(over: true)."
            )
        if asked.over and not there and asked.server:
            raise Missing(f"You have no {called} to restore over.")
        # What would be refused leaves no server behind that never started.
        try:
            await spawner.judged(choice, asked.server)
        except ChoiceInvalid as exc:
            raise Refused(
                f'A server cannot be started with "{name}" now: {exc}. Make volumes of its '
                "snapshots one by one, or ask your administrator.",
                "restore",
            ) from exc
        self.request.body = json.dumps(choice).encode()
        try:
            await UserServerAPIHandler.post(self, user_name, asked.server)
        except web.HTTPError:
            if asked.server in user.orm_user.orm_spawners:
                user.spawners[asked.server].forget_choice()  # no later start is to do it unasked
            raise
        url = f"{self.hub.base_url}spawn-pending/{user.escaped_name}"
        if asked.server:
            url += f"/{asked.server}"
        answer = {"server": asked.server, "url": url, "volumes": names}
        self.send(answer, 202)


class DocumentHandler(Handler):
    """The OpenAPI document of all this; it tells nothing of anybody."""

    async def get(self) -> None:
        self.send(document(self.hub.base_url))


async def storage_state(spawner: Any) -> dict[str, Any]:
    """A `StateView` of the spawner's user, as JSON data."""
    state = await spawner.storage_views()
    servers = [
        ServerView(
            name=name,
            running=bool(spawner.user.spawners[name].active),
            volumes=[each["claim"] for each in spawner.user.spawners[name].last_volumes],
        )
        for name in sorted(spawner.user.orm_user.orm_spawners)
    ]
    settings = spawner.volumes_settings
    view = StateView(
        version="", servers=servers, last_snapshot=settings.snapshot_before_delete, **state
    )
    data = view.model_dump()
    text = json.dumps(data, sort_keys=True)
    return {**data, "version": hashlib.sha256(text.encode()).hexdigest()[:16]}


_USER, _NAME = r"/api/users/([^/]+)", r"/([^/]+)"
HANDLERS: list[tuple[str, type[Handler]]] = [
    (rf"{_USER}/storage", StorageHandler),
    (rf"{_USER}/volumes", VolumesHandler),
    (rf"{_USER}/volumes{_NAME}", VolumeHandler),
    (rf"{_USER}/snapshots", SnapshotsHandler),
    (rf"{_USER}/snapshots{_NAME}", SnapshotHandler),
    (rf"{_USER}/snapshot-sets", SetsHandler),
    (rf"{_USER}/snapshot-sets{_NAME}", SetHandler),
    (rf"{_USER}/snapshot-sets{_NAME}/restore", RestoreHandler),
    (r"/api/kale-spawner/openapi.json", DocumentHandler),
]
