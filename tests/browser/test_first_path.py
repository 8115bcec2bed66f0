"""A newcomer's path: log in, choose, work, stop, come back with another app to the same files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.request

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from demo import hub
from tests.browser.conftest import NAME, Demo, demo_command
from tests.browser.steps import START, choose, contents, log_in, start, stop


def by_token(page: Page, demo: Demo, path: str, body: object) -> urllib.request.Request:
    """A POST as a script of the user's makes it, with a new API token and no cookie."""
    page.goto(f"{demo.url}/hub/token", wait_until="networkidle")
    shown = page.locator("#token-result")
    for _ in range(5):
        # Until the page's script is there, the button only loads the page again.
        page.get_by_role("button", name=re.compile("Request new API token")).click()
        with contextlib.suppress(AssertionError):
            expect(shown).to_have_text(re.compile(r"\S{20,}"))
            break
    return urllib.request.Request(
        f"{demo.url}{path}",
        method="POST",
        headers={"Authorization": f"token {shown.inner_text().strip()}"},
        data=json.dumps(body).encode(),
    )


def run_in_notebook(page: Page, code: str, says: str) -> None:
    """Run one line of code in a new notebook, as a user does, once its kernel is there.

    Kale asks for experiments, and there is no pipeline API here: it opens an error dialog, which no
    setting of its own avoids (kubeflow/kale issue 883).
    """
    page.locator(".jp-LauncherCard", has_text="Python 3").first.click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START)
    kale_says = page.locator(".jp-Dialog, [role=dialog]", has_text="kale.log")
    kale_says.wait_for()
    kale_says.get_by_role("button", name="Close").click()
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    expect(cell).to_be_visible()
    cell.click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_have_text(says, timeout=START)


def wait_for_shell(page: Page) -> None:
    """Until its prompt is there, a shell loses some of what is typed: so try till it obeys."""
    sign = page.get_by_role("treeitem", name=re.compile("shell-obeys"))
    for _ in range(10):
        page.keyboard.type("touch shell-obeys\n", delay=20)
        with contextlib.suppress(PlaywrightTimeoutError):
            sign.wait_for(timeout=5_000)
            return
    raise AssertionError("the shell in the terminal takes no command")


def test_the_demo_says_what_it_does_and_how_to_log_in(demo: Demo):
    assert "Log in as" in demo.output
    steps = [line for line in demo.output.splitlines() if line.startswith("+ ")]
    assert steps and all(re.search(r", \d+\.\d s$", line) for line in steps)


def test_a_wrong_password_is_refused(page: Page, demo: Demo):
    page.goto(f"{demo.url}/hub/login")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill("not it")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Invalid username or password")).to_be_visible()


def test_jupyterlab_then_vs_code_on_the_same_files(page: Page, demo: Demo):
    log_in(page, demo, "ada")
    choose(page, demo, "jupyter-kale")
    assert page.locator('input[name="workspace.name"]').input_value() == "ada-workspace"
    assert page.locator('input[name="workspace.mount"]').input_value() == "/home/jovyan"
    page.locator("#kale-volumes > summary").click()
    page.locator("#kale-add").click()
    row = page.locator('[data-volume="data_volumes.0"]')
    row.locator('input[name="data_volumes.0.size"]').fill("2")
    row.locator('input[name="data_volumes.0.mount"]').fill("/home/jovyan/measurements")
    told = start(page, r"/user/ada/lab")
    for word in ("was made", "will run the server", "attached", "image", "starting"):
        assert any(word in line.lower() for line in told), (word, told)

    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=START)
    expect(page.locator('[data-id="jupyterlab-kubeflow-kale/kubeflowDeployment"]')).to_be_visible()
    run_in_notebook(
        page,
        "import kale, os; open('/home/jovyan/notes.txt', 'w').write('from JupyterLab'); "
        "open('/home/jovyan/measurements/one.txt', 'w').write('1'); "
        "print(kale.__name__, os.environ['HOME'], os.environ.get('JUPYTERHUB_API_TOKEN'))",
        says="kale /home/jovyan None",
    )

    stop(page, demo)
    choose(page, demo, "vscode-kale")
    start(page, r"/user/ada/")
    expect(page.locator(".monaco-workbench")).to_be_visible(timeout=START)
    expect(page.get_by_role("treeitem", name=re.compile("notes.txt"))).to_be_visible(timeout=START)
    page.get_by_role("treeitem", name=re.compile("notes.txt")).dblclick()
    expect(page.locator(".view-lines").filter(has_text="from JupyterLab")).to_be_visible()
    page.keyboard.press("Control+Backquote")
    expect(page.locator(".terminal.xterm")).to_be_visible(timeout=START)
    page.locator(".terminal.xterm").click()
    expect(page.locator(".terminal-wrapper.active")).to_be_visible()
    wait_for_shell(page)
    page.keyboard.type(
        "python3 -c 'import kale; print(kale.__name__)' > from-code.txt; ls me*\n", delay=20
    )
    expect(page.get_by_role("treeitem", name=re.compile("from-code.txt"))).to_be_visible()
    page.get_by_role("treeitem", name=re.compile("from-code.txt")).dblclick()
    expect(page.locator(".view-lines").filter(has_text="kale")).to_be_visible(timeout=START)

    stop(page, demo)
    page.goto(f"{demo.url}/hub/spawn")
    assert page.locator('input[name="profile"][value="vscode-kale"]').is_checked()
    choose(page, demo, "jupyter-kale")
    start(page, r"/user/ada/lab")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=START)
    assert contents(page, "ada", "from-code.txt").strip() == "kale"
    assert contents(page, "ada", "measurements/one.txt") == "1"
    request = by_token(page, demo, "/user/ada/api/contents", {"type": "directory"})
    with urllib.request.urlopen(request, timeout=30) as made:
        assert made.status == 201, "a token stands in for Jupyter's XSRF check"
    stop(page, demo)


def test_another_user_is_kept_out(page: Page, demo: Demo):
    log_in(page, demo, "eve")
    page.goto(f"{demo.url}/hub/spawn")
    assert "ada" not in page.content()
    answer = page.goto(f"{demo.url}/user/ada/lab")
    assert answer is not None and answer.status in {403, 404, 424, 503}


def test_a_bad_body_is_answered_with_the_name_of_the_field(page: Page, demo: Demo):
    log_in(page, demo, "ida")
    body = {"data_volumes": [{"source": "new", "size": "0", "mount": "/x"}]}
    request = by_token(page, demo, "/hub/api/users/ida/server", body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        assert answer.code == 400
        assert "data_volumes.0.size" in answer.read().decode()


def test_a_hub_that_was_killed_comes_back_as_it_was(page: Page, demo: Demo):
    os.kill(hub.find(NAME).pid, signal.SIGKILL)
    again = demo_command("up", PORT=demo.url.rpartition(":")[2])
    assert again.returncode == 0, again.stdout
    assert demo.password in again.stdout
    steps = [line for line in again.stdout.splitlines() if line.startswith("+ ")]
    assert not any("image" in step for step in steps), "the cluster has them already"
    log_in(page, demo, "ada")
    page.goto(f"{demo.url}/hub/spawn")
    assert page.locator('input[name="profile"][value="jupyter-kale"]').is_checked()
