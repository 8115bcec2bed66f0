"""The Volumes page of a real hub in Chromium, before a storage API that can refuse, hang and drop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jupyterhub.handlers.pages import SpawnHandler
from playwright.sync_api import Locator, Page, expect

from tests.web.conftest import PASSWORD, Cluster, Hub, StartHub
from tests.web.storage import FakeStorage, ago, realistic, snapshot, snapshot_set, volume

HOSTILE = '</script><img src=x onerror="window.bad=1">{{7*7}}'
OPT = "opt-" if hasattr(SpawnHandler, "_get_user_options") else ""


_known: dict[tuple[str, str], Any] = {}
"""Cookies of those who logged in before: a log-in is what takes longest."""


def log_in(page: Page, hub: Hub, user: str = "ann") -> None:
    if cookies := _known.get((hub.url, user)):
        page.context.add_cookies(cookies)
        return
    page.goto(f"{hub.url}/hub/login")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/spawn"))
    _known[hub.url, user] = page.context.cookies()


@pytest.fixture
def storage(page: Page) -> FakeStorage:
    return FakeStorage(page)


@pytest.fixture
def opened(page: Page, hub: Hub, storage: FakeStorage) -> Iterator[Page]:
    """The page with volume data-1, a snapshot of it, and a whole-server snapshot."""
    storage.state |= {
        "volumes": [volume("data-1"), volume("w", servers=["lab"], mount="/home/jovyan")],
        "snapshots": [snapshot("data-1-old", "data-1")],
        "sets": [snapshot_set("lab-friday", "lab", ["w"])],
        "servers": [
            {"name": "", "running": False, "volumes": ["data-1"]},
            {"name": "lab", "running": True, "volumes": ["data-1"]},
        ],
    }
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    expect(row(page, "data-1")).to_be_visible()
    yield page
    assert page.evaluate("window.bad") is None


def row(page: Page, name: str) -> Locator:
    return page.locator("#kv-lists tr", has=page.get_by_role("rowheader", name=name, exact=True))


def more(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=f"Actions for {name}", exact=True)


def by_keyboard(page: Page, name: str, item: str) -> None:
    """Open a row's menu and take one thing from it, without a pointer."""
    more(page, name).focus()
    page.keyboard.press("Enter")
    for _ in range(6):
        if item in page.evaluate("document.activeElement.textContent"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def tab(page: Page, title: str) -> Locator:
    return page.get_by_role("tab", name=re.compile(f"^{title} "))


def news(page: Page) -> Locator:
    return page.locator("#kv-news")


# --- the hub's side ---


def test_the_tab_stands_beside_home_and_token(hub: Hub, page: Page) -> None:
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/home")
    links = page.locator("#thenavbar .nav-link")
    assert [each.strip() for each in links.all_inner_texts()[:3]] == ["Home", "Token", "Volumes"]
    page.get_by_role("link", name="Volumes").click()
    expect(page).to_have_url(re.compile("/hub/volumes"))
    expect(page.get_by_role("link", name="Volumes")).to_have_attribute("aria-current", "page")
    expect(page.get_by_role("heading", name="Volumes", level=1)).to_be_visible()


def test_only_administrators_see_others(hub: Hub) -> None:
    ann, admin = hub.visitor("ann"), hub.visitor("admin")
    assert ann.get("/hub/volumes/ann").status == 200
    assert ann.get("/hub/volumes/admin").status in (403, 404)
    assert ann.get("/hub/volumes/nobody").status in (403, 404)
    shown = admin.get("/hub/volumes/ann")
    assert shown.status == 200
    assert "<title>Volumes of ann</title>" in shown.text
    assert admin.get("/hub/volumes/nobody").status == 404


def test_files_are_kept_by_browsers_and_leave_no_folder(hub: Hub) -> None:
    visitor = hub.visitor("ann")
    page = visitor.get("/hub/volumes")
    found = re.search(r'src="(/hub/kale-spawner/[0-9a-f]+/)page.js"', page.text)
    assert found
    script = visitor.get(f"{found[1]}page.js")
    assert script.status == 200
    assert "max-age=315360000" in script.headers["Cache-Control"]
    assert visitor.get("/hub/kale-spawner/0000/page.js").status == 404
    assert visitor.get(f"{found[1]}..%2f..%2fform.py").status in (403, 404)
    assert "no-store" in page.headers["Cache-Control"]


def test_an_administrators_page_wins_and_can_include_the_tab(
    start_hub: StartHub, tmp_path: Any
) -> None:
    (tmp_path / "page.html").write_text(
        '{% extends "templates/page.html" %}{% block nav_bar_left_items %}'
        '{{ super() }}<li id="ours"></li>{% include "kale-volumes-tab.html" %}{% endblock %}'
    )
    hub = start_hub(f"c.JupyterHub.template_paths = [{str(tmp_path)!r}]")
    shown = hub.visitor("ann").get("/hub/volumes").text
    assert shown.index('id="ours"') < shown.index(">Volumes</a>")
    assert shown.count(">Volumes</a>") == 1


def test_without_pages_there_is_neither_page_nor_tab(start_hub: StartHub) -> None:
    visitor = start_hub("c.KaleVolumes.pages = False").visitor("ann")
    assert visitor.get("/hub/volumes").status == 404
    assert ">Volumes</a>" not in visitor.get("/hub/home").text


def test_a_strict_policy_for_scripts_holds(start_hub: StartHub, page: Page) -> None:
    """What is ours needs neither inline scripts nor inline styles."""
    policy = "script-src 'self'; style-src 'self'; img-src 'self' data:"
    hub = start_hub(
        f"c.JupyterHub.tornado_settings = {{'headers': {{'Content-Security-Policy': {policy!r}}}}}"
    )
    storage = FakeStorage(page)
    storage.state["volumes"] = [volume("data-1")]
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    more(page, "data-1").click()
    page.get_by_role("menuitem", name="Clone").click()
    expect(page.get_by_role("dialog", name="Clone data-1")).to_be_visible()


# --- lists ---


def test_an_empty_page_says_what_to_do(page: Page, hub: Hub, storage: FakeStorage) -> None:
    storage.state["snapshots_missing"] = "this cluster cannot take snapshots: no snapshot class"
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    expect(
        page.get_by_text("You have no volumes yet: starting a server makes its workspace.")
    ).to_be_visible()
    expect(page.get_by_role("link", name="Start a server")).to_have_attribute("href", "/hub/spawn")
    expect(tab(page, "Shared")).to_be_hidden()
    tab(page, "Whole-server snapshots").click()
    take = page.get_by_role("button", name="Take a snapshot of a whole server")
    expect(take).to_have_attribute("aria-disabled", "true")
    expect(take).to_have_accessible_description(re.compile("no snapshot class"))
    take.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_rows_say_all_of_a_volume(page: Page, hub: Hub, storage: FakeStorage) -> None:
    storage.state |= realistic()
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    told = row(page, "ann-data-1")
    for words in (
        "Ready",
        "20 GiB",
        "18.9 GiB used, nearly full",
        "The default server and server lab",
        "3 months ago",
    ):
        expect(told).to_contain_text(words)
    expect(row(page, "ann-models")).to_contain_text("50 GiB → 80 GiB")
    expect(row(page, "ann-data-1-clone")).to_contain_text("Clone of ann-data-1, of Tuesday")
    expect(tab(page, "Shared with you")).to_contain_text("2")
    tab(page, "Snapshots").click()
    expect(row(page, "ann-gone-last")).to_contain_text("Before a deletion")
    tab(page, "Whole-server snapshots").click()
    expect(row(page, "before-upgrade")).to_contain_text("At one instant")


def test_what_cannot_be_done_now_says_why(page: Page, hub: Hub, storage: FakeStorage) -> None:
    storage.state |= realistic()
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    more(page, "ann-birds").press("Enter")
    grow = page.get_by_role("menuitem", name="Grow")
    expect(grow).to_have_attribute("aria-disabled", "true")
    expect(grow).to_have_accessible_name(re.compile("rok-old does not allow growth"))
    page.keyboard.press("Escape")
    expect(more(page, "ann-birds")).to_be_focused()
    by_keyboard(page, "ann--lab-workspace", "Delete")
    expect(page.get_by_role("menuitem", name="Delete")).to_contain_text(
        "Mounted by server lab: stop it first"
    )
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_role("menu")).to_be_hidden()
    tab(page, "Snapshots").click()
    more(page, "lab-friday-ann-models").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_contain_text(
        "part of the whole-server snapshot lab-friday"
    )


def test_sorting_and_searching(opened: Page, storage: FakeStorage) -> None:
    storage.changed(
        volumes=[volume("b-2", 5), volume("b-10", 20), volume("a", 9, origin_text="clone of b-2")]
    )
    names = opened.locator("#kv-table-volumes tbody tr:visible th")
    expect(names).to_have_text(["a", "b-2", "b-10"])
    size = opened.get_by_role("columnheader", name="Size")
    size.get_by_role("button").press("Enter")
    expect(size).to_have_attribute("aria-sort", "ascending")
    expect(names).to_have_text(["b-2", "a", "b-10"])
    size.get_by_role("button").press("Enter")
    expect(names).to_have_text(["b-10", "a", "b-2"])
    opened.get_by_label("Search in all lists").fill("B-2")
    expect(names).to_have_text(["a", "b-2"])
    expect(tab(opened, "Volumes")).to_contain_text("2 of 3")
    opened.reload()
    expect(names).to_have_text(["a", "b-2"])
    opened.get_by_label("Search in all lists").fill("zzz")
    expect(opened.get_by_text("Nothing here has that in it.")).to_be_visible()


def test_hostile_names_do_nothing(opened: Page, storage: FakeStorage) -> None:
    storage.changed(
        volumes=[
            volume(
                HOSTILE,
                origin_text=HOSTILE,
                state_text=HOSTILE,
                servers=[HOSTILE],
                why_not_grow=HOSTILE,
                can_grow=False,
            )
        ],
        snapshots=[snapshot(HOSTILE, HOSTILE)],
        shared={
            "volumes": [
                volume("s", shared={"groups": None, "writable": False, "description": HOSTILE})
            ],
            "snapshots": [],
        },
    )
    more(opened, HOSTILE).click()
    opened.get_by_role("menuitem", name="Clone").click()
    expect(opened.get_by_role("dialog")).to_contain_text(HOSTILE)
    opened.get_by_role("button", name="Cancel").click()
    tab(opened, "Shared").click()
    expect(row(opened, "s")).to_contain_text(HOSTILE)
    assert opened.locator("#kale-page img").count() == 0


def test_a_thousand_rows_are_quick(opened: Page, storage: FakeStorage) -> None:
    many = [
        volume(f"data-{index}", 1 + index % 50, servers=["lab"] * (index % 3 == 0))
        for index in range(1000)
    ]
    opened.evaluate("performance.mark('begin')")
    storage.changed(volumes=many)
    expect(opened.locator("#kv-table-volumes tbody tr")).to_have_count(1000)
    took = opened.evaluate(
        """async () => {
          const settled = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const timed = async (work) => { const began = performance.now(); work(); await settled(); return performance.now() - began; };
          const search = document.getElementById("kv-search");
          const type = (text) => () => { search.value = text; search.dispatchEvent(new Event("input")); };
          const sort = () => document.querySelectorAll("#kv-table-volumes .kv-sort")[2].click();
          return { sort: await timed(sort), search: await timed(type("99")), all: await timed(type("")) };
        }"""
    )
    print("1,000 rows:", took)
    assert max(took.values()) < 1000, took
    button = more(opened, "data-500")
    button.focus()
    kept = button.element_handle()
    storage.changed(
        volumes=[
            each | {"state": "growing"} if each["name"] == "data-500" else each for each in many[1:]
        ]
    )
    expect(opened.locator("#kv-table-volumes tbody tr")).to_have_count(999)
    expect(button).to_be_focused()
    assert kept and kept.evaluate("each => each.isConnected")


# --- each action, by keyboard alone ---


def press(page: Page) -> None:
    page.keyboard.press("Enter")


def test_a_snapshot_is_taken(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "w", "Take a snapshot")
    dialog = opened.get_by_role("dialog", name="Take a snapshot of w")
    expect(dialog).to_contain_text("mounted by server lab, which can go on")
    field = opened.get_by_label("Name of the snapshot")
    expect(field).to_be_focused()
    expect(field).to_have_value(re.compile(r"^w-[0-9]{8}-[0-9]{4}$"))
    field.fill("before")
    press(opened)
    expect(dialog).to_be_hidden()
    assert storage.deeds == [("POST", "snapshots", "", {"volume": "w", "name": "before"})]
    expect(news(opened)).to_contain_text("Snapshot before of w is being taken.")
    expect(more(opened, "w")).to_be_focused()
    taking = snapshot("before", "w", state="taking")
    old = storage.state["snapshots"]
    storage.changed(snapshots=[*old, taking])
    expect(tab(opened, "Snapshots")).to_contain_text("2")
    expect(news(opened)).not_to_contain_text("Snapshot before is new")
    storage.changed(snapshots=[*old, taking | {"state": "ready"}])
    expect(news(opened)).to_contain_text("Snapshot before: ready.")


def test_a_volume_is_cloned(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Clone")
    expect(opened.get_by_role("dialog")).to_contain_text("data-1 stays as it is")
    expect(opened.get_by_label("Name of the new volume")).to_have_value("data-1-clone")
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    asked = {"source": "clone", "origin": "data-1", "name": "data-1-clone", "size": "10Gi"}
    assert storage.deeds == [("POST", "volumes", "", asked)]


def test_a_volume_is_grown(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Grow")
    expect(opened.get_by_label("New size")).to_have_value("15")
    expect(opened.get_by_role("dialog")).to_contain_text("from 10 GiB to 15 GiB")
    opened.keyboard.type("30")
    expect(opened.get_by_role("dialog")).to_contain_text("from 10 GiB to 30 GiB")
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert storage.deeds == [("PATCH", "volumes/data-1", "", {"size": "30Gi"})]


@pytest.mark.parametrize(
    ("setting", "snapshots", "query", "words"),
    [
        ("offered", True, "snapshot=false", "except as it was in a snapshot of it: there is 1"),
        ("offered", False, "snapshot=true", "A last snapshot is taken first"),
        ("always", True, "", "A last snapshot is taken first"),
        ("never", False, "", "Nobody can bring it back: there is no snapshot of it."),
    ],
)
def test_a_volume_is_deleted(
    opened: Page, storage: FakeStorage, setting: str, snapshots: bool, query: str, words: str
) -> None:
    kept = storage.state["snapshots"] if snapshots else []
    storage.changed(last_snapshot=setting, snapshots=kept)
    opened.reload()
    expect(row(opened, "data-1")).to_be_visible()
    by_keyboard(opened, "data-1", "Delete")
    dialog = opened.get_by_role("dialog", name="Delete data-1?")
    expect(dialog).to_contain_text("Deletes volume data-1 (10 GiB, made 3 days ago)")
    expect(dialog).to_contain_text(words)
    expect(opened.get_by_role("button", name="Cancel")).to_be_focused()
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("button", name="Delete volume")).to_be_focused()
    press(opened)
    expect(dialog).to_be_hidden()
    assert storage.deeds == [("DELETE", "volumes/data-1", query, None)]
    storage.changed(volumes=storage.state["volumes"][1:])
    expect(row(opened, "data-1")).to_have_count(0)
    expect(more(opened, "w")).to_be_focused()
    expect(news(opened)).to_contain_text("Volume data-1 is gone.")


def test_the_source_of_a_clone_that_is_not_made_yet_stays(
    opened: Page, storage: FakeStorage
) -> None:
    origin = {"source": "clone", "name": "data-1", "volume": "data-1", "time": ago(hours=1)}
    storage.changed(volumes=[volume("data-1"), volume("copy", state="new", origin=origin)])
    expect(row(opened, "copy")).to_be_visible()
    more(opened, "data-1").press("Enter")
    delete = opened.get_by_role("menuitem", name="Delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(delete).to_contain_text("copy is to be filled from data-1")
    opened.keyboard.press("Escape")
    by_keyboard(opened, "data-1", "Grow")
    expect(opened.get_by_role("dialog")).to_contain_text("start a server with it first")
    opened.keyboard.press("Escape")
    by_keyboard(opened, "copy", "Delete")
    expect(opened.get_by_role("dialog")).to_contain_text("No server ever mounted it")
    expect(opened.get_by_role("checkbox")).to_have_count(0)


def test_a_snapshot_is_restored_and_deleted(opened: Page, storage: FakeStorage) -> None:
    tab(opened, "Volumes").focus()
    opened.keyboard.press("ArrowRight")
    expect(tab(opened, "Snapshots")).to_be_focused()
    by_keyboard(opened, "data-1-old", "Restore")
    expect(opened.get_by_role("dialog")).to_contain_text(
        "data-1 and this snapshot stay as they are"
    )
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    asked = {
        "source": "snapshot",
        "origin": "data-1-old",
        "name": "data-1-restored",
        "size": "10Gi",
    }
    assert storage.deeds == [("POST", "volumes", "", asked)]
    by_keyboard(opened, "data-1-old", "Delete")
    expect(opened.get_by_role("dialog")).to_contain_text("Nobody can bring it back")
    opened.keyboard.press("Tab")
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert storage.deeds[1:] == [("DELETE", "snapshots/data-1-old", "", None)]


def test_a_whole_server_is_kept_restored_and_deleted(opened: Page, storage: FakeStorage) -> None:
    tab(opened, "Volumes").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    opened.get_by_role("button", name="Take a snapshot of a whole server").press("Enter")
    expect(opened.get_by_label("Server", exact=True)).to_be_focused()
    opened.keyboard.press("s")
    expect(opened.get_by_role("dialog")).to_contain_text("Keeps all volumes of server lab")
    expect(opened.get_by_label("Name of the snapshot")).to_have_value(re.compile("^lab-[0-9]{8}-"))
    opened.get_by_label("Name of the snapshot").fill("keep")
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert storage.deeds.pop() == ("POST", "snapshot-sets", "", {"server": "lab", "name": "keep"})

    by_keyboard(opened, "lab-friday", "Restore")
    dialog = opened.get_by_role("dialog")
    expect(dialog).to_contain_text("starts server lab-restored on them")
    expect(dialog).to_contain_text("new volumes are called ann--lab-restored-data-1.")
    expect(dialog).to_contain_text("all present volumes stay as they are")
    opened.get_by_label("Name of the new server").fill("lab2")
    expect(dialog).to_contain_text("new volumes are called ann--lab2-data-1.")
    press(opened)
    expect(dialog).to_be_hidden()
    body = {"server": "lab2", "over": False}
    assert storage.deeds.pop() == ("POST", "snapshot-sets/lab-friday/restore", "", body)
    expect(news(opened)).to_contain_text("data-1-restored from data-1")
    expect(news(opened).get_by_role("link")).to_have_attribute(
        "href", "/hub/spawn-pending/ann/lab2"
    )

    by_keyboard(opened, "lab-friday", "Restore")
    opened.get_by_label("Restore", exact=True).select_option("over")
    expect(dialog).to_contain_text("Server lab is running: stop it first")
    expect(dialog).to_contain_text("called w-r1124-1922, with the time of the restore in UTC")
    expect(opened.get_by_label("Name of the new server")).to_be_hidden()
    opened.get_by_role("button", name="Restore and start").press("Enter")
    expect(dialog).to_be_hidden()
    body = {"server": "lab", "over": True}
    assert storage.deeds.pop() == ("POST", "snapshot-sets/lab-friday/restore", "", body)

    by_keyboard(opened, "lab-friday", "Delete")
    opened.keyboard.press("Tab")
    press(opened)
    expect(dialog).to_be_hidden()
    assert storage.deeds.pop() == ("DELETE", "snapshot-sets/lab-friday", "", None)


def test_cancel_and_escape_do_nothing(opened: Page, storage: FakeStorage) -> None:
    for way in ("Enter", "Escape"):
        by_keyboard(opened, "data-1", "Delete")
        expect(opened.get_by_role("button", name="Cancel")).to_be_focused()
        opened.keyboard.press(way)
        expect(opened.get_by_role("dialog")).to_be_hidden()
        expect(more(opened, "data-1")).to_be_focused()
    assert storage.deeds == []


# --- what is refused, and what gets no answer ---


def test_refusals_stand_at_their_fields(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Clone")
    errors = [
        {"field": "size", "message": "300Gi is too large; the largest is 50Gi"},
        {"field": "storage_class", "message": "there is none"},
    ]
    storage.refuse = (400, {"message": "not so", "errors": errors})
    press(opened)
    size = opened.get_by_label("Size", exact=True)
    expect(size).to_be_focused()
    expect(size).to_have_attribute("aria-invalid", "true")
    expect(size).to_have_accessible_description(re.compile("the largest is 50 GiB"))
    expect(opened.get_by_role("dialog").get_by_role("alert")).to_have_text("there is none")
    opened.keyboard.type("20")
    expect(size).not_to_have_attribute("aria-invalid", "true")
    storage.refuse = (409, {"message": "you have a volume data-1-clone already; take another name"})
    press(opened)
    expect(opened.get_by_role("dialog").get_by_role("alert")).to_contain_text("take another name")
    press(opened)
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert [body["size"] for *_, body in storage.deeds] == ["10Gi", "20Gi", "20Gi"]


@pytest.mark.parametrize("way", ["drop", "page"])
def test_what_was_typed_outlives_a_failing_network(
    opened: Page, storage: FakeStorage, way: str
) -> None:
    by_keyboard(opened, "data-1", "Grow")
    opened.keyboard.type("44")
    storage.broken = way
    press(opened)
    told = opened.get_by_role("dialog").get_by_role("alert")
    expect(told).to_contain_text("hub does not answer" if way == "drop" else "503")
    expect(opened.get_by_label("New size")).to_have_value("44")
    storage.heal()
    opened.get_by_role("button", name="Grow").press("Enter")
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert storage.deeds[-1][3] == {"size": "44Gi"}


def test_a_press_too_many_asks_once(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Clone")
    storage.broken = "hang"
    press(opened)
    press(opened)
    expect(opened.get_by_role("button", name="One moment")).to_have_attribute(
        "aria-disabled", "true"
    )
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog")).to_be_visible()
    assert len(storage.deeds) == 1


def test_one_who_was_logged_out_is_told_so(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Clone")
    storage.broken = "login"
    press(opened)
    expect(
        opened.get_by_role("dialog").get_by_role("link", name="Log in in another tab")
    ).to_be_visible()


# --- live ---


def test_what_goes_on_shows_by_itself(opened: Page, storage: FakeStorage) -> None:
    fresh = volume("fresh", state="preparing", state_text="being made: the copy is under way")
    storage.changed(volumes=[*storage.state["volumes"], fresh])
    expect(row(opened, "fresh")).to_contain_text("Being made: the copy is under way")
    expect(news(opened)).to_contain_text("Volume fresh is new: being made")
    opened.reload()
    expect(row(opened, "fresh")).to_contain_text("Being made")
    storage.changed(volumes=[*storage.state["volumes"][:-1], volume("fresh")])
    expect(row(opened, "fresh")).to_contain_text("Ready")
    expect(news(opened)).to_contain_text("Volume fresh: ready.")
    growing = volume("fresh", state="growing", wanted_size="20Gi")
    storage.changed(volumes=[*storage.state["volumes"][:-1], growing])
    expect(row(opened, "fresh")).to_contain_text("→ 20 GiB")
    storage.changed(volumes=[*storage.state["volumes"][:-1], volume("fresh", 20)])
    expect(news(opened)).to_contain_text("Volume fresh has grown to 20 GiB.")


def test_nothing_is_asked_while_nothing_changes(opened: Page, storage: FakeStorage) -> None:
    opened.wait_for_timeout(300)
    before = storage.polls
    opened.wait_for_timeout(2000)
    assert storage.polls - before <= 1


def test_a_hub_that_does_not_answer_is_told_and_asked_less_and_less(
    opened: Page, storage: FakeStorage
) -> None:
    storage.broken = "drop"
    before = storage.polls
    storage.changed()
    trouble = opened.locator("#kv-trouble")
    expect(trouble).to_contain_text("The hub does not answer. What is shown is of")
    expect(row(opened, "data-1")).to_be_visible()
    opened.wait_for_timeout(2500)
    assert storage.polls - before <= 4
    storage.heal()
    storage.changed(volumes=[volume("after")])
    opened.get_by_role("button", name="Ask now").press("Enter")
    expect(row(opened, "after")).to_be_visible()
    expect(trouble).to_be_hidden()
    expect(news(opened)).to_contain_text("The hub answers again.")


def test_a_dialog_holds_what_happens_meanwhile_back(opened: Page, storage: FakeStorage) -> None:
    by_keyboard(opened, "data-1", "Clone")
    storage.changed(volumes=storage.state["volumes"][:1])
    expect(row(opened, "w")).to_have_count(0)
    expect(news(opened)).not_to_contain_text("is gone")
    opened.keyboard.press("Escape")
    expect(news(opened)).to_contain_text("Volume w is gone.")


# --- links to the spawn page ---


def test_a_volume_leads_to_a_server_with_it(opened: Page, storage: FakeStorage) -> None:
    more(opened, "data-1").press("Enter")
    link = opened.get_by_role("menuitem", name="Start a server with it")
    wanted = f"/hub/spawn?{OPT}data_volumes.0.source=existing&{OPT}data_volumes.0.claim=data-1&{OPT}data_volumes.0.mount=%2Fhome%2Fjovyan%2Fdata-1"
    expect(link).to_have_attribute("href", wanted)
    opened.keyboard.press("Escape")
    expect(row(opened, "data-1")).to_contain_text("The default server, stopped")
    storage.changed(servers=[{"name": "", "running": True, "volumes": ["data-1"]}])
    expect(row(opened, "data-1")).not_to_contain_text("stopped")
    more(opened, "w").press("Enter")
    link = opened.get_by_role("menuitem", name="Start a server “lab” with it")
    wanted = f"/hub/spawn/ann/lab?{OPT}workspace.source=existing&{OPT}workspace.claim=w&{OPT}workspace.mount=%2Fhome%2Fjovyan"
    expect(link).to_have_attribute("href", wanted)
    link.press("Enter")
    expect(opened.locator("#kale-from-link")).to_contain_text("For server lab, filled in from a")
    expect(opened.locator('[name="workspace.source"]:checked')).to_have_value("existing")
    expect(opened.locator('[name="workspace.mount"]')).to_be_visible()


def test_one_who_may_only_read_changes_nothing(hub: Hub, start_hub: StartHub, page: Page) -> None:
    reader = start_hub(
        "c.JupyterHub.load_roles.append({'name': 'reader', 'scopes': ['read:servers', 'read:users:name', 'self'], 'users': ['eve']})\n"
        "c.JupyterHub.load_roles.append({'name': 'known', 'scopes': ['self'], 'users': ['ann']})"
    )
    storage = FakeStorage(page)
    storage.state["volumes"] = [volume("data-1")]
    log_in(page, reader, "eve")
    page.goto(f"{reader.url}/hub/volumes/ann")
    expect(page.get_by_role("heading", name="Volumes of ann")).to_be_visible()
    more(page, "data-1").click()
    for item in page.get_by_role("menuitem").all():
        expect(item).to_have_attribute("aria-disabled", "true")
        expect(item).to_contain_text("You may see these volumes, but not change them.")


def test_a_phone_sees_cards_and_nothing_beside_the_screen(opened: Page) -> None:
    opened.set_viewport_size({"width": 360, "height": 740})
    expect(more(opened, "data-1")).to_be_visible()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.get_by_role("combobox", name="Sort by").select_option("size down")
    more(opened, "data-1").click()
    box = opened.get_by_role("menu").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360


# --- before the real API ---


@pytest.fixture
def cleared(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.clear()


@pytest.mark.usefixtures("cleared")
def test_the_hubs_own_api_is_what_the_page_lives_on(page: Page, hub: Hub, cluster: Cluster) -> None:
    cluster.claim("ann-photos", "ann")
    cluster.claim("bob-letters", "bob")
    log_in(page, hub)
    page.goto(f"{hub.url}/hub/volumes")
    expect(row(page, "ann-photos")).to_contain_text("10 GiB")
    cluster.claim("ann-birds", "ann", "20Gi")
    expect(row(page, "ann-birds")).to_contain_text("20 GiB")
    expect(row(page, "bob-letters")).to_have_count(0)
    by_keyboard(page, "ann-birds", "Grow")
    expect(page.get_by_role("menuitem", name="Grow")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Escape")
    by_keyboard(page, "ann-birds", "Delete")
    page.keyboard.press("Tab")
    press(page)
    expect(page.get_by_role("dialog")).to_be_hidden()
    cluster.clear()
    expect(news(page)).to_contain_text("Volume ann-birds is gone.")
    expect(row(page, "ann-photos")).to_have_count(0)


@pytest.mark.usefixtures("cleared")
def test_without_javascript_the_lists_are_told(hub: Hub, cluster: Cluster) -> None:
    visitor = hub.visitor("ann")
    assert "There are no volumes yet" in visitor.get("/hub/volumes").text
    cluster.claim("ann-photos", "ann")
    shown = visitor.get("/hub/volumes").text
    assert "need JavaScript" in shown
    assert '<th scope="row">ann-photos</th>' in shown
