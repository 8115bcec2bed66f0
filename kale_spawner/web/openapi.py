"""What the REST API of volumes takes and answers, and the OpenAPI document made of it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from kale_spawner.model.choices import ClaimName, DataVolume, Size
from kale_spawner.web.views import SetView, SnapshotView, StateView, VolumeView

LONGEST_WAIT = 30.0
"""Seconds."""
LONGEST_NAME = 255
"""Of a server, in characters."""
LONGEST_SEEN = 64
"""Characters; a version has fewer."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewVolume(DataVolume):
    """A volume that no server mounts yet: what is made at a start, with a name."""

    source: Literal["new", "snapshot", "clone", "rok"] = "new"
    name: ClaimName


class Grow(Body):
    size: Size


class TakeSnapshot(Body):
    volume: ClaimName
    name: ClaimName | None = None


class TakeSet(Body):
    """server: "" is the default server."""

    server: str = Field("", max_length=LONGEST_NAME)
    name: ClaimName | None = None


class Restore(Body):
    """over: the server of that name is there, and is to have these volumes from now on."""

    server: str = Field("", max_length=LONGEST_NAME)
    over: bool = False


class _Volumes(Body):
    volumes: list[VolumeView]


class _Snapshots(Body):
    snapshots: list[SnapshotView]


class _Sets(Body):
    sets: list[SetView]


class _Last(Body):
    snapshot: str | None


class _Restored(Body):
    server: str
    url: str
    volumes: dict[str, str]


class _Planned(Body):
    volumes: dict[str, str]


class _Nothing(Body):
    pass


class _Wrong(Body):
    field: str
    message: str


class _Error(Body):
    """errors: of a body, one entry a field."""

    status: int
    message: str
    errors: list[_Wrong] = []


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
    "wait": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
    "seen": {"type": "string", "maxLength": LONGEST_SEEN},
    "snapshot": {"type": "string", "enum": ["true", "false"]},
    "server": {"type": "string", "maxLength": LONGEST_NAME},
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
_Operation("post", f"{_OF}/volumes", "Make a volume", VolumeView, 201, NewVolume)
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
    "get",
    f"{_OF}/snapshot-sets/{{name}}/restore",
    "What the new volumes would be called, by the old ones; nothing is made",
    _Planned,
    query=("server",),
)
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
            needed = any(field.is_required() for field in each.body.model_fields.values())
            operation["requestBody"] = {"required": needed, **_json(schema(each.body))}
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
