"""What the hub's side and the gateway's side must agree on, said once.

Both processes import this module: the spawner to write the pod, the gateway to read its
environment. It imports nothing outside the standard library.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

APP_CONTAINER = "notebook"
"""The image's container. kubespawner looks for this name when it polls a pod."""

GATEWAY_CONTAINER = "gateway"

APP_PORT = 8888
"""Where Kubeflow-style images listen."""

GATEWAY_PORT = 18888
"""The pod's only door; declared on the container `notebook` as port `notebook-port`."""

GATEWAY_PORT_NAME = "notebook-port"

KIND_ENV = "KALE_GATEWAY_KIND"
"""Environment of the gateway: a `ServerKind` as JSON."""

APP_HOST_ENV = "NOTEBOOK_HOST"
"""Environment of the app: the address to bind. Images of this project obey it (default 0.0.0.0)."""

READY_PATH = "_gateway/ready"
"""Below the server's prefix, without authentication: 204 once the app has answered, else 503.

`?wait=SECONDS` (at most `READY_WAIT_MAX`) holds the request until then.
"""

READY_WAIT_MAX = 30.0

COMPONENT_LABEL = "component"
STORAGE_COMPONENT = "singleuser-storage"
USERNAME_LABEL = "hub.jupyter.org/username"
"""Label: the escaped user name. Annotation of the same name: the user name, exactly."""
SERVERNAME_LABEL = "hub.jupyter.org/servername"

HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
APP_PATH = re.compile(r"/[A-Za-z0-9._~@+=:,!*()%/?&-]*")
"""What a kind's header and paths may look like: nothing in them means anything to nginx."""

Prefix = Literal["keep", "strip"]
ActivitySource = Literal["jupyter", "code-server", "requests"]


@dataclass(frozen=True)
class ServerKind:
    """How an app is reached behind the gateway.

    name: what an image entry refers to.
    port: the app's port on the pod's loopback.
    prefix: "keep" when the app serves under NB_PREFIX, "strip" when it serves at /.
    prefix_header: request header that tells a stripped app its public prefix, or "".
    ready_path: requested on the app, as the app sees it after the prefix rule and relative to
        its root; any answer below 500 means that it works.
    activity: where last activity is read: Jupyter's /api/status, code-server's /healthz,
        or the proxied requests and what is sent over WebSockets.
    polls: ends of paths that an open page asks for by itself, again and again: no activity.
    loopback_command: argv that starts a Kubeflow-style image's app bound to 127.0.0.1 where
        the image cannot be told by environment; empty when none is known.
    """

    name: str
    port: int = APP_PORT
    prefix: Prefix = "keep"
    prefix_header: str = ""
    ready_path: str = "/"
    activity: ActivitySource = "requests"
    loopback_command: tuple[str, ...] = ()
    polls: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives an equal kind back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ServerKind:
        """Raise ValueError, naming the field, for anything but what `to_json` writes."""
        data: Any = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError(f"a server kind is a JSON object, not {type(data).__name__}")
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"server kind: unknown field {unknown[0]!r}")
        if "name" not in data:
            raise ValueError("server kind: field 'name' is missing")
        for name in ("loopback_command", "polls"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)


_SEED_HOME = 'cp -rn /tmp_home/jovyan/. "$HOME" 2>/dev/null; '

KINDS: dict[str, ServerKind] = {
    kind.name: kind
    for kind in (
        ServerKind(
            "jupyter",
            ready_path="/api",
            activity="jupyter",
            loopback_command=(
                "sh",
                "-c",
                _SEED_HOME + "exec jupyter lab --ip=127.0.0.1 --port=8888 --no-browser "
                '--ServerApp.token="" --ServerApp.password="" --ServerApp.allow_origin="*" '
                '--ServerApp.base_url="$NB_PREFIX" --ServerApp.root_dir="$HOME" '
                "--ServerApp.allow_remote_access=true",
            ),
        ),
        ServerKind(
            "code-server",
            prefix="strip",
            ready_path="/healthz",
            activity="code-server",
            loopback_command=(
                "sh",
                "-c",
                _SEED_HOME + "exec code-server --bind-addr 127.0.0.1:8888 "
                '--disable-telemetry --auth none "$HOME"',
            ),
        ),
        ServerKind(
            "rstudio",
            prefix="strip",
            prefix_header="X-RStudio-Root-Path",
            polls=("/events/get_events",),
        ),
        ServerKind("plain"),
    )
}
"""The kinds that need no configuration; an administrator can add others."""
