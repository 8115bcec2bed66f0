"""What the gateway is told by its environment, checked before anything starts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from kale_spawner.gateway.errors import SettingsInvalid
from kale_spawner.wire import APP_PATH, GATEWAY_PORT, HEADER_NAME, KIND_ENV, ServerKind

# Nothing in here means anything to nginx, inside or outside quotes.
_PREFIX = re.compile(r"/(?:(?:[A-Za-z0-9._~@+=:,!*()-]|%[0-9A-Fa-f]{2})+/)*")


@dataclass(frozen=True)
class Settings:
    """One server's gateway.

    prefix: the public path, percent-encoded, begins and ends with "/".
    token_seconds: how long the hub's answer about a token is believed.
    decision_seconds: how long nginx repeats a "yes" without asking. A revoked token is refused
        after at most the sum of both; a log-out in the same browser is seen at once, because the
        hub's session cookie is part of what an answer is remembered for.
    """

    kind: ServerKind
    prefix: str
    api_url: str
    api_token: str = field(repr=False)
    client_id: str
    callback_url: str
    access_scopes: frozenset[str]
    hub_prefix: str = "/hub/"
    hub_host: str = ""
    public_url: str = ""
    server_name: str = ""
    activity_url: str = ""
    activity_interval: float = 300.0
    allow_token_in_url: bool = False
    allow_websocket_cookie: bool = True
    cookie_options: Mapping[str, Any] = field(default_factory=dict)
    host_prefix: bool = False
    port: int = GATEWAY_PORT
    token_seconds: float = 20.0
    decision_seconds: int = 5

    @property
    def decoded_prefix(self) -> str:
        """The prefix as nginx compares it: after percent-decoding."""
        return unquote_to_bytes(self.prefix).decode("utf-8")

    @property
    def tls(self) -> bool:
        """Whether the hub is spoken to by TLS."""
        return any(urlsplit(url).scheme == "https" for url in (self.api_url, self.activity_url))

    @property
    def login_url(self) -> str:
        return f"{self.hub_host}{self.hub_prefix}api/oauth2/authorize"


def read_settings(env: Mapping[str, str]) -> Settings:
    """Raise SettingsInvalid naming the variable, for the first that is missing or wrong."""
    if env.get("JUPYTERHUB_SSL_KEYFILE"):
        raise SettingsInvalid(
            "JUPYTERHUB_SSL_KEYFILE: the gateway does not speak the hub's internal TLS; "
            "set c.JupyterHub.internal_ssl = False"
        )
    prefix = _prefix(env, "JUPYTERHUB_SERVICE_PREFIX")
    base_url = _prefix(env, "JUPYTERHUB_BASE_URL", "/")
    kind, port = _kind(env), int(_number(env, "KALE_GATEWAY_PORT", GATEWAY_PORT))
    if kind.port == port:
        raise SettingsInvalid(
            f"{KIND_ENV}: port {port} is the gateway's own; the app needs another"
        )
    return Settings(
        kind=kind,
        prefix=prefix,
        api_url=_url(env, "JUPYTERHUB_API_URL").rstrip("/"),
        api_token=_required(env, "JUPYTERHUB_API_TOKEN"),
        client_id=_required(env, "JUPYTERHUB_CLIENT_ID"),
        callback_url=env.get("JUPYTERHUB_OAUTH_CALLBACK_URL") or f"{prefix}oauth_callback",
        access_scopes=_scopes(env),
        hub_prefix=f"{base_url}hub/",
        hub_host=env.get("JUPYTERHUB_HOST", ""),
        public_url=env.get("JUPYTERHUB_PUBLIC_URL", ""),
        server_name=env.get("JUPYTERHUB_SERVER_NAME", ""),
        activity_url=_url(env, "JUPYTERHUB_ACTIVITY_URL", optional=True),
        activity_interval=_number(env, "JUPYTERHUB_ACTIVITY_INTERVAL", 300.0),
        allow_token_in_url=_flag(env, "JUPYTERHUB_ALLOW_TOKEN_IN_URL"),
        allow_websocket_cookie=_flag(env, "JUPYTERHUB_ALLOW_WEBSOCKET_COOKIE_AUTH", "1"),
        cookie_options=_cookie_options(env),
        host_prefix=_flag(env, "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"),
        port=port,
        token_seconds=_number(env, "KALE_GATEWAY_TOKEN_SECONDS", 20.0),
        decision_seconds=int(_number(env, "KALE_GATEWAY_DECISION_SECONDS", 5)),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsInvalid(f"{name} is not set; the hub sets it for the servers it starts")
    return value


def _prefix(env: Mapping[str, str], name: str, default: str = "") -> str:
    value = env.get(name) or default or _required(env, name)
    value = value if value.endswith("/") else value + "/"
    if not _PREFIX.fullmatch(value):
        raise SettingsInvalid(f"{name}: {value!r} is not a percent-encoded path")
    try:
        decoded = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsInvalid(f"{name}: {value!r} is not UTF-8") from None
    if any(part in (".", "..") for part in decoded.split("/")) or "//" in decoded:
        raise SettingsInvalid(f"{name}: {value!r} is not a normal path")
    if any(ord(char) < 32 or ord(char) == 127 for char in decoded):
        raise SettingsInvalid(f"{name}: {value!r} has control characters")
    return value


def _url(env: Mapping[str, str], name: str, optional: bool = False) -> str:
    value = env.get(name, "") if optional else _required(env, name)
    if value and urlsplit(value).scheme not in ("http", "https"):
        raise SettingsInvalid(f"{name}: {value!r} is not an http(s) URL")
    return value


def _scopes(env: Mapping[str, str]) -> frozenset[str]:
    name = "JUPYTERHUB_OAUTH_ACCESS_SCOPES"
    try:
        scopes = json.loads(_required(env, name))
    except ValueError:
        scopes = None
    if not isinstance(scopes, list) or not scopes or not all(isinstance(s, str) for s in scopes):
        raise SettingsInvalid(f"{name} is not a JSON list of scopes")
    return frozenset(scopes)


def _kind(env: Mapping[str, str]) -> ServerKind:
    try:
        kind = ServerKind.from_json(_required(env, KIND_ENV))
    except (ValueError, TypeError) as exc:
        raise SettingsInvalid(f"{KIND_ENV}: {exc}") from None
    if not (type(kind.port) is int and 0 < kind.port < 65536):
        raise SettingsInvalid(f"{KIND_ENV}: port {kind.port!r} is not a port")
    if kind.prefix not in ("keep", "strip"):
        raise SettingsInvalid(f"{KIND_ENV}: prefix {kind.prefix!r} is not keep or strip")
    if kind.prefix_header and not HEADER_NAME.fullmatch(kind.prefix_header):
        raise SettingsInvalid(f"{KIND_ENV}: prefix_header {kind.prefix_header!r} is not a header")
    if not APP_PATH.fullmatch(kind.ready_path):
        raise SettingsInvalid(f"{KIND_ENV}: ready_path {kind.ready_path!r} is not a path")
    if kind.activity not in ("jupyter", "code-server", "requests"):
        raise SettingsInvalid(f"{KIND_ENV}: activity {kind.activity!r} is not known")
    return kind


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise SettingsInvalid(f"{name}: {text!r} is not a number of that sort")
    return value


def _flag(env: Mapping[str, str], name: str, default: str = "") -> bool:
    return (env.get(name) or default).lower() not in ("", "0", "false")


def _cookie_options(env: Mapping[str, str]) -> dict[str, Any]:
    name = "JUPYTERHUB_COOKIE_OPTIONS"
    try:
        options = json.loads(env.get(name) or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise SettingsInvalid(f"{name} is not a JSON object")
    return options
