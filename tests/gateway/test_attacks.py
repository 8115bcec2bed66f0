"""What a hostile client, page or app may try, against a real gateway."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import requests

from kale_spawner.gateway.cookies import strip_cookies
from kale_spawner.gateway.nginx import redact
from tests.gateway.conftest import Server
from tests.gateway.processes import family

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html"}


@pytest.fixture
def token(owner_token: str) -> dict[str, str]:
    return {"Authorization": f"token {owner_token}"}


def _raw(server: Server, request: str) -> bytes:
    """All that comes back for these very bytes."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        sock.sendall(request.encode("latin1"))
        return sock.makefile("rb").read()


@pytest.mark.parametrize(
    "target", ["/_kale/auth", "@deny", "/user/owner/lab/logout", "/user/owner/lab/other"]
)
def test_an_app_cannot_send_nginx_elsewhere(
    lab: Server, token: dict[str, str], target: str
) -> None:
    """X-Accel-Redirect would run a location of nginx that only nginx may enter."""
    answer = requests.get(
        f"{lab.direct}says",
        params={"X-Accel-Redirect": target, "X-Other": "passes"},
        headers=token,
        timeout=10,
        allow_redirects=False,
    )
    assert answer.text == "said"
    assert answer.status_code == 200
    assert answer.headers["X-Other"] == "passes"
    assert not [name for name in answer.headers if name.lower().startswith(("x-kale", "x-accel"))]


@pytest.mark.parametrize("scope", ["/", "/hub/"])
def test_a_service_worker_stays_below_its_server(
    lab: Server, token: dict[str, str], scope: str
) -> None:
    """It outlives its page: for /, it would be between the visitor and the hub from then on."""
    url = f"{lab.direct}says"
    answer = requests.get(url, params={"Service-Worker-Allowed": scope}, headers=token, timeout=10)
    assert answer.headers["Service-Worker-Allowed"] == lab.prefix
    assert "Service-Worker-Allowed" not in requests.get(url, headers=token, timeout=10).headers


@pytest.mark.parametrize("query", ["&" + "%41" * 9000 + "&=", "%=" * 9000])
def test_no_query_keeps_nginx_busy(lab: Server, owner_token: str, query: str) -> None:
    """It is matched before anybody is asked who they are, and one worker serves all.

    Processor time is measured, and generously: what is held is that it does not grow with the
    square of the length.
    """
    before = _cpu_seconds(lab.pid)
    head = "HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n"
    for credentials, status in (("", 401), (f"Authorization: token {owner_token}\r\n", 200)):
        answer = _raw(lab, f"GET {lab.prefix}x?{query} {head}{credentials}\r\n")
        assert int(answer.split()[1]) == status
    assert _cpu_seconds(lab.pid) - before < 0.12


def _cpu_seconds(gateway: int) -> float:
    ticks = 0
    for pid in family(gateway):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_login_cookie_of_an_odd_name_is_no_error(lab: Server) -> None:
    """A page can set one for good, and nobody could log in to the server any more."""
    first = requests.get(lab.direct, headers=HTML, timeout=10, allow_redirects=False)
    name = first.headers["Set-Cookie"].partition("=")[0][:-8]
    for odd in ("a(b", "é", "", "x" * 5000):
        cookie = "; ".join(f"{name}{odd}{number}=x" for number in range(6)).encode()
        for path in ("", "logout", "oauth_callback?code=x&state=y"):
            answer = requests.get(
                lab.direct + path,
                headers=HTML | {"Cookie": cookie},
                timeout=10,
                allow_redirects=False,
            )
            assert answer.status_code in (302, 403), (odd, path, answer.text)


def test_cookies_of_the_hubs_services_are_private_too() -> None:
    """With JupyterHub's cookie_host_prefix_enabled they are sent to every path of the host."""
    sent = "a=b; __Host-service-x=1; __Host-service-x-oauth-state=2; service-x=3; __Host-own=4"
    assert strip_cookies(sent) == "a=b; service-x=3; __Host-own=4"


IDENTITY = (
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Scheme",
    "X-RStudio-Username",
    "X-RStudio-Request",
    "X-WebAuth-User",
)


@pytest.mark.parametrize("header", IDENTITY)
def test_who_and_where_a_client_is_it_cannot_say(
    lab: Server, token: dict[str, str], header: str
) -> None:
    seen = requests.get(f"{lab.direct}x", headers=token | {header: "evil"}, timeout=10).json()
    assert "evil" not in str(seen["headers"])


def test_a_stripped_apps_redirect_to_its_bare_prefix(
    stripped: Server, token: dict[str, str]
) -> None:
    server = stripped
    bare = server.prefix.rstrip("/")
    for tail in ("", "?a=b"):
        for host in ("", f"http://127.0.0.1:{server.port}"):
            answer = requests.get(
                f"{server.direct}redirect",
                params={"to": host + bare + tail},
                headers=token,
                timeout=10,
                allow_redirects=False,
            )
            assert answer.headers["Location"] == bare + tail


def test_the_log_has_no_query_with_quotes_either() -> None:
    line = b'request: "GET /a?x="&token=secret HTTP/1.1", referrer: "http://d/?e f=secret"\n'
    assert b"secret" not in redact(line)


@pytest.mark.parametrize("size", [15000, 30000])
def test_long_cookies_pass(lab: Server, token: dict[str, str], size: int) -> None:
    cookie = "a=" + "b" * size
    seen = requests.get(f"{lab.direct}x", headers=token | {"Cookie": cookie}, timeout=10)
    assert seen.status_code == 200
    assert seen.json()["headers"]["cookie"] == [cookie]


REFUSED = (
    "Host: a\r\nHost: b",
    "Host: a b",
    "Host: a\r\nCookie : jupyterhub-x=1",
    "Host: a\r\nCookie\t: jupyterhub-x=1",
    "Host: a\r\nX-A: b\r\n Cookie: jupyterhub-x=1",
    "Host: a\r\nX-A: b\rCookie: jupyterhub-x=1",
    "Host: a\r\nX-A: b\0c",
    "Host: a\r\nAuthorization: Bearer another",
    "Host: a\r\nContent-Length: +3",
    "Host: a\r\nTransfer-Encoding: \x0bchunked",
    "X-A: no host",
)


@pytest.mark.parametrize("head", REFUSED)
def test_what_two_servers_could_read_differently_is_refused(
    lab: Server, owner_token: str, head: str
) -> None:
    """By nginx itself; held here because the rest relies on it."""
    answer = _raw(
        lab,
        f"POST {lab.prefix}x HTTP/1.1\r\nAuthorization: token {owner_token}\r\n"
        f"Connection: close\r\n{head}\r\n\r\n",
    )
    assert int(answer.split()[1]) in (400, 501)


def test_hop_by_hop_headers_and_other_upgrades_stop_here(lab: Server, owner_token: str) -> None:
    """`Connection` may name headers to drop, and h2c would open a way past the gateway."""
    answer = _raw(
        lab,
        f"GET {lab.prefix}x HTTP/1.1\r\nHost: a\r\nAuthorization: token {owner_token}\r\n"
        "Connection: close, Cookie, X-Forwarded-Host, upgrade\r\nUpgrade: h2c\r\n"
        "Cookie: a=b\r\nCookie: jupyterhub-x=1\r\ncookie: kale-0123456789ab=2\r\n"
        "X_Forwarded_User: root\r\nX-Forwarded-Proto: httpsevil\r\n\r\n",
    )
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
    assert seen == {
        "host": ["a"],
        "cookie": ["a=b"],
        "x-forwarded-host": ["a"],
        "x-forwarded-proto": ["http"],
    }
