"""What a person, or a program, is told instead of the app."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;"
    "place-items:center}"
    "main{max-width:34rem;padding:2rem}h1{font-size:1.5rem;margin:0 0 .5rem}"
    "a{color:inherit;font-weight:600}"
)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Page:
    """reload: seconds after which a browser asks again, 0 for never."""

    status: int
    title: str
    text: str
    reload: int = 0


STARTING = Page(
    503, "Your server is starting", "The app does not answer yet. This page waits for it.", 2
)
DOWN = Page(
    503,
    "The app does not answer",
    "It may have stopped, and is being started again if it can be. This page tries again by "
    "itself. Your files are safe on their volumes. If it stays like this, stop and start the "
    "server from the hub.",
    5,
)
HUB_DOWN = Page(
    503,
    "The hub cannot be reached",
    "Nobody can be let in until it answers, but your server goes on running. This page tries "
    "again by itself.",
    5,
)
NOT_ALLOWED = Page(
    403,
    "This server is not yours",
    "You are logged in, but this server was not shared with you. Ask its owner to share it.",
)
CROSS_SITE = Page(403, "Refused", "Another site asked your browser for this. Open the page itself.")
NOBODY = Page(401, "Log in first", "This address needs a log-in or a token of the hub.")


def html(page: Page, hub_url: str) -> str:
    refresh = f'<meta http-equiv="refresh" content="{page.reload}">' if page.reload else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(page.title)}</h1><p>{escape(page.text)}</p>"
        f'<p><a href="{escape(hub_url)}">To the hub</a></p></main></body></html>\n'
    )


def as_json(page: Page) -> str:
    return json.dumps({"status": page.status, "message": f"{page.title}. {page.text}"}) + "\n"
