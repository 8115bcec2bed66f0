"""How the gateway starts, waits for its app, fails and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kale_spawner.gateway.nginx import redact, render
from kale_spawner.gateway.settings import SettingsInvalid, read_settings
from kale_spawner.wire import KIND_ENV, KINDS, READY_PATH, ServerKind
from tests.gateway.conftest import Browser, RealHub, Server, StartGateway, backend, open_socket
from tests.gateway.processes import family, free_port, listening, pss_kib, running, until

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html"}
GOOD = {
    "JUPYTERHUB_SERVICE_PREFIX": "/user/a/",
    "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
    "JUPYTERHUB_API_TOKEN": "secret",
    "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-a",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=a/"]',
    KIND_ENV: ServerKind("plain").to_json(),
}


def test_nobody_and_everybody_waits_for_the_app(
    start_gateway: StartGateway, lab: Server, owner_token: str, tmp_path: Path
) -> None:
    """503 until it answers, whoever asks: the hub's own wait ends when the page works."""
    token = {"Authorization": f"token {owner_token}"}
    with start_gateway() as gateway:
        ready = gateway.url + READY_PATH
        for headers in (HTML, JSON, HTML | token):
            answer = requests.get(f"{gateway.url}x", headers=headers, timeout=10)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
        assert requests.get(gateway.url, headers=HTML, timeout=10).text.count("<h1>") == 1
        assert requests.get(gateway.url, headers=JSON, timeout=10).json()["status"] == 503
        assert requests.get(ready, timeout=10).status_code == 503
        assert requests.get(f"{ready}?wait=0.05", timeout=10).status_code == 503
        with backend(gateway.app_port, lab.prefix, tmp_path / "app.log"):
            assert requests.get(f"{ready}?wait=20", timeout=30).status_code == 204
            assert requests.get(f"{gateway.url}x", headers=token, timeout=10).ok


def test_an_app_that_dies_and_comes_back(
    start_gateway: StartGateway, lab: Server, owner_token: str, tmp_path: Path
) -> None:
    token = {"Authorization": f"token {owner_token}"}
    with start_gateway() as gateway:
        ready = gateway.url + READY_PATH
        with backend(gateway.app_port, lab.prefix, tmp_path / "app.log") as app:
            assert requests.get(f"{ready}?wait=20", timeout=30).status_code == 204
            crash = requests.get(f"{gateway.url}crash?secret=1", headers=HTML | token, timeout=10)
            assert crash.status_code == 503
            assert app.wait(5) == 3
        page = requests.get(gateway.url, headers=HTML | token, timeout=10)
        assert page.status_code == 503
        assert 'http-equiv="refresh"' in page.text
        assert requests.get(gateway.url, headers=JSON | token, timeout=10).json()["status"] == 503
        assert requests.get(gateway.url, headers=JSON, timeout=10).status_code == 401
        assert requests.get(ready, timeout=10).status_code == 503
        with backend(gateway.app_port, lab.prefix, tmp_path / "app.log"):
            assert requests.get(f"{ready}?wait=20", timeout=30).status_code == 204
            assert requests.get(f"{gateway.url}x", headers=token, timeout=10).ok
        assert "secret" not in gateway.log.read_text()


def test_without_the_hub_nobody_gets_in(
    start_gateway: StartGateway,
    hub: RealHub,
    lab: Server,
    owner_token: str,
    people: dict[str, Browser],
) -> None:
    token = {"Authorization": f"token {owner_token}"}
    cookie = {"Cookie": people["owner"].cookie_header(hub.url + lab.prefix)}
    nowhere = f"http://127.0.0.1:{free_port()}/hub/api"
    with start_gateway({"port": lab.app_port}, JUPYTERHUB_API_URL=nowhere) as gateway:
        assert requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30).status_code == 204
        for credentials in (token, cookie):
            page = requests.get(gateway.url, headers=HTML | credentials, timeout=10)
            assert page.status_code == 503
            assert "hub cannot be reached" in page.text
            answer = requests.post(gateway.url, headers=JSON | token, timeout=10)
            assert answer.status_code == answer.json()["status"] == 503
            with open_socket(f"{gateway.url}socket", credentials) as made:
                assert made == 503
        back = requests.get(f"{gateway.url}oauth_callback?code=a&state=b", timeout=10)
        assert back.status_code == 403


def _certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1; it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (folder / "hub.crt").write_bytes(made.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "hub.key").write_bytes(secret)
    return folder / "hub.crt", folder / "hub.key"


@pytest.fixture
def tls_hub(hub: RealHub, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(address, certificate) of the hub behind TLS."""
    port, (certificate, key) = free_port(), _certificate(tmp_path)
    conf = tmp_path / "tls.conf"
    conf.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {certificate}; ssl_certificate_key {key};\n"
        f"location / {{ proxy_pass {hub.url}; }} }} }}\n"
    )
    argv = ["/usr/sbin/nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(conf)]
    with running(argv, {}, tmp_path / "tls.log"):
        until(lambda: listening(port), "the hub listens with TLS")
        yield f"https://127.0.0.1:{port}", certificate


def test_a_hub_behind_tls_is_asked_and_its_certificate_checked(
    start_gateway: StartGateway, lab: Server, owner_token: str, tls_hub: tuple[str, Path]
) -> None:
    url, certificate = tls_hub
    headers = JSON | {"Authorization": f"token {owner_token}"}
    env = {"JUPYTERHUB_API_URL": f"{url}/hub/api"}
    for trusted, status in ({"SSL_CERT_FILE": str(certificate)}, 200), ({}, 503):
        with start_gateway({"port": lab.app_port}, **env, **trusted) as gateway:
            requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30)
            answer = requests.get(f"{gateway.url}x", headers=headers, timeout=10)
            assert answer.status_code == status
            stranger = requests.get(f"{gateway.url}x", headers=JSON, timeout=10)
            assert stranger.status_code == 401


def test_tokens_in_the_address_where_they_are_allowed(
    start_gateway: StartGateway, lab: Server, owner_token: str
) -> None:
    """A browser gets a cookie and an address without the token; a program just gets in."""
    with start_gateway({"port": lab.app_port}, JUPYTERHUB_ALLOW_TOKEN_IN_URL="1") as gateway:
        requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30)
        url = f"{gateway.url}x?a=1&token={owner_token}&b=%20"
        assert requests.get(url, timeout=10).json()["uri"] == f"{lab.prefix}x?a=1&b=%20"
        with requests.Session() as session:
            sent = session.get(url, headers=HTML, timeout=10, allow_redirects=False)
            assert sent.headers["Location"] == f"{lab.prefix}x?a=1&b=%20"
            assert owner_token not in sent.headers["Location"]
            landed = session.get(f"{gateway.root}{sent.headers['Location']}", timeout=10)
            assert landed.json()["uri"] == f"{lab.prefix}x?a=1&b=%20"
        for spelling in ("%74oken", "tok%65n"):
            hidden = requests.get(f"{gateway.url}x?{spelling}={owner_token}", timeout=10)
            assert hidden.json()["uri"] == f"{lab.prefix}x"
        forged = requests.get(f"{gateway.url}x?token={'f' * 32}", headers=JSON, timeout=10)
        assert forged.status_code == 401


def test_websockets_by_cookie_can_be_switched_off(
    start_gateway: StartGateway, hub: RealHub, lab: Server, people: dict[str, Browser]
) -> None:
    cookie = people["owner"].cookie_header(hub.url + lab.prefix)
    switch = {"JUPYTERHUB_ALLOW_WEBSOCKET_COOKIE_AUTH": "0"}
    with start_gateway({"port": lab.app_port}, **switch) as gateway:
        requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30)
        headers = {"Cookie": cookie, "Origin": gateway.root}
        assert requests.get(gateway.url, headers=headers, timeout=10).ok
        with open_socket(f"{gateway.url}socket", headers) as made:
            assert made == 401


def test_nginx_repeats_a_yes_to_the_same_asker_only(
    start_gateway: StartGateway, hub: RealHub, lab: Server, owner_token: str
) -> None:
    """Seen by halting the process that decides: what needs a decision then gets no answer."""
    token = {"Authorization": f"token {owner_token}"}
    other = {"Authorization": f"token {hub.make_token('owner')[0]}"}
    with start_gateway({"port": lab.app_port}, KALE_GATEWAY_DECISION_SECONDS="60") as gateway:
        requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30)
        url = f"{gateway.url}x"
        assert requests.get(url, headers=token, timeout=10).ok
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            again = requests.get(f"{url}/other?a=1", headers=token, timeout=10)
            assert again.json()["uri"] == f"{lab.prefix}x/other?a=1"
            for method, query, headers in (
                ("POST", "", token),
                ("GET", "?token=x", token),
                ("GET", "", other),
                ("GET", "", {}),
                ("GET", "", token | {"Cookie": "jupyterhub-session-id=x"}),
                ("GET", "", token | {"Sec-Fetch-Site": "cross-site"}),
            ):
                with pytest.raises(requests.ReadTimeout):
                    requests.request(method, url + query, headers=headers, timeout=0.5)
        finally:
            gateway.process.send_signal(signal.SIGCONT)


def test_cookies_are_secure_behind_https(start_gateway: StartGateway, lab: Server) -> None:
    with start_gateway({"port": lab.app_port}) as gateway:
        requests.get(f"{gateway.url}{READY_PATH}?wait=20", timeout=30)
        for proto, secure in (("https", True), ("https,http", True), ("http", False)):
            headers = HTML | {"X-Forwarded-Proto": proto}
            answer = requests.get(gateway.url, headers=headers, timeout=10, allow_redirects=False)
            assert ("Secure" in answer.headers["Set-Cookie"]) == secure


def test_it_starts_and_stops_at_once(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Generous bounds: what is held is that nothing is waited for."""
    began = time.monotonic()
    with start_gateway() as gateway:
        assert time.monotonic() - began < 5
        pids = family(gateway.process.pid)
        assert len(pids) > 1
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(5) == 0
        assert time.monotonic() - began < 1
    until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "all have ended")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_if_nginx_dies_the_container_does(start_gateway: StartGateway) -> None:
    with start_gateway() as gateway:
        nginx = family(gateway.process.pid)[1]
        os.kill(nginx, signal.SIGKILL)
        assert gateway.process.wait(5) == 1


def test_a_port_in_use_is_an_error(start_gateway: StartGateway, lab: Server) -> None:
    """And it ends, rather than to answer nobody."""
    argv = [sys.executable, "-m", "kale_spawner.gateway"]
    env = lab.env | {"PYTHONWARNINGS": "ignore"}
    assert subprocess.run(argv, env=env, timeout=20, capture_output=True).returncode == 1


def test_memory(lab: Server, owner_token: str) -> None:
    """All processes of a gateway that has worked. The goal is 32 MiB; what a machine shares
    between processes differs, so the bound has some room."""
    for _ in range(50):
        token = {"Authorization": f"token {owner_token}"}
        assert requests.post(f"{lab.direct}x", headers=token, timeout=10).ok
    assert pss_kib(lab.pid) < 40 * 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JUPYTERHUB_SERVICE_PREFIX", '/user/a";}/'),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/$host/"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/a%0Ab/"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/%2e%2e/"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/%FF/"),
        ("JUPYTERHUB_SERVICE_PREFIX", ""),
        ("JUPYTERHUB_API_TOKEN", ""),
        ("JUPYTERHUB_API_URL", "file:///etc/passwd"),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", "[]"),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", "access:servers"),
        ("JUPYTERHUB_ACTIVITY_INTERVAL", "soon"),
        ("JUPYTERHUB_SSL_KEYFILE", "/key"),
        (KIND_ENV, "{}"),
        (KIND_ENV, '{"name": "x", "port": "80; evil"}'),
        (KIND_ENV, '{"name": "x", "port": 18888}'),
        (KIND_ENV, '{"name": "x", "prefix": "other"}'),
        (KIND_ENV, '{"name": "x", "prefix_header": "A: b"}'),
        (KIND_ENV, '{"name": "x", "ready_path": "x y"}'),
    ],
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        read_settings(GOOD | {name: value})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_arrives_as_it_was_sent(kind: ServerKind) -> None:
    assert read_settings(GOOD | {KIND_ENV: kind.to_json()}).kind == kind


@pytest.mark.parametrize("user", ["a", 'q"uo\\te', "ü" * 100, "a b;{}$x", "%2e", "👩\u200d💻"])
@pytest.mark.parametrize("prefix", ["keep", "strip"])
def test_every_prefix_makes_a_configuration_that_nginx_takes(
    user: str, prefix: str, tmp_path: Path
) -> None:
    kind = f'{{"name": "x", "prefix": "{prefix}", "prefix_header": "X-Root"}}'
    env = GOOD | {"JUPYTERHUB_SERVICE_PREFIX": f"/user/{quote(user)}/", KIND_ENV: kind}
    conf = tmp_path / "nginx.conf"
    conf.write_text(render(read_settings(env), Path("/tmp")))
    argv = ["/usr/sbin/nginx", "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(conf)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


def test_the_log_has_no_query_strings() -> None:
    line = b'request: "GET /a?token=x HTTP/1.1", upstream: "http://b/?c", referrer: "http://d/?e"'
    cut = b'request: "GET /a?... HTTP/1.1", upstream: "http://b/?...", referrer: "http://d/?..."'
    assert redact(line) == cut


def test_listening_only_where_it_should(start_gateway: StartGateway) -> None:
    """The deciding process has no network port of its own, and its socket is private."""
    with start_gateway() as gateway:
        assert listening(int(gateway.root.rpartition(":")[2]))
        ports = set()
        for pid in family(gateway.process.pid):
            inodes = {str(fd.readlink()) for fd in _fds(pid)}
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
        assert ports == {int(gateway.root.rpartition(":")[2])}


def _fds(pid: int) -> list[Path]:
    return [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
