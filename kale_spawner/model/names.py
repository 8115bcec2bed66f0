"""Names of claims: valid for every user name that a hub admits, and never two users' the same.

A name that is a plain DNS label without "--" stands for itself. Any other gets "---" and a
hash, which no plain name contains. kubespawner's slugs do this with 32 bits, which is enough
against accidents; a claim's name may not be within reach of anybody who picks a user name on
purpose, so here it is 80. (Ownership does not rest on names: see `inventory.owned_by`.)
"""

from __future__ import annotations

import re
from hashlib import sha256

MAX_NAME = 63
_MAX_SLUG = 46
_HASH = 20
_PLAIN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_OTHER = re.compile(r"[^a-z0-9]+", re.ASCII)


def user_slug(user: str) -> str:
    """At most 46 characters of a DNS label; different for different users."""
    if _is_plain(user) and len(user) <= _MAX_SLUG:
        return user
    return _hashed(user, [user])


def server_slug(user: str, server: str) -> str:
    """The same for a server. The default server ("") has the user's own slug."""
    if not server:
        return user_slug(user)
    plain = f"{user}--{server}"
    if _is_plain(user) and _is_plain(server) and len(plain) <= _MAX_SLUG:
        return plain
    return _hashed(f"{user}-{server}", [user, server])


def expand(template: str, user: str, server: str) -> str:
    """A template's name: `{slug}` is the server's slug, `{user_slug}` the user's.

    Raises ValueError when the result is no name of a claim.
    """
    name = template.replace("{slug}", server_slug(user, server))
    name = name.replace("{user_slug}", user_slug(user))
    if len(name) > MAX_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise ValueError(f'"{name}" is not a name for a claim (small letters, digits, hyphens)')
    return name


def _is_plain(name: str) -> bool:
    return "--" not in name and bool(_PLAIN.fullmatch(name))


def _hashed(readable: str, parts: list[str]) -> str:
    """0xFF is no byte of UTF-8, so that no two lists of names give the same bytes."""
    digest = sha256(b"\xff".join(part.encode() for part in parts)).hexdigest()[:_HASH]
    short = _OTHER.sub("-", readable.lower()).strip("-")[: _MAX_SLUG - _HASH - 3].rstrip("-")
    if not short or not short[0].isalpha():
        short = f"x-{short}"[: _MAX_SLUG - _HASH - 3].rstrip("-")
    return f"{short}---{digest}"
