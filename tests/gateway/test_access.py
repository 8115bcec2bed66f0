"""Who gets in: the same people, by the same ways, as with JupyterHub's own HubOAuth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from jupyterhub.services.auth import check_scopes

from kale_spawner.gateway.hub import granted
from tests.gateway.conftest import Browser, RealHub, Server, open_socket
from tests.gateway.processes import until

ROUTES = ("page", "xhr", "post", "events", "socket", "url")
ALLOWED = ("owner", "admin", "friend")
TOKENS = ("owner", "admin", "friend", "other", "expired", "revoked", "forged", "narrow", "server")
BrowserHeaders = dict[str, dict[str, str]]


def headers_of(route: str, hub: RealHub) -> dict[str, str]:
    """What a browser adds to a request of that sort from a page of the same host."""
    same = {"Origin": hub.url, "Sec-Fetch-Site": "same-origin"}
    return {
        "page": {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"},
        "url": {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"},
        "xhr": {"Accept": "application/json", "Sec-Fetch-Mode": "cors"} | same,
        "post": {"Accept": "application/json", "Sec-Fetch-Mode": "cors"} | same,
        "events": {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"} | same,
        "socket": {"Sec-Fetch-Mode": "websocket"} | same,
    }[route]


def gets_in(
    hub: RealHub, server: Server, route: str, extra: dict[str, str], token: str = ""
) -> bool:
    """Try one way in. `token` goes into the URL."""
    url = hub.url + server.prefix
    query = f"?token={token}" if token else ""
    headers = headers_of(route, hub) | extra
    if route == "socket":
        with open_socket(f"{url}socket{query}", headers) as made:
            if isinstance(made, int):
                assert server.prefix.endswith("/ref/") or made in (401, 403)
                return False
            assert made.recv(timeout=10)
        return True
    method = "POST" if route == "post" else "GET"
    path = "events" if route == "events" else "anything"
    answer = requests.request(
        method, f"{url}{path}{query}", headers=headers, timeout=20, allow_redirects=False
    )
    assert answer.status_code in (200, 302, 401, 403), (answer.status_code, answer.text)
    return answer.status_code == 200


@pytest.fixture(scope="session")
def tokens(hub: RealHub, lab: Server) -> dict[str, str]:
    made = {user: hub.make_token(user)[0] for user in ("owner", "admin", "friend", "other")}
    made["forged"] = "f" * 32
    made["narrow"] = hub.make_token("owner", scopes=["read:users!user"])[0]
    made["server"] = lab.token
    made["revoked"], token_id = hub.make_token("owner")
    hub.api("DELETE", f"users/owner/tokens/{token_id}")
    made["expired"] = hub.make_token("owner", expires_in=1)[0]
    until(lambda: not _known(hub, made["expired"]), "the token expires")
    return made


def _known(hub: RealHub, token: str) -> bool:
    headers = {"Authorization": f"token {token}"}
    return requests.get(f"{hub.url}/hub/api/user", headers=headers, timeout=10).ok


@pytest.mark.parametrize("route", ROUTES[:5])
@pytest.mark.parametrize("user", [*ALLOWED, "other", "nobody"])
def test_cookies(
    hub: RealHub,
    lab: Server,
    reference: Server,
    people: dict[str, Browser],
    user: str,
    route: str,
) -> None:
    def ask(server: Server) -> bool:
        cookie = people[user].cookie_header(hub.url + server.prefix)
        return gets_in(hub, server, route, {"Cookie": cookie} if cookie else {})

    assert ask(lab) == ask(reference) == (user in ALLOWED)


@pytest.mark.parametrize("route", ROUTES[:5])
@pytest.mark.parametrize("scheme", ["token", "Bearer"])
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_in_a_header(
    hub: RealHub,
    lab: Server,
    reference: Server,
    tokens: dict[str, str],
    name: str,
    scheme: str,
    route: str,
) -> None:
    headers = {"Authorization": f"{scheme} {tokens[name]}"}
    outcome = gets_in(hub, lab, route, headers)
    assert outcome == (name in ALLOWED or name == "server")
    if name != "server":  # lab's own token opens lab, not its neighbour
        assert outcome == gets_in(hub, reference, route, headers)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["owner", "other", "revoked", "forged"])
def test_tokens_in_the_url(
    hub: RealHub, lab: Server, reference: Server, tokens: dict[str, str], name: str, route: str
) -> None:
    """For WebSockets only, unless the administrator allows it for pages too."""
    outcome = gets_in(hub, lab, route, {}, tokens[name])
    assert outcome == gets_in(hub, reference, route, {}, tokens[name])
    assert outcome == (route == "socket" and name == "owner")


@pytest.mark.parametrize("route", ["socket", "anything", "api/kernels", "_gateway", "static/x.js"])
@pytest.mark.parametrize("upgrade", [False, True])
def test_nobody_gets_anywhere(lab: Server, route: str, upgrade: bool) -> None:
    """Also not by a WebSocket, which `jupyter standaloneproxy` 4.6 lets in without a token."""
    url = lab.direct + route
    if upgrade:
        for headers in ({}, {"Origin": f"http://127.0.0.1:{lab.port}"}):
            with open_socket(url, headers) as made:
                assert made in (401, 403)
    answer = requests.get(url, headers={"Accept": "application/json"}, timeout=10)
    assert answer.status_code == 401
    assert "app" not in answer.headers.get("X-JupyterHub-Version", "app")


CROSS: tuple[tuple[str, dict[str, str], bool], ...] = (
    ("post", {"Origin": "https://evil.example"}, False),
    ("post", {"Origin": "null"}, False),
    ("post", {"Origin": "http://127.0.0.1:1"}, False),
    ("post", {"Sec-Fetch-Site": "cross-site"}, False),
    ("post", {"Sec-Fetch-Site": "same-site"}, False),
    ("post", {}, False),
    ("post", {"Referer": "HUB/user/owner/lab/x"}, True),
    ("post", {"Origin": "HUB"}, True),
    ("socket", {"Origin": "https://evil.example"}, False),
    ("socket", {"Origin": "null"}, False),
    ("socket", {"Origin": "HUB", "Sec-Fetch-Site": "cross-site"}, False),
    ("socket", {}, False),
    ("socket", {"Origin": "HUB"}, True),
    ("xhr", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ("page", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
    ("page", {}, True),
)


@pytest.mark.parametrize(("route", "headers", "by_cookie"), CROSS)
def test_other_sites(
    hub: RealHub,
    lab: Server,
    people: dict[str, Browser],
    owner_token: str,
    route: str,
    headers: dict[str, str],
    by_cookie: bool,
) -> None:
    """A cookie is no proof that the user wanted it; a token in a header is."""
    url = hub.url + lab.prefix
    sent = {name: value.replace("HUB", hub.url) for name, value in headers.items()}

    def ask(credentials: dict[str, str]) -> bool:
        if route == "socket":
            with open_socket(f"{url}socket", sent | credentials) as made:
                assert made == 403 or not isinstance(made, int)
                return made != 403
        method = "POST" if route == "post" else "GET"
        answer = requests.request(method, f"{url}x", headers=sent | credentials, timeout=10)
        assert answer.status_code in (200, 403)
        return answer.ok

    assert ask({"Cookie": people["owner"].cookie_header(url)}) == by_cookie
    assert ask({"Authorization": f"token {owner_token}"})


def test_a_page_sends_to_the_hub_and_comes_back(
    hub: RealHub, lab: Server, browser: Browser
) -> None:
    browser.log_in("owner")
    page = browser.visit(f"{hub.url}{lab.prefix}some/page?a=1&b=%2F")
    assert page.json()["uri"] == f"{lab.prefix}some/page?a=1&b=%2F"
    cookies = [cookie for cookie in browser.cookies if cookie.name.startswith("kale-")]
    assert len(cookies) == 1
    assert cookies[0].path == lab.prefix
    assert cookies[0].has_nonstandard_attr("HttpOnly")
    assert cookies[0].get_nonstandard_attr("SameSite") == "Lax"


def test_logging_out_of_the_hub_is_seen_at_once(
    hub: RealHub, lab: Server, browser: Browser
) -> None:
    browser.log_in("owner")
    url = f"{hub.url}{lab.prefix}x"
    assert browser.visit(url).ok
    headers = {"Accept": "application/json"}
    assert browser.get(url, headers=headers, timeout=10).status_code == 200
    browser.get(f"{hub.url}/hub/logout", timeout=10)
    assert browser.get(url, headers=headers, timeout=10).status_code == 401


def test_the_servers_own_logout(hub: RealHub, lab: Server, browser: Browser) -> None:
    browser.log_in("owner")
    assert browser.visit(f"{hub.url}{lab.prefix}").ok
    gone = browser.get(f"{hub.url}{lab.prefix}logout", timeout=10, allow_redirects=False)
    assert gone.headers["Location"] == "/hub/logout"
    assert not [cookie for cookie in browser.cookies if cookie.name.startswith("kale-")]


def test_a_revoked_token_stops_within_the_bound(hub: RealHub, lab: Server) -> None:
    token, token_id = hub.make_token("owner")
    headers = {"Authorization": f"token {token}", "Accept": "application/json"}

    def status() -> int:
        return requests.get(f"{lab.direct}x", headers=headers, timeout=10).status_code

    assert status() == 200
    hub.api("DELETE", f"users/owner/tokens/{token_id}")
    until(lambda: status() == 401, "the token is refused", 4)


def test_a_login_begun_elsewhere_is_refused(hub: RealHub, lab: Server, browser: Browser) -> None:
    """A code is worth nothing without the cookie of the browser that asked for it."""
    browser.log_in("owner")
    url = f"{hub.url}{lab.prefix}"
    begun = browser.get(url, headers={"Accept": "text/html"}, timeout=10, allow_redirects=False)
    sent = browser.get(f"{hub.url}{begun.headers['Location']}", timeout=10, allow_redirects=False)
    callback = f"{hub.url}{sent.headers['Location']}"
    stolen = requests.get(callback, timeout=10, allow_redirects=False)
    assert stolen.status_code == 403
    assert "Set-Cookie" not in stolen.headers
    for query in ("", "?code=x", "?state=x", "?error=access_denied", "?code=x&state=" + "a" * 32):
        answer = browser.get(f"{url}oauth_callback{query}", timeout=10, allow_redirects=False)
        assert answer.status_code in (400, 403)


@pytest.mark.parametrize(
    "change", [lambda value: value[:-2] + "00", lambda value: "owner", lambda value: '""']
)
def test_a_forged_cookie_is_nobodys(
    hub: RealHub, lab: Server, people: dict[str, Browser], change: Callable[[str], str]
) -> None:
    header = people["owner"].cookie_header(hub.url + lab.prefix)
    parts = dict(part.split("=", 1) for part in header.split("; "))
    (name,) = [part for part in parts if part.startswith("kale-")]
    cookie = f"{name}={change(parts[name].strip(chr(34)))}"
    headers = {"Cookie": cookie, "Accept": "application/json"}
    assert requests.get(f"{lab.direct}x", headers=headers, timeout=10).status_code == 401


SCOPES = (
    "access:servers",
    "access:servers!user=a",
    "access:servers!user=b",
    "access:servers!server=a/",
    "access:servers!server=a/x",
    "access:servers!server=b/x",
    "access:servers!group=g",
    "read:users",
    "read:users!user=a",
)


@pytest.mark.filterwarnings("ignore:.*combinations of filters:UserWarning")
@pytest.mark.parametrize("required", SCOPES)
def test_scopes_mean_what_they_mean_to_jupyterhub(required: str) -> None:
    for one in SCOPES:
        for two in SCOPES:
            held = {one, two}
            assert granted({required}, held) == bool(check_scopes({required}, held)), held
