"""A demo of its own, as `make demo` makes it, and Chromium in front of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from demo.__main__ import PORTS_ABOVE
from setup.system import RefusedError, need_port

NAME = "browser"
UP_LIMIT = 1800
"""Seconds, for a machine that has to build everything first."""


@dataclass(frozen=True)
class Demo:
    url: str
    password: str
    output: str


def demo_command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.run(
        [sys.executable, "-m", "demo", *words],
        env=environment | {"DEMO": NAME} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=UP_LIMIT,
    )


def free_port() -> str:
    """Below those that the system hands out, so that nobody takes it, or its next, meanwhile."""
    for port in range(20_000, 30_000, 100):
        with contextlib.suppress(RefusedError):
            return str(need_port(str(port), also=PORTS_ABOVE))
    raise AssertionError("no free port")


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    demo_command("down")
    port = free_port()
    up = demo_command("up", PORT=port)
    assert up.returncode == 0, up.stdout
    password = re.search(r"Password\s+(\S+)", up.stdout)
    assert password, up.stdout
    yield Demo(f"http://127.0.0.1:{port}", password[1], up.stdout)
    if not request.config.getoption("--keep"):
        down = demo_command("down")
        assert down.returncode == 0, down.stdout


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A fresh browser context; a failing test leaves a screenshot in its tmp_path."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    yield page
    page.screenshot(path=str(tmp_path / "last.png"))
    context.close()
