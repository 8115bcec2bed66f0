"""What nginx asks for: a decision, or what to say instead of the app."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.web import Application, RequestHandler

from kale_spawner.gateway import pages
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.cookies import (
    COOKIE_DAYS,
    STATE_SECONDS,
    CookieJar,
    parse_cookies,
    session_id,
    strip_token,
)
from kale_spawner.gateway.decision import Decision, Door, Request, Verdict
from kale_spawner.gateway.errors import HubUnavailable, LoginFailed
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.ready import AppWatch
from kale_spawner.gateway.settings import Settings
from kale_spawner.wire import READY_WAIT_MAX

_MOST_LOGINS = 5
_TIMES = ("max_age", "expires", "expires_days")
_LONGEST_NEXT = 2000


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


class Auth(Handler):
    """auth_request: 200 with what to pass on, or 403. Never a redirect, never a page."""

    async def get(self) -> None:
        gateway = self.gateway
        if not gateway.watch.started:
            self.set_status(403)
            return
        try:
            decision = await gateway.door.decide(self.asked)
        except HubUnavailable:
            self.set_status(403)
            return
        if decision.verdict is not Verdict.ALLOW or shows_token(self.asked, decision):
            self.set_status(403)
            return
        gateway.activity.saw_request()
        self.set_header("X-Kale-Cookie", decision.cookie)
        self.set_header("X-Kale-Authorization", decision.authorization)
        self.set_header("X-Kale-Query", f"?{decision.query}" if decision.query else "")


class Deny(Handler):
    """The same decision again, put into words."""

    async def get(self) -> None:
        gateway, asked = self.gateway, self.asked
        if not gateway.watch.started:
            self.answer(pages.STARTING)
            return
        try:
            decision = await gateway.door.decide(asked)
        except HubUnavailable:
            self.answer(pages.HUB_DOWN)
            return
        match decision.verdict:
            case Verdict.ALLOW:
                self._redirect_without_token(asked, decision)
            case Verdict.NOT_ALLOWED:
                self.answer(pages.NOT_ALLOWED)
            case Verdict.CROSS_SITE:
                self.answer(pages.CROSS_SITE)
            case Verdict.NOBODY if asked.navigation:
                self._redirect_to_hub(asked)
            case Verdict.NOBODY:
                self.answer(pages.NOBODY)

    def _redirect_without_token(self, asked: Request, decision: Decision) -> None:
        """Keep the token in a cookie and take it out of the address.

        Also reached when a decision changed for the better since nginx asked: try again.
        """
        if decision.url_token:
            self.log_in(decision.url_token)
        path = asked.uri.partition("?")[0]
        query = strip_token(asked.query, decision.url_token)
        self.redirect(self._own(f"{path}?{query}" if query else path), status=307)

    def _redirect_to_hub(self, asked: Request) -> None:
        settings, jar = self.gateway.settings, self.gateway.jar
        names = [name for name, _ in parse_cookies(self.cookie_header) if jar.is_state(name)]
        if len(names) >= _MOST_LOGINS:
            self.forget_states()
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        value = json.dumps([state, verifier, self._own(asked.uri)])
        self.own_cookie(jar.state_name(state), value, STATE_SECONDS)
        query = urlencode(
            {
                "client_id": settings.client_id,
                "redirect_uri": settings.callback_url,
                "response_type": "code",
                "state": state,
                "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
                "code_challenge_method": "S256",
            }
        )
        self.redirect(f"{settings.login_url}?{query}")

    def _own(self, uri: str) -> str:
        """An address of this server: never another host's, whatever was asked for."""
        prefix = self.gateway.settings.prefix
        return uri if uri.startswith(prefix) and len(uri) <= _LONGEST_NEXT else prefix


class Callback(Handler):
    """The hub sends the browser back here with a code."""

    async def get(self) -> None:
        try:
            next_url, verifier = self._state()
            code = self.get_query_argument("code", "")
            if not code:
                raise LoginFailed("The hub did not give a code. Please try again.")
            token = await self.gateway.hub.token_for_code(code, verifier)
            user = await self.gateway.hub.user_for_token(token, session_id(self.cookie_header))
            if user is None:
                raise LoginFailed("The hub does not know the log-in it just made.", 403)
        except LoginFailed as exc:
            self.answer(pages.Page(exc.status, "Not logged in", str(exc)))
            return
        except HubUnavailable:
            self.answer(pages.HUB_DOWN)
            return
        self.forget_states()
        self.log_in(token)
        self.redirect(next_url)

    def _state(self) -> tuple[str, str]:
        """(next URL, PKCE verifier) of the log-in that this browser began."""
        jar = self.gateway.jar
        state = self.get_query_argument("state", "")
        raw = jar.read(self.cookie_header, jar.state_name(state), STATE_SECONDS / 86400)
        kept, verifier, next_url = json.loads(raw) if raw else ("", "", "")
        if not state or not secrets.compare_digest(state.encode(), kept.encode()):
            raise LoginFailed("This log-in was not begun in this browser. Please try again.", 403)
        if self.get_query_argument("error", ""):
            raise LoginFailed("The hub refused this log-in.", 403)
        return next_url, verifier


class Logout(Handler):
    """Forget this browser here, and let the hub do the rest."""

    def get(self) -> None:
        settings = self.gateway.settings
        self.own_cookie(self.gateway.jar.name, "", 0)
        self.forget_states()
        self.redirect(f"{settings.hub_host}{settings.hub_prefix}logout")


class Down(Handler):
    """nginx could not get an answer from the app for a request that was allowed."""

    def get(self) -> None:
        self.gateway.watch.look()
        self.answer(pages.DOWN)


class Ready(Handler):
    """204 once the app answers, else 503; needs no credentials and tells nothing else."""

    async def get(self) -> None:
        try:
            seconds = float(self.get_query_argument("wait", "0"))
        except ValueError:
            seconds = 0.0
        seconds = min(seconds, READY_WAIT_MAX) if seconds > 0 else 0.0
        if await self.gateway.watch.wait(seconds):
            self.set_status(204)
        else:
            self.set_status(503)
            self.set_header("Retry-After", "1")


def shows_token(asked: Request, decision: Decision) -> bool:
    """Whether a browser's address bar holds the token that let it in."""
    page = "text/html" in asked.headers.get("Accept", "")
    return bool(decision.url_token) and asked.navigation and page


def make_app(gateway: Gateway) -> Application:
    shared = {"gateway": gateway}
    routes = {
        "/auth": Auth,
        "/deny": Deny,
        "/down": Down,
        "/ready": Ready,
        "/oauth_callback": Callback,
        "/logout": Logout,
    }
    return Application(
        [(path, handler, shared) for path, handler in routes.items()],
        log_function=lambda handler: None,
    )
