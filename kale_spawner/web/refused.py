"""What a user sent that did not start a server, kept until the page is shown again.

JupyterHub renders a refused form with the *default* server's spawner, whichever server was
asked for, and gives it nothing of what was typed. A context variable carries it across: each
request has a context of its own, so two tabs, or two users, never see each other's.

A task copies its context, so what an awaited coroutine sets is lost to its caller; therefore
the holder is set by a plain call in the handler's own context (`begin`), and filled later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from kale_spawner.errors import FieldError


@dataclass
class Refused:
    """spawner: the one that was asked to start. submitted: a choice's JSON, as typed.

    errors: why not; empty when nothing is wrong and the user only has to press Start.
    from_link: it came from a link, not from the form.
    """

    spawner: Any
    submitted: Mapping[str, Any] | None = None
    errors: Sequence[FieldError] = field(default_factory=tuple)
    from_link: bool = False


_holder: ContextVar[Refused | None] = ContextVar("kale_refused", default=None)


def begin(spawner: Any, submitted: Mapping[str, Any], *, from_link: bool = False) -> Refused:
    """Remember what this request asked for. Call it outside of any coroutine of your own."""
    refused = Refused(spawner, submitted, from_link=from_link)
    _holder.set(refused)
    return refused


def current() -> Refused | None:
    """What this request asked for, or None when the page is shown for the first time."""
    return _holder.get()
