"""A visitor of the hub without JavaScript: cookies, forms, and the API."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any

from tests.web.page import Page


@dataclass(frozen=True)
class Answer:
    status: int
    url: str
    text: str
    headers: Message

    @property
    def page(self) -> Page:
        return Page(self.text)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Visitor:
    """One browser session. Redirects are followed on GET and handed back on POST."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._jar = urllib.request.HTTPCookieProcessor(CookieJar())

    def get(self, path: str) -> Answer:
        return self._open(urllib.request.Request(urllib.parse.urljoin(self.url, path)))

    def post(self, path: str, fields: dict[str, str]) -> Answer:
        body = urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(urllib.parse.urljoin(self.url, path), body)
        return self._open(request, _Stay())

    def log_in(self, name: str, password: str) -> None:
        shown = self.get("/hub/login")
        known = shown.page.fields() | {"username": name, "password": password}
        answer = self.post(shown.url, known)
        assert answer.status == 302, answer.text

    def spawn(self, path: str = "/hub/spawn", **changes: str) -> Answer:
        """Open the spawn page, change these fields (`__` for a dot), press Start."""
        shown = self.get(path)
        form = shown.page.by_id("spawn_form")
        fields = shown.page.fields() | {
            key.replace("__", "."): text for key, text in changes.items()
        }
        return self.post(form.attrs["action"] or "", fields)

    def _open(self, request: urllib.request.Request, *handlers: Any) -> Answer:
        opener = urllib.request.build_opener(self._jar, *handlers)
        try:
            with opener.open(request, timeout=30) as response:
                return _answer(response)
        except urllib.error.HTTPError as response:
            with response:
                return _answer(response)


def call(url: str, token: str, method: str, path: str, body: Any = None) -> Answer:
    """A call of the hub's API."""
    request = urllib.request.Request(
        f"{url}/hub/api{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"token {token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return _answer(response)
    except urllib.error.HTTPError as response:
        with response:
            return _answer(response)


def _answer(response: Any) -> Answer:
    return Answer(response.status, response.url, response.read().decode(), response.headers)
