"""The gateway's own cookies, and what of a request's credentials the app may see.

The app behind a shared server belongs to somebody else than the visitor, so none of the
visitor's hub credentials may reach it: not this gateway's cookies, not those of other gateways
(the cookie of /user/alice/ is sent to /user/alice/lab/ too), not the hub's. The app's own
cookies, `_xsrf` among them, pass unchanged.

An app may well set a cookie with a name of ours. It cannot forge one, since ours are signed, and
what it destroys is a log-in to itself; so such Set-Cookie headers are left alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote_plus

STATE_SECONDS = 600
COOKIE_SECONDS = 14 * 86400
SESSION_COOKIE = "jupyterhub-session-id"
_PRIVATE = re.compile(
    r"(?:__Host-|__Secure-)?(?:jupyterhub-.*|kale-[0-9a-f]{12}(?:-.*)?)|__Host-service-.*"
)
_XSRF = re.compile("_xsrf")
_STATE = re.compile(r"[A-Za-z0-9_-]{8}")
_HUB_TOKEN = re.compile(r"[0-9a-f]{32}")


class CookieJar:
    """Names, signs and reads the cookies of one server.

    The secret comes from the server's API token: it survives a restart of the gateway's
    container and dies with the server.
    """

    def __init__(self, client_id: str, api_token: str, host_prefix: bool = False) -> None:
        digest = hashlib.sha256(client_id.encode()).hexdigest()[:12]
        self.name = f"{'__Host-' if host_prefix else ''}kale-{digest}"
        self._secret = hashlib.sha256(b"gateway cookies\0" + api_token.encode()).digest()

    def state_name(self, state: str) -> str:
        """Each log-in under way has a cookie of its own, so that tabs do not disturb another."""
        return f"{self.name}-state-{state[:8]}"

    def is_state(self, name: str) -> bool:
        """Of the names that `state_name` gives for a log-in; anybody can set a cookie of others."""
        before, found, state = name.partition("-state-")
        return bool(found) and before == self.name and _STATE.fullmatch(state) is not None

    def sign(self, name: str, value: str) -> str:
        """TIME.VALUE.SIGNATURE, good for this name only; nothing in it needs quotes."""
        signed = f"{int(time.time())}.{base64.urlsafe_b64encode(value.encode()).decode('ascii')}"
        return f"{signed}.{self._signature(name, signed)}"

    def read(self, header: str, name: str, max_age: float = COOKIE_SECONDS) -> str | None:
        """The first value of that name which this gateway has signed, or None. `max_age` in
        seconds."""
        for found, value in parse_cookies(header):
            if (
                found == name
                and (read := self._unsign(name, value.strip('"'), max_age)) is not None
            ):
                return read
        return None

    def _unsign(self, name: str, value: str, max_age: float) -> str | None:
        signed, _, signature = value.rpartition(".")
        expected = self._signature(name, signed)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        then, _, encoded = signed.partition(".")
        if int(then) < time.time() - max_age:
            return None
        return base64.urlsafe_b64decode(encoded).decode()

    def _signature(self, name: str, signed: str) -> str:
        return hmac.new(self._secret, f"{name}\0{signed}".encode(), "sha256").hexdigest()


def parse_cookies(header: str) -> Iterator[tuple[str, str]]:
    """(name, value) of every cookie, in order, also where names repeat; nothing is unquoted."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            yield name.strip(), value.strip()


def session_id(header: str) -> str:
    """The hub's session, or "": part of what an answer is remembered for, as in HubOAuth."""
    return dict(parse_cookies(header)).get(SESSION_COOKIE, "")


def strip_cookies(header: str) -> str:
    """What the app may see of a Cookie header."""
    return "; ".join(_without(_PRIVATE, header))


def with_xsrf(header: str, xsrf: str) -> str:
    """The Cookie header with this one `_xsrf`; unchanged where `xsrf` is empty."""
    if not xsrf:
        return header
    return "; ".join([*_without(_XSRF, header), f"_xsrf={xsrf}"])


def _without(names: re.Pattern[str], header: str) -> Iterator[str]:
    """The cookies of other names, as they are spelled."""
    for part in header.split(";"):
        if part.strip() and not names.fullmatch(part.partition("=")[0].strip()):
            yield part.strip()


def token_in_query(query: str) -> str:
    """The value of the last `token` argument, or ""."""
    values = [value for name, value in parse_qsl(query) if name == "token"]
    return values[-1].strip() if values else ""


def strip_token(query: str, accepted: str) -> str:
    """The query without `token` arguments that are, or look like, a token of the hub.

    Other arguments keep their spelling; an app's own `token` argument is the app's.
    """
    return "&".join(part for part in query.split("&") if not _is_hub_token(part, accepted))


def _is_hub_token(part: str, accepted: str) -> bool:
    name, _, value = part.partition("=")
    if unquote_plus(name) != "token":
        return False
    value = unquote_plus(value).strip()
    return bool(value) and (value == accepted or _HUB_TOKEN.fullmatch(value) is not None)
