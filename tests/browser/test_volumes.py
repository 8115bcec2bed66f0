"""The Volumes page on the real demo: every deed from the page, every byte read back in a server."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

import localcluster
from tests.browser.conftest import NAME, Demo
from tests.browser.steps import START, choose, contents, log_in, start, stop, write

LAB = "/lab(/|\\?|$)"


def spawn_with_data(page: Page, demo: Demo) -> None:
    """A first server: its workspace, and a data volume of 1 GiB at ~/data."""
    choose(page, demo, "jupyter-kale")
    page.locator("#kale-volumes > summary").click()
    page.locator("#kale-add").click()
    page.locator('input[name="data_volumes.0.size"]').fill("1")
    page.locator('input[name="data_volumes.0.mount"]').fill("/home/jovyan/data")
    start(page, LAB)


def volumes_page(page: Page, demo: Demo, tab: str = "Volumes") -> None:
    page.goto(f"{demo.url}/hub/volumes")
    open_tab(page, tab)


def open_tab(page: Page, title: str) -> None:
    page.get_by_role("tab", name=re.compile(f"^{title} [0-9]")).click()


def row(page: Page, name: str | re.Pattern[str]) -> Locator:
    exact = isinstance(name, str)
    return page.locator("#kv-lists tr", has=page.get_by_role("rowheader", name=name, exact=exact))


def menu(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Actions for {name}", exact=True).click()


def ask(page: Page, name: str, item: str) -> Locator:
    """The question that an action of a row asks."""
    menu(page, name)
    page.get_by_role("menuitem", name=item).click()
    return page.get_by_role("dialog")


def agree(dialog: Locator, button: str) -> None:
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_be_hidden(timeout=START)


def see_it_start(page: Page, ends_at: str) -> None:
    page.locator("#kv-news").get_by_role("link", name="See it start").click()
    page.wait_for_url(re.compile(ends_at), wait_until="commit", timeout=START)


def fill(pod: str, folder: str) -> None:
    """Until not one block is free there."""
    kubeconfig = Path(localcluster.status(NAME).kubeconfig)
    kubectl = [kubeconfig.parent / "bin" / "kubectl", "--kubeconfig", kubeconfig]
    sizes = ("1M", "4k")
    fill = "; ".join(f"dd if=/dev/zero of={folder}/fill-{each} bs={each}" for each in sizes)
    subprocess.run([*kubectl, "exec", pod, "--", "sh", "-c", f"{fill}; sync"], check=True)


def test_a_whole_server_comes_back_as_it_was(page: Page, demo: Demo) -> None:
    old = {"notes.txt": "of monday", "data/one.txt": secrets.token_hex(50_000)}
    log_in(page, demo, "vera")
    spawn_with_data(page, demo)
    for path, content in old.items():
        write(page, path, content)

    volumes_page(page, demo, "Whole-server snapshots")
    page.get_by_role("button", name="Take a snapshot of a whole server").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Keeps all volumes of the default server")
    dialog.get_by_label("Name of the snapshot").fill("monday")
    agree(dialog, "Take snapshot")
    expect(row(page, "monday")).to_contain_text("Ready", timeout=START)
    expect(row(page, "monday")).to_contain_text("vera-workspace, vera-data-1")

    page.goto(f"{demo.url}/user/vera/lab")
    for path in old:
        write(page, path, "of tuesday")
        assert contents(page, "vera", path) == "of tuesday"

    volumes_page(page, demo, "Whole-server snapshots")
    dialog = ask(page, "monday", "Restore")
    dialog.get_by_label("Restore", exact=True).select_option("over")
    expect(dialog).to_contain_text("The default server is running: stop it first.")
    dialog.get_by_role("button", name="Restore and start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("is running. Stop it first.")

    stop(page, demo)
    volumes_page(page, demo, "Whole-server snapshots")
    dialog = ask(page, "monday", "Restore")
    dialog.get_by_label("Restore", exact=True).select_option("over")
    expect(dialog).to_contain_text(re.compile(r"called vera-workspace-r\d+-\d+ and vera-data-1-r"))
    agree(dialog, "Restore and start")
    see_it_start(page, f"/user/vera{LAB}")
    assert {path: contents(page, "vera", path) for path in old} == old

    volumes_page(page, demo)
    expect(row(page, "vera-workspace")).not_to_contain_text("The default server")
    restored = row(page, re.compile("^vera-data-1-r"))
    expect(restored).to_contain_text("The default server")
    expect(restored).to_contain_text(re.compile("vera-data-1, of today .* from snapshot monday"))

    open_tab(page, "Whole-server snapshots")
    dialog = ask(page, "monday", "Restore")
    dialog.get_by_label("Name of the new server").fill("copy")
    expect(dialog).to_contain_text("called vera--copy-workspace and vera--copy-data-1.")
    agree(dialog, "Restore and start")
    see_it_start(page, f"/user/vera/copy{LAB}")
    assert {path: contents(page, "vera/copy", path) for path in old} == old

    volumes_page(page, demo, "Whole-server snapshots")
    agree(ask(page, "monday", "Delete"), "Delete whole-server snapshot")
    expect(row(page, "monday")).to_have_count(0, timeout=START)
    open_tab(page, "Volumes")
    expect(row(page, "vera--copy-workspace")).to_contain_text("Ready")


def test_volumes_are_cloned_grown_and_deleted_with_nothing_lost(page: Page, demo: Demo) -> None:
    content = secrets.token_hex(50_000)
    log_in(page, demo, "walt")
    spawn_with_data(page, demo)
    write(page, "data/one.txt", content)

    volumes_page(page, demo)
    expect(row(page, "walt-data-1")).to_contain_text("MiB used", timeout=START)
    dialog = ask(page, "walt-data-1", "Grow")
    dialog.get_by_label("New size").fill("0.5")
    dialog.get_by_role("button", name="Grow", exact=True).click()
    expect(dialog).to_contain_text("0.5 GiB is less than it has (1 GiB)")
    dialog.get_by_label("New size").fill("2")
    agree(dialog, "Grow")
    expect(page.locator("#kv-news")).to_contain_text("has grown to 2 GiB", timeout=START)
    expect(row(page, "walt-data-1")).to_contain_text("2 GiB")

    agree(ask(page, "walt-data-1", "Clone"), "Clone")
    expect(row(page, "walt-data-1-clone")).to_contain_text("Made when a server first mounts it")
    expect(row(page, "walt-data-1-clone")).to_contain_text("Clone of walt-data-1")

    menu(page, "walt-data-1")
    delete = page.get_by_role("menuitem", name="Delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(delete).to_contain_text("Mounted by the default server: stop it first, then delete.")
    page.keyboard.press("Escape")

    menu(page, "walt-data-1-clone")
    page.get_by_role("menuitem", name="Start a server “lab” with it").click()
    expect(page.locator("#kale-from-link")).to_contain_text("For server lab")
    mount = page.locator('input[name="data_volumes.0.mount"]')
    expect(mount).to_be_visible()
    expect(mount).to_have_value("/home/jovyan/data")
    start(page, f"/user/walt/lab{LAB}")
    assert contents(page, "walt/lab", "data/one.txt") == content

    stop(page, demo)
    volumes_page(page, demo)
    expect(row(page, "walt-data-1-clone")).to_contain_text("Clone of walt-data-1, of today")
    dialog = ask(page, "walt-data-1", "Delete")
    expect(dialog.get_by_label("Take a last snapshot of it first")).to_be_checked()
    agree(dialog, "Delete volume")
    expect(row(page, "walt-data-1")).to_have_count(0, timeout=START)
    open_tab(page, "Snapshots")
    last = row(page, re.compile("^walt-data-1-[0-9]"))
    expect(last).to_contain_text("Before a deletion")
    expect(last).to_contain_text("Ready")
    dialog = ask(page, last.get_by_role("rowheader").inner_text(), "Restore")
    dialog.get_by_label("Name of the new volume").fill("walt-again")
    agree(dialog, "Restore")

    open_tab(page, "Volumes")
    menu(page, "walt-again")
    page.get_by_role("menuitem", name="Start a server with it").click()
    mount = page.locator('input[name="data_volumes.0.mount"]').input_value()
    start(page, f"/user/walt{LAB}")
    assert contents(page, "walt", f"{mount.removeprefix('/home/jovyan/')}/one.txt") == content


def test_a_full_volume_is_told_and_grows_at_a_press(page: Page, demo: Demo) -> None:
    log_in(page, demo, "flora")
    choose(page, demo, "jupyter-kale")
    page.locator("#kale-volumes > summary").click()
    page.locator('input[name="workspace.size"]').fill("100")
    page.locator('select[name="workspace.size_unit"]').select_option("Mi")
    start(page, LAB)
    write(page, "notes.txt", "kept")
    fill("jupyter-flora", "/home/jovyan")
    stop(page, demo)

    choose(page, demo, "jupyter-kale")
    page.get_by_role("button", name="Start").click()
    failed = page.get_by_text('Spawn failed: Volume "flora-workspace" is full').first
    expect(failed).to_be_visible(timeout=START)

    choose(page, demo, "jupyter-kale")
    expect(page.locator("#kale-full-volume")).to_contain_text("flora-workspace was full")
    expect(page.locator('input[name="workspace.grow"]')).to_have_value("150")
    told = start(page, LAB)
    assert any("flora-workspace" in line and "grow" in line for line in told), told
    assert contents(page, "flora", "notes.txt") == "kept"
