from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_spawner.model.names import expand, server_slug, user_slug

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
NAMES = st.one_of(
    st.text(min_size=1, max_size=200),
    st.text("ab-", min_size=1, max_size=8),
    st.text("abAB1-._@é", min_size=1, max_size=30),
)
SERVERS = st.one_of(st.just(""), NAMES)


@pytest.mark.parametrize(
    ("user", "server", "slug"),
    [
        ("alice", "", "alice"),
        ("alice", "gpu", "alice--gpu"),
        ("a-b", "", "a-b"),
        ("a--b", "", "a-b---90827a2e56361a8fd772"),
    ],
)
def test_plain_names_stay_readable(user: str, server: str, slug: str) -> None:
    assert server_slug(user, server) == slug


@given(NAMES, SERVERS)
def test_every_name_gives_a_valid_claim(user: str, server: str) -> None:
    for template in ("{slug}-workspace", "{slug}-data-100", "{user_slug}-home"):
        name = expand(template, user, server)
        assert LABEL.fullmatch(name)


@given(NAMES, SERVERS, NAMES, SERVERS)
def test_two_servers_never_share_a_slug(a: str, x: str, b: str, y: str) -> None:
    if (a, x) != (b, y):
        assert server_slug(a, x) != server_slug(b, y)


@given(st.lists(st.tuples(st.text("ab-", min_size=1, max_size=4), st.text("ab-", max_size=4))))
def test_hyphens_do_not_shift_from_user_to_server(pairs: list[tuple[str, str]]) -> None:
    assert len({server_slug(*pair) for pair in pairs}) == len(set(pairs))


@pytest.mark.parametrize(
    "user", ["Alice", "alice@example.org", "ünal", "李雷", "x" * 200, "-", "1"]
)
def test_other_names_get_a_hash_that_no_plain_name_has(user: str) -> None:
    assert re.fullmatch(r"[a-z][-a-z0-9]*---[0-9a-f]{20}", user_slug(user))
