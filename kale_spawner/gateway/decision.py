"""Who may pass, and what the app is shown of their credentials.

One `decide` for everything: pages, XHR, event streams, WebSockets, uploads. What is open already
is not decided again: a WebSocket, or an answer on its way, outlives the token that opened it, as
with JupyterHub's own servers, since nginx cannot be told to end one connection alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from urllib.parse import urlsplit

from kale_spawner.gateway.cookies import (
    CookieJar,
    session_id,
    strip_cookies,
    strip_token,
    token_in_query,
    with_xsrf,
)
from kale_spawner.gateway.hub import User, granted
from kale_spawner.gateway.settings import Settings

_XSRF = os.urandom(16).hex()
_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S.*)", re.IGNORECASE)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Request:
    """What the browser sent to nginx. `uri` is raw: still percent-encoded, with the query."""

    method: str
    uri: str
    upgrade: str
    headers: Mapping[str, str]

    @property
    def query(self) -> str:
        return self.uri.partition("?")[2]

    @property
    def peer(self) -> str:
        """Whose connection to nginx it came by, as ADDRESS:PORT."""
        return self.headers.get("peer", "")

    @property
    def websocket(self) -> bool:
        return self.upgrade.lower() == "websocket"

    @property
    def navigation(self) -> bool:
        """Whether a browser would show the answer as a page, and follow a redirect to log in."""
        if self.websocket or self.method not in ("GET", "HEAD"):
            return False
        mode = self.headers.get("Sec-Fetch-Mode")
        if mode is not None:
            return mode == "navigate"
        if self.headers.get("X-Requested-With", "").lower() == "xmlhttprequest":
            return False
        accept = self.headers.get("Accept", "*/*")
        return "text/html" in accept or accept.strip() == "*/*"


class Verdict(Enum):
    ALLOW = "allow"
    STARTING = "the app has not answered yet"
    NOBODY = "no valid credentials"
    NOT_ALLOWED = "known, without access to this server"
    CROSS_SITE = "asked for by another site"


@dataclass(frozen=True)
class Decision:
    """cookie, authorization, query: what the app is to see in place of what was sent.

    url_token: the token that let the request in, where it came in the URL.
    xsrf: a token proves what Jupyter's XSRF check asks for; so the app sees this in header and
        cookie. Empty: what was sent.
    """

    verdict: Verdict
    user: User | None = None
    cookie: str = ""
    authorization: str = ""
    query: str = ""
    url_token: str = ""
    xsrf: str = ""


class TokenChecker(Protocol):
    async def user_for_token(self, token: str, session: str) -> User | None: ...


class Door:
    """Decides about one request at a time; raises HubUnavailable when it cannot be decided."""

    def __init__(self, settings: Settings, jar: CookieJar, hub: TokenChecker) -> None:
        self._settings = settings
        self._jar = jar
        self._hub = hub

    async def decide(self, request: Request) -> Decision:
        """A token in the URL or header comes first, then the cookie, as in HubOAuth.

        Only who comes by cookie is asked where the request was made: no other site can know a
        token.
        """
        cookie = request.headers.get("Cookie", "")
        session = session_id(cookie)
        url_token = self._url_token(request)
        match = _AUTHORIZATION.match(request.headers.get("Authorization", ""))
        token = url_token or (match[1].strip() if match else "")
        user = await self._hub.user_for_token(token, session) if token else None
        by_cookie = user is None
        if by_cookie:
            usable = self._settings.allow_websocket_cookie or not request.websocket
            kept = self._jar.read(cookie, self._jar.name) if usable else None
            user = await self._hub.user_for_token(kept, session) if kept else None
        if user is None:
            return Decision(Verdict.NOBODY)
        if not granted(self._settings.access_scopes, user.get("scopes") or ()):
            return Decision(Verdict.NOT_ALLOWED, user)
        if by_cookie and self._foreign(request):
            return Decision(Verdict.CROSS_SITE, user)
        is_header = not by_cookie and not url_token
        xsrf = "" if by_cookie or self._settings.kind.activity != "jupyter" else _XSRF
        return Decision(
            Verdict.ALLOW,
            user,
            with_xsrf(strip_cookies(cookie), xsrf),
            "" if is_header else await self._authorization(request, session),
            strip_token(request.query, "" if by_cookie else url_token),
            "" if by_cookie else url_token,
            xsrf,
        )

    def _url_token(self, request: Request) -> str:
        """As HubOAuth: always for WebSockets of a browser, else only if the hub allows it."""
        mode = request.headers.get("Sec-Fetch-Mode")
        if self._settings.allow_token_in_url or mode == "websocket":
            return token_in_query(request.query)
        return ""

    async def _authorization(self, request: Request, session: str) -> str:
        """The app's own Authorization header; a hub token that was not needed is removed too."""
        header = request.headers.get("Authorization", "")
        match = _AUTHORIZATION.match(header)
        if match and await self._hub.user_for_token(match[1].strip(), session):
            return ""
        return header

    def _foreign(self, request: Request) -> bool:
        """Whether a cookie was sent along by a page that may not speak for the user.

        A browser names the asking page in Origin or Sec-Fetch-Site; for what changes something,
        and for WebSockets, one of them (or Referer) has to be there and be ours. Other servers on
        the same host are the same origin: against those only per-user domains help.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if request.method in _SAFE_METHODS and not request.websocket:
            mode = request.headers.get("Sec-Fetch-Mode", "navigate")
            return mode != "navigate" and site in ("cross-site", "same-site")
        if site in ("cross-site", "same-site"):
            return True
        origin = request.headers.get("Origin")
        if origin is None:
            referer = request.headers.get("Referer")
            return site is None and not (referer and self._is_ours(referer, request))
        return not self._is_ours(origin, request)

    def _is_ours(self, url: str, request: Request) -> bool:
        try:
            theirs = _authority(url)
            ours = {_authority(f"{urlsplit(url).scheme}://{request.headers.get('Host', '')}")}
            if self._settings.public_url:
                ours.add(_authority(self._settings.public_url))
        except ValueError:
            return False
        return theirs is not None and theirs in ours


def _authority(url: str) -> tuple[str, int] | None:
    """(host, port) of an http(s) URL, else None; ValueError for nonsense.

    The scheme is not compared: TLS ends before the gateway.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)
