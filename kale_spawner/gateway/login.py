"""The OAuth exchange with the hub, seen from the browser's side."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from urllib.parse import urlencode

from kale_spawner.gateway import pages
from kale_spawner.gateway.cookies import STATE_SECONDS, parse_cookies, session_id
from kale_spawner.gateway.decision import Request
from kale_spawner.gateway.errors import HubUnavailable, LoginFailed
from kale_spawner.gateway.handler import Handler

_MOST_LOGINS = 5


def redirect_to_hub(handler: Handler, asked: Request) -> None:
    """Begin a log-in; the browser keeps its state, signed, for ten minutes."""
    settings, jar = handler.gateway.settings, handler.gateway.jar
    names = [name for name, _ in parse_cookies(handler.cookie_header) if jar.is_state(name)]
    if len(names) >= _MOST_LOGINS:
        handler.forget_states()
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    value = json.dumps([state, verifier, handler.own_address(asked.uri)])
    handler.own_cookie(jar.state_name(state), value, STATE_SECONDS)
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
    handler.redirect(f"{settings.login_url}?{query}")


class Callback(Handler):
    """The hub sends the browser back here with a code."""

    async def respond(self) -> None:
        try:
            next_url, verifier = self._state()
            code = self.argument("code")
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
        state = self.argument("state")
        raw = jar.read(self.cookie_header, jar.state_name(state), STATE_SECONDS)
        kept, verifier, next_url = json.loads(raw) if raw else ("", "", "")
        if not state or not secrets.compare_digest(state.encode(), kept.encode()):
            raise LoginFailed("This log-in was not begun in this browser. Please try again.", 403)
        if self.argument("error"):
            raise LoginFailed("The hub refused this log-in.", 403)
        return next_url, verifier


class Logout(Handler):
    """Forget this browser here, and let the hub do the rest."""

    async def respond(self) -> None:
        settings = self.gateway.settings
        self.own_cookie(self.gateway.jar.name, "", 0)
        self.forget_states()
        self.redirect(f"{settings.hub_host}{settings.hub_prefix}logout")
