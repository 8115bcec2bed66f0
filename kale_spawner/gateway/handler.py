"""What all answers of the gateway's own have in common: headers, pages, cookies."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from kale_spawner.gateway import pages
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.cookies import COOKIE_SECONDS, CookieJar, parse_cookies
from kale_spawner.gateway.decision import Door, Request
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.ready import AppWatch
from kale_spawner.gateway.scgi import Answer
from kale_spawner.gateway.settings import Settings

_LONGEST_NEXT = 2000
_TIMES = ("max_age", "expires", "expires_days")
"""What JupyterHub's cookie options may say, and these cookies decide for themselves."""


@dataclass(frozen=True)
class Gateway:
    """The parts that the handlers share."""

    settings: Settings
    jar: CookieJar
    hub: Hub
    door: Door
    watch: AppWatch
    activity: Activity


class Handler:
    """Answers one question; `respond` is what a subclass has to say."""

    def __init__(self, gateway: Gateway, asked: Request) -> None:
        self.gateway = gateway
        self.asked = asked
        self._status = 200
        self._headers = [
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self._body = ""

    async def respond(self) -> None:
        raise NotImplementedError

    async def run(self) -> Answer:
        await self.respond()
        if version := self.gateway.hub.version:
            self.set_header("X-JupyterHub-Version", version)
        return Answer(self._status, tuple(self._headers), self._body)

    def set_status(self, status: int) -> None:
        self._status = status

    def set_header(self, name: str, value: str) -> None:
        self._headers.append((name, value))

    def redirect(self, address: str, status: int = 302) -> None:
        self.set_status(status)
        self.set_header("Location", address)

    def argument(self, name: str) -> str:
        """The last of that name in the query, or ""."""
        return dict(parse_qsl(self.asked.query)).get(name, "").strip()

    @property
    def cookie_header(self) -> str:
        return self.asked.headers.get("Cookie", "")

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
            self._body = pages.html(page, f"{settings.hub_host}{settings.hub_prefix}home")
        else:
            self.set_header("Content-Type", "application/json")
            self._body = pages.as_json(page)

    def own_cookie(self, name: str, value: str, max_age: int) -> None:
        """Set a signed cookie of this server; `max_age` 0 removes it."""
        settings = self.gateway.settings
        options: dict[str, Any] = {
            "httponly": True,
            "samesite": "Lax",
            "secure": settings.host_prefix or self._is_https(),
            **{key.lower(): value for key, value in settings.cookie_options.items()},
            "path": "/" if settings.host_prefix else settings.prefix,
            "max-age": max_age,
        }
        cookie: SimpleCookie = SimpleCookie({name: self.gateway.jar.sign(name, value)})
        for key, option in options.items():
            if key not in _TIMES:
                cookie[name][key] = option
        self.set_header("Set-Cookie", cookie[name].OutputString())

    def log_in(self, token: str) -> None:
        self.own_cookie(self.gateway.jar.name, token, COOKIE_SECONDS)

    def forget_states(self) -> None:
        for name, _ in list(parse_cookies(self.cookie_header)):
            if self.gateway.jar.is_state(name):
                self.own_cookie(name, "", 0)

    def _is_https(self) -> bool:
        """What the browser sees: the outermost proxy's word, or the hub's configuration."""
        if self.gateway.settings.public_url.startswith("https:"):
            return True
        proto = self.asked.headers.get("X-Forwarded-Proto", "")
        return proto.split(",")[0].strip().lower() == "https"

    def own_address(self, uri: str) -> str:
        """An address of this server: never another host's, whatever was asked for."""
        prefix = self.gateway.settings.prefix
        return uri if uri.startswith(prefix) and len(uri) <= _LONGEST_NEXT else prefix
