"""Errors as the hub shows them."""

from __future__ import annotations

from tornado import web

from kale_spawner.errors import KaleError


class Shown(web.HTTPError):
    """An error as the hub shows it: JSON with the message over the API, text on the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message.replace("%", "%%"))
        self.jupyterhub_message = message


def shown(exc: KaleError) -> Shown:
    return Shown(exc.status, str(exc))
