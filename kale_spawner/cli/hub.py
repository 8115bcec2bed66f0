"""The hub's REST API of volumes, as a program without a browser calls it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import responses
from pathlib import Path
from typing import Any

_SECONDS = 60.0


class HubError(Exception):
    """What the hub refused, in its own words, or why it could not be asked."""


@dataclass(frozen=True)
class Hub:
    """url: of the API, ending in /hub/api. user: whose volumes. shown: the hub's address for
    browsers, "" where it is not known."""

    url: str
    token: str
    user: str
    shown: str

    def address(self, path: str) -> str:
        """Of a page of the hub, as far as it is known."""
        return urllib.parse.urljoin(self.shown, path)

    def call(self, method: str, *path: str, query: str = "", body: Any = None) -> Any:
        """The answer's JSON. Raises HubError."""
        parts = [urllib.parse.quote(each, safe="") for each in ("users", self.user, *path)]
        return _call(self.url, self.token, method, "/".join(parts) + query, body)


def connect(url: str | None, token_file: str | None, user: str | None) -> Hub:
    """The hub of the options, else of the environment that JupyterHub gives its servers and
    services. Raises HubError naming what lacks."""
    shown = url or os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL")
    url = (url or os.environ.get("JUPYTERHUB_API_URL") or "").rstrip("/")
    if not url:
        raise HubError("Which hub? Give --hub URL, or set JUPYTERHUB_API_URL.")
    if not url.endswith("/hub/api"):
        url += "/hub/api"
    try:
        token = Path(token_file).read_text() if token_file else None
    except OSError as exc:
        raise HubError(f"--token-file: {exc}") from exc
    token = (token or os.environ.get("JUPYTERHUB_API_TOKEN") or "").strip()
    if not token:
        raise HubError(
            "A token is needed: make one on the hub's Token page, and give --token-file FILE or "
            "set JUPYTERHUB_API_TOKEN."
        )
    # Asked in any case: JupyterHub tells here, and not everywhere, that it refuses a token.
    owner = str(_call(url, token, "GET", "user", None)["name"])
    return Hub(url, token, user or owner, url if shown is None else shown)


def _call(url: str, token: str, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{url}/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"token {token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as exc:
        with exc:
            raise HubError(_refusal(url, exc.code, exc.read())) from exc
    except (OSError, ValueError) as exc:
        raise HubError(f"The hub at {url} does not answer: {exc}") from exc


def _refusal(url: str, status: int, body: bytes) -> str:
    """In the hub's words; where it has none, what is wrong and the way out."""
    try:
        said = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        said = None
    phrase = responses.get(status, "")
    if said and said != phrase:
        return str(said)
    if status == 403:
        return (
            "The hub refuses this token: it is wrong, has expired, or may not do this. Make a new "
            "one on the hub's Token page."
        )
    if status == 404:
        return (
            f"There is no API of volumes at {url}. Is that the hub's address? If it is, its "
            "administrator has to set up kale-spawner there, with KaleVolumes.pages on."
        )
    return f"The hub answered {status} {phrase}".rstrip() + "."
