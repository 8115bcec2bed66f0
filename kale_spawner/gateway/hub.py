"""All talk to the hub about who somebody is.

The same questions, and the same conclusions from the answers, as jupyterhub.services.auth's
HubOAuth, which is not used because importing it costs more memory than the whole gateway may
have. tests/gateway compares the two against one hub.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from kale_spawner.gateway.errors import HubUnavailable, LoginFailed, NoAnswer
from kale_spawner.gateway.fetch import Fetcher, Response
from kale_spawner.gateway.settings import Settings

_CACHE_SIZE = 512
_FAILURE_SECONDS = 1.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")

User = dict[str, Any]
"""The hub's model of a user or service: name, kind, scopes, ..."""


class Hub:
    """`version` is what the hub called itself last ("" before its first answer)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = Fetcher()
        self._cache: OrderedDict[str, tuple[float, User | None]] = OrderedDict()
        self._down_until = 0.0
        self.version = ""

    async def learn_version(self) -> None:
        """Ask for the version, which the hub wants to see on the server's own answers."""
        await self._ask("GET", "/")

    async def user_for_token(self, token: str, session: str) -> User | None:
        """Who holds this token; None when the hub knows no such token (any more).

        Believed for `token_seconds`, yes and no alike, for this token in this hub session.
        Raises HubUnavailable, never guesses.
        """
        if not _TOKEN.fullmatch(token):
            return None
        key = hashlib.sha256(f"{session}\0{token}".encode()).hexdigest()
        until, user = self._cache.get(key, (0.0, None))
        if time.monotonic() < until:
            return user
        response = await self._ask("GET", "/user", {"Authorization": f"token {token}"})
        if response.status in (401, 403):
            user = None
        elif response.status == 200:
            user = _json_object(response)
        else:
            raise HubUnavailable(f"the hub answered {response.status} about a token")
        self._cache[key] = (time.monotonic() + self._settings.token_seconds, user)
        self._cache.move_to_end(key)
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return user

    async def token_for_code(self, code: str, verifier: str) -> str:
        """Finish the authorization code flow. Raise LoginFailed or HubUnavailable."""
        body = urlencode(
            {
                "client_id": self._settings.client_id,
                "client_secret": self._settings.api_token,
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._settings.callback_url,
                "code_verifier": verifier,
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await self._ask("POST", "/oauth2/token", headers, body)
        if response.status >= 500:
            raise HubUnavailable(f"the hub answered {response.status} to an OAuth code")
        if response.status != 200:
            raise LoginFailed("The hub did not accept this log-in. Please try again.", 403)
        token = _json_object(response).get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise HubUnavailable("the hub answered an OAuth code without a token")
        return token

    async def post_activity(self, when: str) -> None:
        """Tell the hub when this server was last used (ISO 8601). Raise HubUnavailable."""
        server = self._settings.server_name
        body = {"servers": {server: {"last_activity": when}}, "last_activity": when}
        headers = {
            "Authorization": f"token {self._settings.api_token}",
            "Content-Type": "application/json",
        }
        url = self._settings.activity_url
        response = await self._fetch("POST", url, headers, json.dumps(body))
        if response.status >= 400:
            raise HubUnavailable(f"the hub answered {response.status} to an activity report")

    async def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> Response:
        if time.monotonic() < self._down_until:
            raise HubUnavailable("the hub gave no answer a moment ago")
        try:
            return await self._fetch(method, self._settings.api_url + path, headers, body)
        except HubUnavailable:
            self._down_until = time.monotonic() + _FAILURE_SECONDS
            raise

    async def _fetch(
        self, method: str, url: str, headers: dict[str, str] | None, body: str | None
    ) -> Response:
        try:
            response = await self._http.fetch(method, url, headers, body)
        except NoAnswer as exc:
            raise HubUnavailable(f"the hub cannot be reached: {exc}") from exc
        if response.status >= 502:
            raise HubUnavailable(f"the hub cannot be reached: it answered {response.status}")
        self.version = response.headers.get("X-JupyterHub-Version", self.version)
        return response


def granted(required: Iterable[str], held: Iterable[str]) -> bool:
    """Whether held scopes contain one of the required ones.

    As jupyterhub.services.auth.check_scopes: a scope without a filter contains the filtered
    ones, and `!user=NAME` contains `!server=NAME/SERVER`; groups are not looked into.
    """
    have = set(held)
    return any(not have.isdisjoint(_containing(scope)) for scope in required)


def _containing(scope: str) -> set[str]:
    base, _, restriction = scope.partition("!")
    names = {scope, base}
    if restriction.startswith("server="):
        names.add(f"{base}!user={restriction.removeprefix('server=').partition('/')[0]}")
    return names


def _json_object(response: Response) -> dict[str, Any]:
    try:
        data = json.loads(response.body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise HubUnavailable("the hub's answer is not a JSON object")
    return data
