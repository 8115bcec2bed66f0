"""What all answers of the gateway's own have in common: headers, pages, cookies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tornado.web import RequestHandler

from kale_spawner.gateway import pages
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.cookies import COOKIE_DAYS, CookieJar, parse_cookies
from kale_spawner.gateway.decision import Door, Request
from kale_spawner.gateway.errors import HubUnavailable
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.ready import AppWatch
from kale_spawner.gateway.settings import Settings

_LONGEST_NEXT = 2000
_TIMES = ("max_age", "expires", "expires_days")


@dataclass(frozen=True)
class Gateway:
    """The parts that the handlers share."""

    settings: Settings
    jar: CookieJar
    hub: Hub
    door: Door
    watch: AppWatch
    activity: Activity


class Handler(RequestHandler):
    """Base of all: headers, pages, cookies."""

    gateway: Gateway

    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        return None

    def finish(self, chunk: Any = None) -> Any:
        if version := self.gateway.hub.version:
            self.set_header("X-JupyterHub-Version", version)
        return super().finish(chunk)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Nothing of the request is logged: it carries credentials."""
        if not isinstance(value, HubUnavailable):
            super().log_exception(typ, value, tb)

    def _request_summary(self) -> str:
        return self.request.path

    @property
    def cookie_header(self) -> str:
        return self.request.headers.get("Cookie", "")

    @property
    def asked(self) -> Request:
        """The request as it came to nginx."""
        headers = self.request.headers
        return Request(
            headers["X-Original-Method"],
            headers["X-Original-URI"],
            headers.get("X-Original-Upgrade", ""),
            headers,
        )

    def answer(self, page: pages.Page) -> None:
        """As a page for who looks at it, else as JSON."""
        self.set_status(page.status)
        if page.reload:
            self.set_header("Retry-After", str(page.reload))
        if page.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if self.asked.navigation:
            settings = self.gateway.settings
            self.set_header("Content-Security-Policy", pages.CONTENT_SECURITY_POLICY)
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(pages.html(page, f"{settings.hub_host}{settings.hub_prefix}home"))
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(pages.as_json(page))

    def own_cookie(self, name: str, value: str, max_age: int) -> None:
        """Set a signed cookie of this server; `max_age` 0 removes it."""
        settings = self.gateway.settings
        kwargs: dict[str, Any] = {
            "httponly": True,
            "samesite": "Lax",
            "secure": settings.host_prefix or self._is_https(),
            **{key: value for key, value in settings.cookie_options.items() if key not in _TIMES},
            "path": "/" if settings.host_prefix else settings.prefix,
        }
        if max_age:
            self.set_cookie(name, self.gateway.jar.sign(name, value), **kwargs, max_age=max_age)
        else:
            self.clear_cookie(name, **kwargs)

    def log_in(self, token: str) -> None:
        self.own_cookie(self.gateway.jar.name, token, int(COOKIE_DAYS * 86400))

    def forget_states(self) -> None:
        for name, _ in list(parse_cookies(self.cookie_header)):
            if self.gateway.jar.is_state(name):
                self.own_cookie(name, "", 0)

    def _is_https(self) -> bool:
        """What the browser sees: the outermost proxy's word, or the hub's configuration."""
        if self.gateway.settings.public_url.startswith("https:"):
            return True
        proto = self.request.headers.get("X-Forwarded-Proto", "")
        return proto.split(",")[0].strip().lower() == "https"

    def own_address(self, uri: str) -> str:
        """An address of this server: never another host's, whatever was asked for."""
        prefix = self.gateway.settings.prefix
        return uri if uri.startswith(prefix) and len(uri) <= _LONGEST_NEXT else prefix
