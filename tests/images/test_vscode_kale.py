"""vscode-kale: code-server for a person, whose extensions and settings outlive the server."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.gateway.processes import until


def _extension(path: Path) -> None:
    """The smallest extension there is."""
    manifest = {
        "name": "small",
        "publisher": "kale-test",
        "version": "1.2.3",
        "engines": {"vscode": "^1.0.0"},
    }
    with zipfile.ZipFile(path, "w") as vsix:
        vsix.writestr("extension/package.json", json.dumps(manifest))
        vsix.writestr(
            "extension.vsixmanifest",
            '<PackageManifest Version="2.0.0"'
            ' xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011"><Metadata>'
            '<Identity Language="en-US" Id="small" Version="1.2.3" Publisher="kale-test"/>'
            "</Metadata><Installation><InstallationTarget"
            ' Id="Microsoft.VisualStudio.Code"/></Installation></PackageManifest>',
        )


@pytest.fixture(scope="module")
def home(volume):
    path = volume()
    (path / ".bashrc").write_text("# my own\n")
    return path


@pytest.fixture(scope="module")
def server(image, start, home):
    container = start(image("vscode-kale"), home, NB_PREFIX="/user/a/", NOTEBOOK_HOST="127.0.0.1")
    container.wait("/healthz")
    return container


def test_is_healthy_and_binds_to_the_host_it_is_told(server):
    health = json.loads(server.get("/healthz").text)
    assert set(health) == {"status", "lastHeartbeat"}
    assert server.listens_on() == {"127.0.0.1"}


def test_opens_the_home_without_a_log_in(server):
    first = server.get("/")
    assert first.status == 302
    assert first.headers["Location"].endswith("?folder=/home/jovyan")
    page = server.get("/?folder=/home/jovyan")
    assert page.status == 200
    assert "vscode-workbench-web-configuration" in page.text


def test_activity_is_requests_and_open_connections(image, start, volume):
    """Not the question itself. An open connection is use to code-server, whatever comes over it:
    its heart beats again a minute after the last beat."""
    fresh = start(image("vscode-kale"), volume())
    fresh.wait("/healthz")
    assert fresh.last_activity("code-server") is None
    assert fresh.stays_unused("code-server")
    began = datetime.now(UTC)
    assert fresh.get("/").status == 302
    first = fresh.last_activity("code-server")
    assert first >= began - timedelta(milliseconds=1)
    assert fresh.stays_unused("code-server")
    with fresh.open_connection():
        until(lambda: fresh.last_activity("code-server") > first, "the heart beats again", 90)
    again = fresh.last_activity("code-server")
    assert timedelta(seconds=59) < again - first < timedelta(seconds=65)


def test_an_empty_home_gets_the_images_files_and_keeps_its_own(server, home):
    assert (home / ".bashrc").read_text() == "# my own\n"
    settings = json.loads((home / ".local/share/code-server/User/settings.json").read_text())
    assert settings["security.workspace.trust.enabled"] is False


def test_python_has_kale(server):
    shown = server.run("bash", "-lc", "python -c 'import kale; print(kale.__version__)'")
    assert shown.strip() == "2.3.0"


def test_native_parts_find_their_libraries(server):
    found = "find /opt/code-server -name '*.node' -exec ldd {} +"
    assert "not found" not in server.run("bash", "-c", found)
    # Kerberos opens this one by its name.
    assert "libgssapi_krb5.so.2" in server.run("/sbin/ldconfig", "-p")


def test_extensions_and_settings_last_and_sigterm_is_obeyed(server, image, start, home):
    _extension(home / "small.vsix")
    server.run("code-server", "--install-extension", "/home/jovyan/small.vsix")
    settings = home / ".local/share/code-server/User/settings.json"
    settings.write_text('{"editor.fontSize": 20}')
    assert server.stop() < 5

    again = start(image("vscode-kale"), home)
    again.wait("/healthz")
    assert again.listens_on() == {"0.0.0.0"}
    listed = again.run("code-server", "--list-extensions", "--show-versions")
    assert "kale-test.small@1.2.3" in listed.split()
    assert settings.read_text() == '{"editor.fontSize": 20}'
