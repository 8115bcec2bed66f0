"""What arrives at the app, and what comes back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from websockets.sync.client import ClientConnection

from kale_spawner.gateway import sockets
from kale_spawner.gateway.activity import Activity
from kale_spawner.gateway.cookies import parse_cookies
from kale_spawner.gateway.decision import Request
from kale_spawner.gateway.hub import Hub
from kale_spawner.gateway.settings import read_settings
from kale_spawner.gateway.sockets import QUIET_BYTES
from tests.gateway.conftest import ODD_USER, Browser, RealHub, Server, open_socket
from tests.gateway.processes import pss_kib, until

MIB = 1 << 20


@pytest.fixture
def asked(lab: Server, owner_token: str) -> Iterator[requests.Session]:
    """Asks the gateway itself, with owner's token."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {owner_token}"
        yield session


def test_the_app_sees_no_credentials_and_no_made_up_identity(
    hub: RealHub, lab: Server, people: dict[str, Browser], owner_token: str
) -> None:
    """What a visitor carries: this gateway's cookie, another's, the hub's; and forgeries."""
    url = f"{hub.url}{lab.prefix}x"
    cookie = people["friend"].cookie_header(url)
    assert "kale-" in cookie
    assert "jupyterhub-session-id" in cookie
    cookie += "; _xsrf=2|a|b; kale-0123456789ab=x; jupyterhub-user-owner=y; kale-mine=1; é=è"
    spoofed = {
        "X-Forwarded-User": "root",
        "X-Remote-User": "root",
        "X-Auth-Request-Email": "root@x",
        "Kubeflow-Userid": "root",
        "Forwarded": "for=1.2.3.4",
        "X-Real-IP": "1.2.3.4",
        "X-RStudio-Root-Path": "/evil",
        "X-Kale-Cookie": "evil",
        "X-Original-URI": "/evil",
    }
    headers = {"Cookie": cookie.encode(), "Authorization": f"Bearer {owner_token}"} | spoofed
    seen = requests.get(f"{url}?a=b&token={owner_token}&c=d", headers=headers, timeout=10).json()
    arrived = seen["headers"]
    assert seen["uri"] == f"{lab.prefix}x?a=b&c=d"
    theirs = "; _xsrf=2|a|b; kale-mine=1; é=è".encode().decode("latin1")
    assert arrived["cookie"] == [f"mine=1{theirs}"]
    allowed = {"host", "cookie", "x-forwarded-proto", "x-forwarded-host", "user-agent", "accept"}
    allowed |= {"accept-encoding", "x-rstudio-root-path", "x-kale-cookie", "x-original-uri"}
    assert set(arrived) - allowed == set()
    assert arrived["host"] == [hub.url.removeprefix("http://")]


@pytest.fixture(scope="session")
def jupyter(hub: RealHub) -> Server:
    return hub.start("owner", "jup")


def test_a_token_stands_in_for_jupyters_xsrf_check(
    jupyter: Server, lab: Server, owner_token: str
) -> None:
    headers = {"Authorization": f"token {owner_token}", "Cookie": "_xsrf=old; a=b"}
    seen = requests.post(f"{jupyter.direct}x", headers=headers, timeout=10).json()["headers"]
    [proof] = seen["x-xsrftoken"]
    assert seen["cookie"] == [f"a=b; _xsrf={proof}"]
    assert len(proof) >= 32
    elsewhere = requests.post(f"{lab.direct}x", headers=headers, timeout=10).json()["headers"]
    assert "x-xsrftoken" not in elsewhere
    assert elsewhere["cookie"] == ["_xsrf=old; a=b"]


def test_who_comes_by_cookie_brings_jupyters_xsrf_himself(
    hub: RealHub, jupyter: Server, owner_token: str
) -> None:
    with Browser(hub) as owner:
        owner.log_in("owner")
        url = f"{hub.url}{jupyter.prefix}x"
        owner.get(url, timeout=10)
        headers = {"Origin": hub.url, "X-XSRFToken": "mine"}
        seen = owner.post(url, headers=headers, timeout=10).json()["headers"]
    assert seen["x-xsrftoken"] == ["mine"]


def test_an_apps_own_authorization_passes(
    hub: RealHub, lab: Server, people: dict[str, Browser], owner_token: str
) -> None:
    url = f"{hub.url}{lab.prefix}x"
    cookie = people["owner"].cookie_header(url)

    def seen(authorization: str) -> list[str]:
        headers = {"Cookie": cookie, "Authorization": authorization}
        answer = requests.get(url, headers=headers, timeout=10).json()
        return answer["headers"].get("authorization", [])

    assert seen("Basic YTpi") == ["Basic YTpi"]
    assert seen("Bearer the-apps-own") == ["Bearer the-apps-own"]
    assert seen(f"token {owner_token}") == []


def test_websockets_carry_no_credentials(
    hub: RealHub, lab: Server, people: dict[str, Browser]
) -> None:
    cookie = people["owner"].cookie_header(hub.url + lab.prefix)
    headers = {"Cookie": f"{cookie}; _xsrf=1", "Origin": hub.url}
    with open_socket(f"{hub.url}{lab.prefix}socket?token={'0' * 32}&a=1", headers) as made:
        assert not isinstance(made, int)
        text = str(made.recv(timeout=10))
        assert "kale-" not in text
        assert "_xsrf=1" in text
        assert f"{lab.prefix}socket?a=1" in text
        for message in ("text", b"binary", b"x" * MIB):
            made.send(message)
            assert made.recv(timeout=10) == message


def test_two_servers_side_by_side(hub: RealHub, lab: Server, browser: Browser) -> None:
    """The default server's cookie is sent to the named one too, which must not see it."""
    default = hub.start("owner", "")
    browser.log_in("owner")
    for server in (default, lab):
        assert browser.visit(hub.url + server.prefix).ok
    sent = [name for name, _ in parse_cookies(browser.cookie_header(hub.url + lab.prefix))]
    assert len([name for name in sent if name.startswith("kale-")]) == 2
    for server in (default, lab):
        seen = browser.visit(f"{hub.url}{server.prefix}x").json()
        assert seen["uri"] == f"{server.prefix}x"
        assert "kale-" not in str(seen["headers"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_methods_and_bodies(lab: Server, asked: requests.Session, method: str) -> None:
    body = "" if method == "GET" else "a=b"
    seen = asked.request(method, f"{lab.direct}x%2Fy//z?q=%20", data=body, timeout=10).json()
    assert (seen["method"], seen["body"]) == (method, body)
    assert seen["uri"] == f"{lab.prefix}x%2Fy//z?q=%20"


def test_the_hubs_version_is_said(hub: RealHub, lab: Server, asked: requests.Session) -> None:
    version = requests.get(f"{hub.url}/hub/api/", timeout=10).headers["X-JupyterHub-Version"]
    for answer in (
        asked.get(f"{lab.direct}x", timeout=10),
        requests.get(f"{lab.direct}x", timeout=10, allow_redirects=False),
    ):
        assert answer.headers["X-JupyterHub-Version"] == version


def test_gzip_is_left_alone(lab: Server, asked: requests.Session) -> None:
    answer = asked.get(f"{lab.direct}gzip", timeout=10)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.text == "squeezed " * 100


def test_events_arrive_at_once(lab: Server, asked: requests.Session) -> None:
    """The app keeps the response open far longer than the test waits for its first bytes."""
    with asked.get(f"{lab.direct}events?hold=60", stream=True, timeout=5) as answer:
        assert next(answer.iter_lines()) == b"data: first"


def test_cookies_of_an_app_stay_with_it(lab: Server, asked: requests.Session) -> None:
    """Set for /, it would go to the hub and to other servers, and could replace theirs."""
    for path, kept in (("/", lab.prefix), (f"{lab.prefix}a", f"{lab.prefix}a")):
        answer = asked.get(f"{lab.direct}x", params={"cookie_path": path}, timeout=10)
        assert f"Path={kept}" in answer.headers["Set-Cookie"].replace("path=", "Path=")


def test_an_app_at_root(stripped: Server, asked: requests.Session) -> None:
    seen = asked.get(f"{stripped.direct}a%2Fb?c=d", timeout=10)
    assert seen.json()["uri"] == "/a%2Fb?c=d"
    bare = stripped.prefix.rstrip("/")
    assert seen.json()["headers"]["x-rstudio-root-path"] == [bare]
    assert f"path={stripped.prefix}".lower() in seen.headers["Set-Cookie"].lower()
    host = f"http://127.0.0.1:{stripped.port}"
    for sent, expected in (
        ("/a", f"{stripped.prefix}a"),
        (f"{stripped.prefix}a", f"{stripped.prefix}a"),
        (f"{host}/a", f"{stripped.prefix}a"),
        ("./a", "./a"),
        ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ("//elsewhere.example/a", f"{stripped.prefix}/elsewhere.example/a"),
    ):
        answer = asked.get(
            f"{stripped.direct}redirect", params={"to": sent}, timeout=10, allow_redirects=False
        )
        assert answer.headers["Location"] == expected


def test_a_user_with_an_odd_name(hub: RealHub, browser: Browser) -> None:
    server = hub.start(ODD_USER, "")
    assert server.prefix.startswith("/user/j%C3%BCrgen")
    browser.log_in(ODD_USER)
    url = f"{hub.url}{server.prefix}"
    assert browser.visit(f"{url}a").json()["uri"] == f"{server.prefix}a"
    other = f"http://127.0.0.1:{server.port}/user/j%c3%bcrgen%40x/b"
    cookie = {"Cookie": browser.cookie_header(url)}
    assert requests.get(other, headers=cookie, timeout=10).json()["uri"] == f"{server.prefix}b"
    with open_socket(f"{url}socket", {"Cookie": browser.cookie_header(url)} | _same(hub)) as made:
        assert not isinstance(made, int)


def _same(hub: RealHub) -> dict[str, str]:
    return {"Origin": hub.url}


PATHS = (
    ("/", 404),
    ("/user/owner/labx/", 404),
    ("/user/other/lab/", 404),
    ("/user/owner/lab/../../other/", 404),
    ("/user/owner/lab/%2e%2e/%2e%2e/other/", 404),
    ("/user/owner/lab/..%2f..%2fother/", 404),
    ("/user%2fowner/lab/x", 404),
    ("/a/b/c/../../../user/owner/lab/x", 404),
    ("/us%65r/owner/l%61b/x", 401),
    ("//user/owner/lab/x", 404),
    ("/user/owner/../owner/lab/x", 404),
    ("/_kale/auth", 404),
    ("/_kale/../_kale/auth", 404),
    ("/user/owner/lab/_gateway/../x", 401),
    ("/user/owner/lab/_gateway/ready/../../x", 401),
    ("/user/owner/lab/_gateway/ready/x", 404),
    ("/user/owner/lab/_gateway/ready%2f..%2f..%2fx", 401),
    ("/user/owner/lab/oauth_callback/../x", 401),
    ("/user/owner/lab/oauth_callback%2fx", 401),
    ("/user/owner/lab//x", 401),
    ("/user/owner/lab/%2e%2e/lab/x", 401),
    ("/user/owner/lab/x;/../y", 401),
    ("/user/owner/lab/%00", 400),
    ("/user/owner/lab/x#/_gateway/ready", 401),
    ("http://evil.example/user/owner/lab/x", 401),
    ("/user/owner/lab", 302),
)


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_no_spelling_gets_past_the_door(lab: Server, path: str, status: int) -> None:
    """Raw, as no client library would send it; without credentials."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close"
    with socket.create_connection(("127.0.0.1", lab.port), 10) as sock:
        sock.sendall(f"{request}\r\n\r\n".encode())
        answer = sock.makefile("rb").readline()
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 4",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
    ],
)
def test_ambiguous_bodies_are_refused(lab: Server, owner_token: str, head: str) -> None:
    request = f"POST {lab.prefix}x HTTP/1.1\r\nHost: x\r\nAuthorization: token {owner_token}"
    with socket.create_connection(("127.0.0.1", lab.port), 10) as sock:
        sock.sendall(f"{request}\r\n{head}\r\n\r\n0\r\n\r\n".encode())
        assert int(sock.makefile("rb").readline().split()[1]) in (400, 501)


def test_next_address_is_never_another_hosts(lab: Server) -> None:
    """`//host/..` is an absolute address to a browser; only Location to the hub may be given."""
    for path in (f"//evil.example/..{lab.prefix}", f"{lab.prefix.rstrip('/')}?//evil.example"):
        with socket.create_connection(("127.0.0.1", lab.port), 10) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = sock.makefile("rb").read().decode("latin1")
        assert "Location: //" not in answer
        assert "Location: http" not in answer


def test_large_bodies_cost_no_memory(lab: Server, asked: requests.Session) -> None:
    """300 MiB each way; measured while they are on their way and after."""
    asked.get(f"{lab.direct}x", timeout=10)
    before = highest = pss_kib(lab.pid)

    def body() -> Iterator[bytes]:
        nonlocal highest
        for number in range(300):
            yield b"y" * MIB
            if number % 100 == 50:
                highest = max(highest, pss_kib(lab.pid))

    sent = asked.put(f"{lab.direct}upload", data=body(), timeout=60)
    assert sent.json() == {"size": 300 * MIB}
    size = 0
    with asked.get(f"{lab.direct}download?mib=300", stream=True, timeout=60) as answer:
        for number, chunk in enumerate(answer.iter_content(MIB)):
            size += len(chunk)
            if number % 100 == 50:
                highest = max(highest, pss_kib(lab.pid))
    assert size == 300 * MIB
    assert max(highest, pss_kib(lab.pid)) - before < 8 * 1024


def _last_activity(hub: RealHub, name: str) -> datetime:
    said = hub.api("GET", "users/owner").json()["servers"][name]["last_activity"]
    return datetime.fromisoformat(said)


def test_activity_is_the_apps_word(hub: RealHub, owner_token: str, jupyter: Server) -> None:
    """The future tells what the app said apart from what anybody else might think is now."""
    server = jupyter
    headers = {"Authorization": f"token {owner_token}"}

    def say(**status: Any) -> None:
        url = f"http://127.0.0.1:{server.app_port}{server.prefix}api/status"
        assert requests.put(url, json=status, headers=headers, timeout=10).ok

    then = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
    say(last_activity=then.isoformat())
    until(lambda: _last_activity(hub, "jup") == then, "the app's word reaches the hub")


def test_activity_of_a_busy_kernel_is_now(hub: RealHub, lab: Server, start_gateway: Any) -> None:
    began = datetime.now(UTC)
    busy = hub.start("friend", "jup")
    url = f"http://127.0.0.1:{busy.app_port}{busy.prefix}api/kernels"
    assert requests.put(url, json={"kernels": [{"execution_state": "busy"}]}, timeout=10).ok

    def last() -> datetime:
        said = hub.api("GET", "users/friend").json()["servers"]["jup"]["last_activity"]
        return datetime.fromisoformat(said)

    until(lambda: last() > began + timedelta(seconds=2), "a busy kernel keeps the server active")


def test_activity_of_requests(hub: RealHub, lab: Server, asked: requests.Session) -> None:
    """With reports every second: a request is seen; that time passes is not."""
    asked.get(f"{lab.direct}x", timeout=10)
    began = datetime.now(UTC)

    def asked_again() -> bool:
        asked.post(f"{lab.direct}x", timeout=10)
        return _last_activity(hub, "lab") > began

    until(asked_again, "a request is reported")
    last = _last_activity(hub, "lab")
    quiet = hub.start("owner", "quiet")
    first = _last_activity(hub, "quiet")
    until(lambda: datetime.now(UTC) > last + timedelta(seconds=4), "some reports are due")
    assert _last_activity(hub, "quiet") == first
    assert _last_activity(hub, "lab") - last < timedelta(seconds=2)
    assert quiet.pid


@pytest.fixture(scope="session")
def live(hub: RealHub) -> Server:
    return hub.start("owner", "live")


@pytest.fixture
def opened(live: Server, owner_token: str) -> Iterator[ClientConnection]:
    """A WebSocket to the app of `live`; the client's own pings are switched off."""
    token = {"Authorization": f"token {owner_token}"}
    with open_socket(f"{live.direct}socket", token, ping_interval=None) as made:
        assert not isinstance(made, int)
        made.recv(timeout=10)
        yield made


def _settled(hub: RealHub, every_second: Callable[[], object] = lambda: None) -> datetime:
    """What the hub says last of `live`, after four seconds, and as many reports, without news."""
    began, done = datetime.now(UTC), 0.0

    def old() -> datetime | None:
        nonlocal done
        if time.monotonic() > done + 1:
            every_second()
            done = time.monotonic()
        last = _last_activity(hub, "live")
        return last if datetime.now(UTC) > max(began, last) + timedelta(seconds=4) else None

    return until(old, "activity has ended", 30)


def test_what_a_user_sends_over_a_websocket_is_activity(
    hub: RealHub, opened: ClientConnection
) -> None:
    before = _settled(hub)

    def sent() -> datetime:
        opened.send("x" * 2 * QUIET_BYTES)
        opened.recv(timeout=10)
        return _last_activity(hub, "live")

    until(lambda: sent() > before, "frames are reported")
    until(lambda: sent() > before + timedelta(seconds=8), "and again")


def test_a_websocket_that_only_answers_pings_is_not_in_use(
    hub: RealHub, opened: ClientConnection
) -> None:
    """Nor does it count what the app sends, however much."""
    before = _settled(hub)
    assert _settled(hub, lambda: opened.ping().wait(10)) == before
    opened.send("give 1000000")
    assert len(opened.recv(timeout=10)) == 1000000
    assert _settled(hub, lambda: opened.pong(b"alive")) == before


def test_what_an_open_page_asks_by_itself_is_no_activity(
    hub: RealHub, live: Server, asked: requests.Session
) -> None:
    before = _settled(hub)
    url = f"{live.direct}some/polled?a=b"
    assert _settled(hub, lambda: asked.post(url, timeout=10)) == before
    asked.post(f"{url}/used", timeout=10)
    assert _settled(hub) == before
    asked.post(f"{live.direct}some/polled/used", timeout=10)
    until(lambda: _last_activity(hub, "live") > before, "a request is reported")


def test_a_kernel_that_does_not_count_is_told_once(
    lab: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(port: int) -> dict[str, int]:
        raise OSError("no such protocol")

    monkeypatch.setattr(sockets, "received", refuse)
    settings = replace(read_settings(lab.env), activity_interval=0.001)
    activity = Activity(settings, Hub(settings))
    opening = Request("GET", "/", "websocket", {"peer": "127.0.0.1:1"})
    activity.saw_request(opening)
    asyncio.run(asyncio.wait_for(activity.look(), 10))
    assert [record.args for record in caplog.records if "WebSockets" in record.msg]
    activity.saw_request(opening)
