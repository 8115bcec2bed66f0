"""What users do again and again: log in, choose, start, stop, write and read files."""

from __future__ import annotations

import json
import re

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


def write(page: Page, path: str, content: str) -> None:
    """As JupyterLab, which the page shows, saves a file."""
    settings = page.locator("#jupyter-config-data")
    settings.wait_for(state="attached")
    status = settings.evaluate(
        """async (element, [path, content]) => {
          const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
          const answer = await fetch(`${JSON.parse(element.textContent).baseUrl}api/contents/${path}`, {
            method: "PUT",
            headers: { "Content-Type": "application/json", "X-XSRFToken": token },
            body: JSON.stringify({ type: "file", format: "text", content }),
          });
          return answer.status;
        }""",
        [path, content],
    )
    assert status in (200, 201), status


def contents(page: Page, user: str, path: str) -> str:
    """What Jupyter's own server says is in the file; user: "ada", or "ada/lab" for server lab."""
    answer = page.request.get(page.url.split("/user/")[0] + f"/user/{user}/api/contents/{path}")
    assert answer.ok, answer.text()
    return str(answer.json()["content"])
