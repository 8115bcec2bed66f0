"""A newcomer's path: log in, choose, work, stop, come back with another app to the same files."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.browser.conftest import Demo

START = 120_000
"""Milliseconds for a server to start on a busy machine."""


def log_in(page: Page, demo: Demo, name: str) -> None:
    page.goto(f"{demo.url}/hub/login")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(demo.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/(home|spawn)"), wait_until="commit")


def choose(page: Page, demo: Demo, profile: str) -> None:
    page.goto(f"{demo.url}/hub/spawn")
    page.locator(f'input[name="profile"][value="{profile}"]').check()


def start(page: Page, ends_at: str) -> list[str]:
    """Press Start and follow the progress page to the app; return what the hub told meanwhile."""
    told: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.text.startswith("told "):
            told.append(json.loads(message.text[5:])["message"])

    page.on("console", listen)
    page.add_init_script("""
        const Source = window.EventSource;
        window.EventSource = function (...words) {
          const source = new Source(...words);
          source.addEventListener("message", (event) => console.log("told " + event.data));
          return source;
        };""")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(ends_at), wait_until="commit", timeout=START)
    page.remove_listener("console", listen)
    return told


def stop(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/hub/home")
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text(re.compile("Start My Server"), timeout=START)


def run_in_jupyter(page: Page, base: str, code: str) -> str:
    """Run `code` in a kernel of the server, over a WebSocket from the page itself."""
    return page.evaluate(
        """async ([base, code]) => {
          const xsrf = (document.cookie.match(/(?:^|; )_xsrf=([^;]*)/) || [])[1] || "";
          const made = await fetch(base + "api/kernels",
            {method: "POST", headers: {"X-XSRFToken": xsrf}, body: "{}"});
          const kernel = await made.json();
          const ws = new WebSocket(
            base.replace(/^http/, "ws") + "api/kernels/" + kernel.id + "/channels");
          await new Promise((done, fail) => { ws.onopen = done; ws.onerror = fail; });
          const id = "m" + Date.now();
          ws.send(JSON.stringify({channel: "shell", parent_header: {}, metadata: {}, buffers: [],
            header: {msg_id: id, msg_type: "execute_request", username: "", session: "s",
                     version: "5.3", date: new Date().toISOString()},
            content: {code: code, silent: false, store_history: false, user_expressions: {},
                      allow_stdin: false, stop_on_error: true}}));
          let out = "";
          await new Promise((done, fail) => {
            setTimeout(() => fail(new Error("the kernel did not answer: " + out)), 60000);
            ws.onmessage = (event) => {
              const message = JSON.parse(event.data);
              if (message.parent_header.msg_id !== id) return;
              if (message.msg_type === "stream") out += message.content.text;
              if (message.msg_type === "error") out += message.content.traceback.join("\\n");
              if (message.msg_type === "status" && message.content.execution_state === "idle")
                done();
            };
          });
          ws.close();
          return out;
        }""",
        [base, code],
    )


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
    said = run_in_jupyter(
        page,
        f"{demo.url}/user/ada/",
        "import kale, pathlib, os\n"
        "pathlib.Path.home().joinpath('notes.txt').write_text('from JupyterLab')\n"
        "pathlib.Path('/home/jovyan/measurements/one.txt').write_text('1')\n"
        "print(kale.__name__, os.environ['HOME'], os.environ.get('JUPYTERHUB_API_TOKEN'))",
    )
    assert said.strip() == "kale /home/jovyan None"

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
    page.keyboard.type("python3 -c 'import kale; print(kale.__name__)' > from-code.txt; ls me*\n")
    expect(page.get_by_role("treeitem", name=re.compile("from-code.txt"))).to_be_visible()
    page.get_by_role("treeitem", name=re.compile("from-code.txt")).dblclick()
    expect(page.locator(".view-lines").filter(has_text="kale")).to_be_visible(timeout=START)

    stop(page, demo)
    page.goto(f"{demo.url}/hub/spawn")
    assert page.locator('input[name="profile"][value="vscode-kale"]').is_checked()
    choose(page, demo, "jupyter-kale")
    start(page, r"/user/ada/lab")
    said = run_in_jupyter(
        page,
        f"{demo.url}/user/ada/",
        "print(open('/home/jovyan/from-code.txt').read(), "
        "open('/home/jovyan/measurements/one.txt').read())",
    )
    assert said.split() == ["kale", "1"]
    stop(page, demo)


def test_another_user_is_kept_out(page: Page, demo: Demo):
    log_in(page, demo, "eve")
    page.goto(f"{demo.url}/hub/spawn")
    assert "ada" not in page.content()
    answer = page.goto(f"{demo.url}/user/ada/lab")
    assert answer is not None and answer.status in {403, 404, 424, 503}


def test_a_bad_body_is_answered_with_the_name_of_the_field(page: Page, demo: Demo):
    log_in(page, demo, "ida")
    page.goto(f"{demo.url}/hub/token")
    page.get_by_role("button", name=re.compile("Request new API token")).click()
    shown = page.locator("#token-result")
    expect(shown).to_have_text(re.compile(r"\S{20,}"))
    token = shown.inner_text().strip()
    request = urllib.request.Request(
        f"{demo.url}/hub/api/users/ida/server",
        method="POST",
        headers={"Authorization": f"token {token}"},
        data=json.dumps({"data_volumes": [{"source": "new", "size": "0", "mount": "/x"}]}).encode(),
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        assert answer.code == 400
        assert "data_volumes.0.size" in answer.read().decode()
