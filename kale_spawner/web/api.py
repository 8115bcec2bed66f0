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
from typing import Any, ClassVar

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.scopes import needs_scope
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado import web

from kale_spawner.errors import Busy, ChoiceInvalid, KaleError, Missing
from kale_spawner.model.choices import ClaimName, DataVolume, Size, field_errors
from kale_spawner.volumes import Volumes
from kale_spawner.web.views import (
    ServerView,
    SetView,
    SnapshotView,
    StateView,
    VolumeView,
    set_view,
    snapshot_view,
    volume_view,
)

_MOST_BYTES = 1 << 16
_LONGEST_WAIT = 30.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Grow(_Body):
    size: Size


class TakeSnapshot(_Body):
    volume: ClaimName
    name: ClaimName | None = None


class TakeSet(_Body):
    """server: "" is the default server."""

    server: str = Field("", max_length=255)
    name: ClaimName | None = None


class Restore(_Body):
    """over: the server of that name is there, and is to have these volumes from now on."""

    server: str = Field("", max_length=255)
    over: bool = False


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

    def volumes_of(self, user_name: str) -> Volumes:
        return Volumes(self.spawner_of(user_name))

    def body(self, model: type[Any]) -> Any:
        """The request's body. Raises ChoiceInvalid with all that is wrong with it."""
        if len(self.request.body) > _MOST_BYTES:
            raise web.HTTPError(400, f"The body has more than {_MOST_BYTES} bytes.")
        data = self.get_json_body()
        try:
            return model.model_validate({} if data is None else data)
        except ValidationError as exc:
            raise ChoiceInvalid(field_errors(exc)) from exc
        except RecursionError as exc:
            raise web.HTTPError(400, "The body is nested too deeply.") from exc

    def get_json_body(self) -> Any:
        try:
            return super().get_json_body()
        except RecursionError as exc:
            raise web.HTTPError(400, "The body is nested too deeply.") from exc

    def tell(self, exc: KaleError) -> None:
        answer: dict[str, Any] = {"status": exc.status, "message": str(exc)}
        if isinstance(exc, ChoiceInvalid):
            answer["errors"] = [{"field": e.field, "message": e.message} for e in exc.errors]
        self.set_status(exc.status)
        self.finish(json.dumps(answer))

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
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        watches = await spawner._watch()
        with watches.waiter_of_user(spawner.user.name, spawner.namespace) as waiter:
            while True:
                state = await storage_state(spawner)
                left = deadline - loop.time()
                if state["version"] != seen or left <= 0 or self.request.connection is None:
                    break
                await waiter.wait(left)
        self.send(state)

    def _wait(self) -> float:
        text = self.get_argument("wait", "0")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= _LONGEST_WAIT:
            raise web.HTTPError(400, f"wait: write 0 to {_LONGEST_WAIT:.0f} seconds")
        return seconds


class VolumesHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send({"volumes": state["volumes"]})

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        volumes = self.volumes_of(user_name)
        made = await volumes.create(self.body(DataVolume))
        self.send(volume_view(made, await volumes.spawner._cluster()), 201)


class VolumeHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str, name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send(_named(state["volumes"], name, "volume"))

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def patch(self, user_name: str, name: str) -> None:
        volumes = self.volumes_of(user_name)
        grown = await volumes.grow(name, self.body(Grow).size)
        self.send(volume_view(grown, await volumes.spawner._cluster()), 202)

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        asked = self.get_argument("snapshot", "")
        if asked not in ("", "true", "false"):
            raise web.HTTPError(400, "snapshot: write true or false")
        volumes = self.volumes_of(user_name)
        last = await volumes.delete(name, {"true": True, "false": False}.get(asked))
        self.send({"snapshot": last}, 202)


class SnapshotsHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send({"snapshots": state["snapshots"]})

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        asked = self.body(TakeSnapshot)
        taken = await self.volumes_of(user_name).snapshot(asked.volume, asked.name)
        self.send(snapshot_view(taken), 201)


class SnapshotHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str, name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send(_named(state["snapshots"], name, "snapshot"))

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        await self.volumes_of(user_name).delete_snapshot(name)
        self.send({}, 202)


class SetsHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send({"sets": state["sets"]})

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str) -> None:
        asked = self.body(TakeSet)
        spawner = self.spawner_of(user_name, asked.server, there=True)
        self.send(set_view(await spawner.snapshot_all(asked.name)), 201)


class SetHandler(Handler):
    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    @_told
    async def get(self, user_name: str, name: str) -> None:
        state = await storage_state(self.spawner_of(user_name))
        self.send(_named(state["sets"], name, "snapshot of a server"))

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def delete(self, user_name: str, name: str) -> None:
        await self.volumes_of(user_name).delete_set(name)
        self.send({}, 202)


class RestoreHandler(Handler, UserServerAPIHandler):  # type: ignore[misc]
    """Start a server with what a set holds, as the hub starts any server."""

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    @_told
    async def post(self, user_name: str, name: str) -> None:
        asked = self.body(Restore)
        user, volumes = self.find_user(user_name), self.volumes_of(user_name)
        there = asked.server in user.orm_user.orm_spawners
        called = f'server "{asked.server}"' if asked.server else "default server"
        if asked.server in user.spawners and user.spawners[asked.server].active:
            raise Busy(f"The {called} is running. Stop it first.")
        if there and asked.server and not asked.over:
            raise Busy(f"You have a {called} already. Choose another name, or restore over it.")
        if asked.over and not there and asked.server:
            raise Missing(f"You have no {called} to restore over.")
        choice, names = await volumes.restored(name, asked.server)
        self.request.body = json.dumps(choice).encode()
        await UserServerAPIHandler.post(self, user_name, asked.server)
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
            has_choice=bool(spawner.user.spawners[name].last_volumes),
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


def _named(things: list[dict[str, Any]], name: str, what: str) -> dict[str, Any]:
    for each in things:
        if each["name"] == name:
            return each
    raise Missing(f'You have no {what} "{name[:80]}".')


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


class _Volumes(_Body):
    volumes: list[VolumeView]


class _Snapshots(_Body):
    snapshots: list[SnapshotView]


class _Sets(_Body):
    sets: list[SetView]


class _Last(_Body):
    snapshot: str | None


class _Restored(_Body):
    server: str
    url: str
    volumes: dict[str, str]


class _Nothing(_Body):
    pass


class _Error(BaseModel):
    status: int
    message: str


class _Operation:
    """One verb of one path: its words, the body it takes, and what it answers."""

    all: ClassVar[list[_Operation]] = []

    def __init__(
        self,
        verb: str,
        path: str,
        about: str,
        answer: type[BaseModel],
        status: int = 200,
        body: type[BaseModel] | None = None,
        query: tuple[str, ...] = (),
    ) -> None:
        self.verb, self.path, self.about = verb, path, about
        self.answer, self.status, self.body, self.query = answer, status, body, query
        self.all.append(self)


_QUERY: dict[str, dict[str, Any]] = {
    "wait": {"type": "number", "minimum": 0, "maximum": _LONGEST_WAIT},
    "seen": {"type": "string", "maxLength": 64},
    "snapshot": {"type": "string", "enum": ["true", "false"]},
}
_OF = "/users/{user}"
_Operation(
    "get",
    f"{_OF}/storage",
    "All of it; with `wait` and `seen`, once it differs from that version",
    StateView,
    query=("wait", "seen"),
)
_Operation("get", f"{_OF}/volumes", "The user's volumes", _Volumes)
_Operation("post", f"{_OF}/volumes", "Make a volume", VolumeView, 201, DataVolume)
_Operation("get", f"{_OF}/volumes/{{name}}", "One volume", VolumeView)
_Operation("patch", f"{_OF}/volumes/{{name}}", "Make it grow", VolumeView, 202, Grow)
_Operation(
    "delete",
    f"{_OF}/volumes/{{name}}",
    "Delete it, with a last snapshot first where that is asked for",
    _Last,
    202,
    query=("snapshot",),
)
_Operation("get", f"{_OF}/snapshots", "The user's snapshots", _Snapshots)
_Operation("post", f"{_OF}/snapshots", "Take one", SnapshotView, 201, TakeSnapshot)
_Operation("get", f"{_OF}/snapshots/{{name}}", "One snapshot", SnapshotView)
_Operation("delete", f"{_OF}/snapshots/{{name}}", "Delete it", _Nothing, 202)
_Operation("get", f"{_OF}/snapshot-sets", "Snapshots of whole servers", _Sets)
_Operation("post", f"{_OF}/snapshot-sets", "Take one of a whole server", SetView, 201, TakeSet)
_Operation("get", f"{_OF}/snapshot-sets/{{name}}", "One of them", SetView)
_Operation("delete", f"{_OF}/snapshot-sets/{{name}}", "Delete it", _Nothing, 202)
_Operation(
    "post",
    f"{_OF}/snapshot-sets/{{name}}/restore",
    "Start a server with what it holds, in new volumes",
    _Restored,
    202,
    Restore,
)
_REFUSALS = {
    400: "What is asked for is wrong; `errors` has one entry a field",
    403: "The token's scopes, a quota or the cluster do not allow it",
    404: "Not there, or not yours",
    409: "In use, on its way out, or the name is taken",
    422: "The cluster finds it invalid",
    424: "The cluster cannot do it",
    503: "The cluster does not answer",
}


def document(base: str) -> dict[str, Any]:
    """The OpenAPI document, from the models that bodies are read with and answers are made of."""
    schemas: dict[str, Any] = {}

    def schema(model: type[BaseModel]) -> dict[str, Any]:
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(made.pop("$defs", {}))
        schemas[model.__name__.strip("_")] = made
        return {"$ref": f"#/components/schemas/{model.__name__.strip('_')}"}

    paths: dict[str, Any] = {}
    for each in _Operation.all:
        named = [part.strip("{}") for part in each.path.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {
            "summary": each.about,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in named
            ]
            + [{"name": name, "in": "query", "schema": _QUERY[name]} for name in each.query],
            "responses": {
                str(each.status): {"description": "Done", **_json(schema(each.answer))},
                **{
                    str(code): {"description": words, **_json(schema(_Error))}
                    for code, words in _REFUSALS.items()
                },
            },
        }
        if each.body is not None:
            operation["requestBody"] = {"required": True, **_json(schema(each.body))}
        paths.setdefault(each.path, {})[each.verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Volumes of kale-spawner", "version": "1"},
        "servers": [{"url": f"{base}api"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
