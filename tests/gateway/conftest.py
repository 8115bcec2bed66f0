"""A real hub with a real proxy, and gateways that it started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from kale_spawner.wire import KIND_ENV, ServerKind
from tests.gateway import processes
from tests.gateway.processes import ROOT, listening, until

ADMIN_TOKEN = "0" * 31 + "a"
ODD_USER = "jürgen@x"

CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.debug = False
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cleanup_servers = True
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "pass"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "tests.gateway.tinyspawner.TinySpawner"
c.Spawner.oauth_client_allowed_scopes = []
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "tokens",
      "access:servers", "shares"]}},
    {{"name": "user", "scopes": ["self", "shares!user"]}},
]
"""


@dataclass
class Server:
    """A running server with a gateway. `port` is the gateway's own, without the hub's proxy."""

    prefix: str
    port: int = 0
    app_port: int = 0
    pid: int = 0
    token: str = ""
    env: dict[str, str] = field(default_factory=dict)

    @property
    def direct(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"


@dataclass
class RealHub:
    url: str
    folder: Path

    def api(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"token {ADMIN_TOKEN}"}
        url = f"{self.url}/hub/api/{path}"
        response = requests.request(method, url, headers=headers, timeout=30, **kwargs)
        assert response.status_code < 400, f"{method} {path}: {response.text}"
        return response

    def start(self, user: str, name: str) -> Server:
        """Start a server and wait until the hub says that it is ready."""
        base = f"users/{quote(user)}"
        self.api("POST", f"{base}/servers/{name}")

        def ready() -> bool:
            servers = self.api("GET", base).json()["servers"]
            return name in servers and servers[name]["ready"]

        until(ready, f"server {user}/{name} is ready", 30)
        facts = self.folder / f"{user}-{name}.json"
        if not facts.exists():
            return Server(self.api("GET", base).json()["servers"][name]["url"])
        return Server(**json.loads(facts.read_text()))

    def make_token(self, user: str, **options: Any) -> tuple[str, str]:
        """(token, its id)."""
        made = self.api("POST", f"users/{quote(user)}/tokens", json=options).json()
        return made["token"], made["id"]


class Browser(requests.Session):
    """Keeps cookies by path, follows redirects, and sends what browsers send by themselves."""

    def __init__(self, hub: RealHub) -> None:
        super().__init__()
        self.hub = hub

    def log_in(self, user: str) -> None:
        page = self.get(f"{self.hub.url}/hub/login", timeout=20)
        form = {"username": user, "password": "pass", "_xsrf": _field(page.text, "_xsrf")}
        done = self.post(f"{self.hub.url}/hub/login", data=form, timeout=20, allow_redirects=False)
        assert done.status_code == 302, done.text

    def visit(self, url: str) -> requests.Response:
        """Go to a page as a person does: log-in redirects and the hub's question included."""
        page = self.get(url, headers={"Accept": "text/html"}, timeout=20)
        if "oauth2/authorize" in page.url and page.status_code == 200:
            form = {"_xsrf": _field(page.text, "_xsrf"), "scopes": _fields(page.text, "scopes")}
            headers = {"Referer": page.url, "Origin": self.hub.url}
            page = self.post(page.url, data=form, headers=headers, timeout=20)
        return page

    def cookie_header(self, url: str) -> str:
        request = self.prepare_request(requests.Request("GET", url))
        return request.headers.get("Cookie", "")


@contextmanager
def open_socket(
    url: str, headers: dict[str, str], **options: Any
) -> Iterator[ClientConnection | int]:
    """An open WebSocket, or the status with which it was refused."""
    address = re.sub("^http", "ws", url)
    try:
        with connect(
            address,
            additional_headers=headers,
            proxy=None,
            open_timeout=20,
            max_size=None,
            **options,
        ) as made:
            yield made
    except InvalidStatus as exc:
        yield exc.response.status_code


def _fields(html: str, name: str) -> list[str]:
    found = []
    for tag in re.findall(r"<input[^>]*>", html):
        if re.search(rf'name="{name}"', tag) and (value := re.search(r'value="([^"]*)"', tag)):
            found.append(value[1])
    return found


def _field(html: str, name: str) -> str:
    return _fields(html, name)[0]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    port, hub_port, proxy_port = (processes.free_port() for _ in range(3))
    config = folder / "jupyterhub_config.py"
    config.write_text(
        CONFIG.format(port=port, hub_port=hub_port, proxy_port=proxy_port, token=ADMIN_TOKEN)
    )
    programs = f"{Path(sys.executable).parent}:{ROOT}/.venv/bin:{os.environ['PATH']}"
    env = {"PATH": programs, "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    env |= {"TINY_FOLDER": str(folder), "TMPDIR": str(folder)}
    argv = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    log = folder / "hub.log"
    made = RealHub(f"http://127.0.0.1:{port}", folder)
    argv += [f"--JupyterHub.cookie_secret_file={folder}/secret"]
    argv += [f"--ConfigurableHTTPProxy.pid_file={folder}/proxy.pid"]
    with processes.running(argv, env, log):
        try:
            until(lambda: requests.get(f"{made.url}/hub/api/", timeout=5).ok, "the hub answers", 40)
            for user in ("owner", "friend", "other", ODD_USER):
                made.api("POST", f"users/{quote(user)}")
            yield made
        except AssertionError:
            print(log.read_text()[-8000:])
            raise


@pytest.fixture(scope="session")
def lab(hub: RealHub) -> Server:
    """owner's server `lab`, shared with friend."""
    server = hub.start("owner", "lab")
    hub.api("POST", "shares/owner/lab", json={"user": "friend"})
    return server


@pytest.fixture(scope="session")
def reference(hub: RealHub) -> Server:
    """owner's server `ref`, which is JupyterHub's HubOAuth, shared with friend."""
    server = hub.start("owner", "ref")
    hub.api("POST", "shares/owner/ref", json={"user": "friend"})
    return server


@pytest.fixture(scope="session")
def stripped(hub: RealHub) -> Server:
    """owner's server whose app is at /."""
    return hub.start("owner", "strip")


@pytest.fixture(scope="session")
def owner_token(hub: RealHub) -> str:
    return hub.make_token("owner")[0]


@pytest.fixture
def browser(hub: RealHub) -> Iterator[Browser]:
    """Nobody's browser, yet."""
    with Browser(hub) as made:
        yield made


@pytest.fixture(scope="session")
def people(hub: RealHub, lab: Server, reference: Server) -> Iterator[dict[str, Browser]]:
    """Browsers that have visited both servers; `nobody` has logged in nowhere."""
    with ExitStack() as stack:
        made = {}
        for user in ("owner", "admin", "friend", "other", "nobody"):
            made[user] = stack.enter_context(Browser(hub))
            if user != "nobody":
                made[user].log_in(user)
            for server in (lab, reference):
                made[user].visit(urljoin(hub.url, server.prefix))
        yield made


@dataclass
class Gateway:
    """A gateway that a test has started itself, without an app unless it starts one."""

    process: subprocess.Popen[bytes]
    url: str
    app_port: int
    log: Path

    @property
    def root(self) -> str:
        return self.url.partition("/user/")[0]


StartGateway = Callable[..., AbstractContextManager[Gateway]]


@pytest.fixture
def start_gateway(tmp_path: Path, lab: Server) -> StartGateway:
    """Start a gateway in the environment of owner's `lab`, with other values where given."""

    @contextmanager
    def start(kind: dict[str, Any] | None = None, **env: str) -> Iterator[Gateway]:
        port, app_port = processes.free_port(), processes.free_port()
        made = ServerKind("test", **{"port": app_port} | (kind or {})).to_json()
        temporary = tmp_path / "tmp"
        temporary.mkdir(exist_ok=True)
        given = lab.env | {KIND_ENV: made, "KALE_GATEWAY_PORT": str(port)}
        given |= {"TMPDIR": str(temporary)} | env
        argv = [sys.executable, "-m", "kale_spawner.gateway"]
        log = tmp_path / "gateway.log"
        with processes.running(argv, given, log) as process:
            prefix = given["JUPYTERHUB_SERVICE_PREFIX"]
            until(lambda: process.poll() is not None or listening(port), "the gateway listens")
            yield Gateway(process, f"http://127.0.0.1:{port}{prefix}", app_port, log)

    return start


@contextmanager
def backend(port: int, root: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The test app under that root; it may not answer yet."""
    argv = [sys.executable, "-m", "tests.gateway.backend", str(port), root]
    with processes.running(argv, os.environ, log) as process:
        yield process
