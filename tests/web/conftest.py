"""A real hub in front of a real API server, which needs no machine to run pods on."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubespawner.slugs import is_valid_label, safe_slug
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as BrowserPage

from kale_spawner.wire import COMPONENT_LABEL, STORAGE_COMPONENT, USERNAME_LABEL
from tests.web.browserless import Visitor

ROOT = Path(__file__).parents[2]
PASSWORD = "a password"
START_LIMIT = 60.0


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    """The cluster of KUBECONFIG, else the control plane of one of our own."""
    if own := os.environ.get("KUBECONFIG"):
        yield own
        return
    import localcluster

    yield localcluster.up("web", control_plane_only=True).kubeconfig
    localcluster.down("web")


@dataclass(frozen=True)
class Cluster:
    """A namespace of its own on the API server."""

    kubeconfig: str
    core: client.CoreV1Api
    namespace: str

    def claim(self, name: str, user: str, size: str = "10Gi") -> None:
        """A claim as a start of this user's made it."""
        label = safe_slug(user, is_valid=is_valid_label)
        body = {
            "metadata": {
                "name": name,
                "labels": {COMPONENT_LABEL: STORAGE_COMPONENT, USERNAME_LABEL: label},
                "annotations": {USERNAME_LABEL: user},
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "rok-csi",
                "resources": {"requests": {"storage": size}},
            },
        }
        self.core.create_namespaced_persistent_volume_claim(self.namespace, body)

    def claims(self) -> dict[str, str]:
        found = self.core.list_namespaced_persistent_volume_claim(self.namespace).items
        return {each.metadata.name: each.spec.resources.requests["storage"] for each in found}

    def pods(self) -> list[str]:
        return [each.metadata.name for each in self.core.list_namespaced_pod(self.namespace).items]

    def clear(self) -> None:
        """Take away all pods and claims, also where no controller lets go of claims."""
        for pod in self.pods():
            _but(404, partial(self.core.delete_namespaced_pod, pod, self.namespace))
        for name in self.claims():
            _but(404, partial(self.forget, name))

    def forget(self, name: str) -> None:
        """Take away a claim, which no controller does."""
        free = {"metadata": {"finalizers": None}}
        self.core.delete_namespaced_persistent_volume_claim(name, self.namespace)
        self.core.patch_namespaced_persistent_volume_claim(name, self.namespace, free)


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Iterator[Cluster]:
    with made_namespace(kubeconfig) as made:
        yield made


@contextmanager
def made_namespace(kubeconfig: str) -> Iterator[Cluster]:
    api = config.new_client_from_config(kubeconfig)
    core, namespace = client.CoreV1Api(api), f"web-{secrets.token_hex(4)}"
    core.create_namespace({"metadata": {"name": namespace}})
    _but(
        409,
        lambda: core.create_namespaced_service_account(
            namespace, {"metadata": {"name": "default"}}
        ),
    )
    _but(
        409,
        lambda: client.StorageV1Api(api).create_storage_class(
            {"metadata": {"name": "rok-csi"}, "provisioner": "rok.arrikto.com"}
        ),
    )
    with api:
        yield Cluster(kubeconfig, core, namespace)
        core.delete_namespace(namespace)


def _but(status: int, call: Callable[[], object]) -> None:
    """Call it; this answer is as good as done."""
    try:
        call()
    except ApiException as exc:
        if exc.status != status:
            raise


@dataclass(frozen=True)
class Hub:
    url: str
    token: str
    """Of an administrator's service."""
    process: subprocess.Popen[bytes]

    def visitor(self, name: str) -> Visitor:
        """A browser without JavaScript, logged in as `name`."""
        visitor = Visitor(self.url)
        visitor.log_in(name, PASSWORD)
        return visitor


StartHub = Callable[[str], Hub]


@pytest.fixture(scope="session")
def start_hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartHub]:
    """Start a hub with jupyterhub_config.py and these further lines of configuration."""
    with ExitStack() as stack:
        yield lambda lines: stack.enter_context(
            running_hub(cluster, tmp_path_factory.mktemp("hub"), lines)
        )


@pytest.fixture(scope="session")
def hub(start_hub: StartHub) -> Hub:
    """It would end itself after three failures of its own; nobody can make it."""
    return start_hub("c.KaleVolumes.max_size = '50Gi'\nc.Spawner.consecutive_failure_limit = 3")


@contextmanager
def running_hub(
    cluster: Cluster, folder: Path, lines: str, tell: Callable[[str], object] = print
) -> Iterator[Hub]:
    """tell: takes the hub's log when it has ended."""
    port, token = _free_port(), secrets.token_hex(16)
    settings = folder / "config.py"
    settings.write_text(
        f"load_subconfig({str(ROOT / 'jupyterhub_config.py')!r})\n"
        "c.JupyterHub.load_roles = [{'name': 'tests', 'scopes': ['admin:users', 'admin:servers', "
        "'tokens'], 'services': ['test']}]\n"
        f"c.JupyterHub.services = [{{'name': 'test', 'api_token': {token!r}}}]\n"
        f"{lines}\n"
    )
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": cluster.kubeconfig,
        "KALE_NAMESPACE": cluster.namespace,
        "KALE_IMAGES_TAG": "test",
        "KALE_GATEWAY_IMAGE": "localhost/gateway:test",
        "KALE_HUB_BIND_URL": f"http://127.0.0.1:{port}",
        "KALE_HUB_STATE": str(folder),
        "KALE_HUB_PASSWORD": PASSWORD,
        "PYTHONPATH": str(ROOT),
    }
    log = folder / "hub.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(settings)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _until_it_answers(process, f"http://127.0.0.1:{port}/hub/health", log)
        yield Hub(f"http://127.0.0.1:{port}", token, process)
    finally:
        process.terminate()
        process.wait(30)
        tell(f"--- {log}\n{log.read_text()[-20000:]}")


def _until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the hub did not start:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    """A port with the two that jupyterhub_config.py puts beside it."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for beside in (port + 1, port + 81):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", beside))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[BrowserPage]:
    """A page that fails the test when a script in it does."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(5000)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield page
    context.close()
    assert broken == []
