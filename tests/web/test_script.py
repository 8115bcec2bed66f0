"""The page's script in Chromium, without a hub: the same rules as the server's, and manners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from kale_spawner.errors import ChoiceInvalid, FieldError
from kale_spawner.model.choices import read_choice
from kale_spawner.model.claim import Claim, Origin, Shared, Use
from kale_spawner.model.cluster import Cluster, StorageClass
from kale_spawner.model.images import WorkspacePreset
from kale_spawner.model.inventory import Inventory
from kale_spawner.model.limits import Limits, Owner, own_names
from kale_spawner.model.plan import Offer, make_plan
from kale_spawner.model.snapshot import Snapshot
from kale_spawner.web.form import FormView, ProfileCard, parse_form, render_form
from kale_spawner.web.words import sentence

GIB = 1 << 30
LIMITS = Limits(max_size=50 * GIB, max_data_volumes=2, taken_mounts=("/shared/all",))
CLAIMS = {
    "old": Claim("old", 10 * GIB, "10Gi"),
    "going": Claim("going", GIB, "1Gi", deleting=True),
    "kept": Claim(
        "kept",
        5 * GIB,
        "5Gi",
        uses=(Use("lab"),),
        annotations={"kale-spawner/mount": "/data/kept"},
    ),
    "bound": Claim("bound", 5 * GIB, "5Gi", phase="Bound", storage_class="rok-csi"),
    "mine": Claim(
        "mine",
        2 * GIB,
        "2Gi",
        phase="Bound",
        annotations={"kale-spawner/origin": Origin("snapshot", "monday", "kept").to_json()},
    ),
    "growing": Claim(
        "growing", GIB, "1Gi", phase="Bound", storage_class="rok-csi", requested_bytes=60 * GIB
    ),
    "small": Claim("small", GIB, "1Gi", phase="Bound", storage_class="slow"),
    "copy": Claim(
        "copy",
        5 * GIB,
        "5Gi",
        storage_class="rok-csi",
        annotations={"kale-spawner/origin": Origin("clone", "bound").to_json()},
    ),
    "lost": Claim("lost", GIB, "1Gi", storage_class="gone"),
}
SNAPSHOTS = {
    "monday": Snapshot(
        "monday",
        "kept",
        2 * GIB,
        "2Gi",
        ready=True,
        annotations={"kale-spawner/mount": "/data/kept"},
    ),
    "taking": Snapshot("taking", "kept"),
}
SETS = {
    "sets": Claim("sets", GIB, "1Gi", shared=Shared(description="All the cats")),
    "common": Claim("common", GIB, "1Gi", shared=Shared(writable=True)),
}
CLUSTER = Cluster(
    {"rok-csi": StorageClass("rok-csi", "rok", True), "slow": StorageClass("slow", "rok")}
)
SMALL = ProfileCard("small", "Small", default=True)
LARGE = ProfileCard(
    "large",
    "Large",
    preset={
        "workspace": {"size": "40Gi"},
        "data_volumes": [{"source": "new", "name": "ann-set", "size": "2Gi", "mount": "/set"}],
    },
)
LOCKED = ProfileCard(
    "locked",
    "Locked",
    preset={"workspace": {"size": "3Gi", "name": "ann-locked"}},
    fixed=frozenset({"workspace"}),
    hidden=frozenset({"data_volumes"}),
)


def show(page: Page, open_volumes: bool = True, **changes: Any) -> None:
    given_view: dict[str, Any] = {
        "profiles": [SMALL, LARGE, LOCKED],
        "claims": list(CLAIMS.values()),
        "snapshots": list(SNAPSHOTS.values()),
        "shared": list(SETS.values()),
        "cluster": CLUSTER,
        "limits": LIMITS,
        "name_prefix": "ann",
        "kept_names": own_names(Owner("ann"), LIMITS),
    }
    html = render_form(FormView(**{**given_view, **changes}))
    # Like JupyterHub's: its listener, added after ours, turns the button into a spinner.
    page.set_content(
        f"""<!doctype html><form method="post">{html}<button>Start</button></form>
        <script>document.querySelector("form").addEventListener("submit", (event) => {{
          event.preventDefault(); window.sent = [...new FormData(event.target)]; }});</script>"""
    )
    if open_volumes:
        page.locator("#kale-volumes").evaluate("(each) => { each.open = true; }")


def field(page: Page, name: str) -> Any:
    return page.locator(f'[name="{name}"]')


def press_start(page: Page) -> dict[str, Any] | None:
    """The choice that was sent, or None when the script held it back."""
    page.evaluate("window.sent = null")
    page.get_by_role("button", name="Start").click()
    sent = page.evaluate("window.sent")
    return parse_form({name: [text] for name, text in sent}) if sent else None


def server_says(choice: dict[str, Any]) -> list[FieldError]:
    try:
        read, found = read_choice(choice)
        have = Inventory(CLAIMS, SNAPSHOTS, SETS)
        owner, offer = Owner("ann"), Offer(WorkspacePreset())
        make_plan(read, have, LIMITS, owner, offer, found, CLUSTER)
    except ChoiceInvalid as refused:
        return refused.errors
    return []


BAD = [
    ("workspace.name", ""),
    ("workspace.name", "Ann"),
    ("workspace.name", "-a"),
    ("workspace.name", "ann-data-3"),
    ("data_volumes.0.name", "ann--lab-workspace"),
    ("workspace.size", ""),
    ("workspace.size", "lots"),
    ("workspace.size", "0"),
    ("workspace.size", "-1"),
    ("workspace.size", "51"),
    ("workspace.size", "1k"),
    ("workspace.size", "1e3"),
    ("workspace.size", "0.3"),
    ("workspace.size", "1,5G"),
    ("workspace.size", "9E"),
    ("workspace.size", "10Ei"),
    ("workspace.name", "going"),
    ("workspace.mount", "/a\u00a0b"),
    ("workspace.mount", "home"),
    ("workspace.mount", "/"),
    ("workspace.mount", "/home"),
    ("workspace.mount", "/a//b"),
    ("workspace.mount", "/a/../b"),
    ("workspace.mount", "/a/"),
    ("workspace.mount", "/a:b"),
    ("workspace.mount", "/a /b"),
    ("workspace.mount", "/etc"),
    ("workspace.mount", "/usr/local"),
    ("workspace.mount", "/shared"),
    ("data_volumes.0.mount", "/home/jovyan"),
    ("data_volumes.0.mount", "/home"),
    ("data_volumes.0.name", "ann-workspace"),
]


@pytest.mark.parametrize(("name", "typed"), BAD)
def test_script_says_what_the_server_says(page: Page, name: str, typed: str) -> None:
    show(page)
    page.get_by_role("button", name="Add a data volume").click()
    field(page, name).fill(typed)
    shown = page.locator(f'[data-error="{name}"]')
    expect(shown).to_be_visible()
    expect(field(page, name)).to_have_attribute("aria-invalid", "true")
    assert press_start(page) is None
    expect(field(page, name)).to_be_focused()
    # Left empty, the server would fill in the preset; the page holds back what looks forgotten.
    if typed:
        fields = page.evaluate("[...new FormData(document.querySelector('form'))]")
        said = server_says(parse_form({key: [text] for key, text in fields}))
        assert [sentence(each.message) for each in said if each.field == name] == [
            shown.inner_text()
        ]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("workspace.name", "a" * 63),
        ("workspace.size", "1.5"),
        ("workspace.size", "50"),
        ("workspace.size", "500M"),
        ("workspace.size", "0.5"),
        ("workspace.size", "0,5"),
        ("workspace.size", "0.5Gi"),
        ("workspace.size", "5G"),
        ("workspace.size", "1e9"),
        ("workspace.name", "constructor"),
        ("workspace.mount", "/home/jovyan/work"),
        ("workspace.mount", "/data"),
    ],
)
def test_script_lets_pass_what_the_server_takes(page: Page, name: str, typed: str) -> None:
    show(page)
    field(page, name).fill(typed)
    choice = press_start(page)
    assert choice is not None
    assert server_says(choice) == []


NAMES = st.sampled_from(
    [
        "new",
        "Bad",
        "old",
        "kept",
        "bound",
        "small",
        "growing",
        "lost",
        "copy",
        "mine",
        "going",
        "ann-workspace",
        "ann--x-workspace",
        "ann-data-2",
    ]
)
SIZES = st.one_of(
    st.sampled_from(
        ["10Gi", "11Gi", "51Gi", "50Gi", "1e3", "1Mi", "8E", "8Ei", "0.3Mi", "1,5Gi", "0"]
    ),
    st.from_regex(r"\A[+]?[0-9]{0,4}([.][0-9]{0,4})?(Ki|Mi|Gi|Ti|Ei|m|k|M|G|E|[eE][+-]?[0-9])?\Z"),
    st.text("0123456789.,+-eEiGM ", max_size=8),
)
PATHS = st.one_of(
    st.sampled_from(
        [
            "/",
            "/home",
            "/home/jovyan",
            "/home/jovyan/work",
            "/shared",
            "/shared/all",
            "/shared/all/x",
        ]
    ),
    st.text("/.ab", max_size=6).map(lambda tail: f"/d{tail}"),
    st.text("/: a\u00a0\u200b\U0001f600", max_size=4),
    st.sampled_from(["/" + "x" * 1023, "/" + "x" * 1024, "/" + "\U0001f600" * 1000]),
)
NEW = {"source": st.just("new"), "name": NAMES, "size": SIZES.filter(bool)}
EXISTING = {"source": st.just("existing")}
MOUNT = {"mount": PATHS.filter(bool)}
SHARED = {"source": st.just("shared"), "name": st.sampled_from(["sets", "common", "kept", "none"])}
ORIGINS = st.sampled_from(["monday", "taking", "kept", "going", "mine", "bound", "none"])
FILLED = {
    "source": st.sampled_from(["snapshot", "clone"]),
    "name": NAMES,
    "origin": ORIGINS,
}
SIZED = {"size": SIZES.filter(bool)}
WORKSPACE = st.one_of(
    st.fixed_dictionaries({"source": st.just("none")}, optional=SIZED),
    st.fixed_dictionaries(SHARED | MOUNT),
    st.fixed_dictionaries(FILLED | MOUNT, optional=SIZED),
    st.fixed_dictionaries(NEW | MOUNT),
    st.fixed_dictionaries(EXISTING | MOUNT, optional={"name": NAMES} | SIZED),
)
ROW = st.one_of(
    st.fixed_dictionaries(NEW | MOUNT),
    st.fixed_dictionaries(
        EXISTING | MOUNT, optional={"name": NAMES, "read_only": st.booleans()} | SIZED
    ),
    st.fixed_dictionaries(SHARED | MOUNT),
    st.fixed_dictionaries(FILLED | MOUNT, optional=SIZED),
)


def test_rules_of_the_page_are_the_servers(page: Page) -> None:
    """Where all fields are filled in: what is left empty, the server takes from the preset."""
    show(page)
    page.evaluate(
        """() => {
          const data = JSON.parse(document.getElementById("kale-data-json").textContent);
          window.judge = (volumes) => kaleRules(data).judge(volumes, data.home).map(
            ({ alone, beside }) => ["name", "origin", "size", "mount"].map((part) => alone[part] || beside[part] || ""));
        }"""
    )

    @settings(max_examples=400, deadline=None)
    @given(WORKSPACE, st.lists(ROW, max_size=2))
    def agree(workspace: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        choice = {"workspace": workspace, "data_volumes": rows}
        server = {each.field: sentence(each.message) for each in server_says(choice)}
        blank = {"name": "", "origin": "", "size": "", "mount": "", "read_only": False}
        said = page.evaluate("judge", [{**blank, **each} for each in [workspace, *rows]])
        paths = ["workspace", *(f"data_volumes.{index}" for index in range(len(rows)))]
        fields = [
            f"{path}.{part}" for path in paths for part in ("name", "origin", "size", "mount")
        ]
        shown = dict(zip(fields, (sentence(each) for box in said for each in box), strict=True))
        assert {field: text for field, text in shown.items() if text} == server

    agree()


def test_a_folder_taken_twice_names_the_other_volume(page: Page) -> None:
    show(page)
    for _ in range(2):
        page.get_by_role("button", name="Add a data volume").click()
    field(page, "data_volumes.1.mount").fill("/home/jovyan/data-1")
    fields = page.evaluate("[...new FormData(document.querySelector('form'))]")
    (said,) = server_says(parse_form({key: [text] for key, text in fields}))
    assert said.field == "data_volumes.1.mount"
    expect(page.locator('[data-error="data_volumes.1.mount"]')).to_have_text(sentence(said.message))
    assert sentence(said.message) == (
        "/home/jovyan/data-1 is taken by data volume 1; use another folder"
    )


def test_nothing_is_mounted_inside_of_a_read_only_volume(page: Page) -> None:
    show(page)
    for _ in range(2):
        page.get_by_role("button", name="Add a data volume").click()
    field(page, "data_volumes.0.mount").fill("/data/kept/inside")
    page.get_by_role("group", name="Source of data volume 2").get_by_text("Existing").click()
    field(page, "data_volumes.1.claim").select_option("kept")
    told = page.locator('[data-error="data_volumes.0.mount"]')
    expect(told).to_be_hidden()
    page.get_by_label("Read only").nth(1).check()
    fields = page.evaluate("[...new FormData(document.querySelector('form'))]")
    (said,) = server_says(parse_form({key: [text] for key, text in fields}))
    assert said.field == "data_volumes.0.mount"
    expect(told).to_have_text(sentence(said.message))


def test_first_visit_needs_one_click(page: Page) -> None:
    show(page, open_volumes=False)
    expect(page.locator("#kale-line")).to_have_text("Workspace 10 GiB, new · no data volumes")
    choice = press_start(page)
    assert choice is not None
    assert choice["workspace"]["name"] == "ann-workspace"
    assert server_says(choice) == []


def test_data_volumes_are_proposed_added_up_to_the_limit_and_removed(page: Page) -> None:
    show(page)
    add = page.get_by_role("button", name="Add a data volume")
    add.click()
    expect(field(page, "data_volumes.0.name")).to_be_focused()
    add.click()
    expect(add).to_be_hidden()
    expect(page.locator("#kale-full")).to_have_text("That is all: at most 2 data volumes.")
    expect(page.locator("#kale-line")).to_have_text("Workspace 10 GiB, new · 2 data volumes")
    expect(field(page, "data_volumes.1.mount")).to_have_value("/home/jovyan/data-2")
    page.get_by_role("button", name="Remove data volume 1").click()
    choice = press_start(page)
    assert choice is not None
    assert choice["data_volumes"] == [
        {"source": "new", "name": "ann-data-2", "size": "5Gi", "mount": "/home/jovyan/data-2"}
    ]


def test_a_second_enter_after_remove_does_nothing_and_the_volume_can_be_put_back(
    page: Page,
) -> None:
    show(page, limits=replace(LIMITS, max_data_volumes=3))
    add, undo = page.get_by_role("button", name="Add a data volume"), page.locator("#kale-undo")
    for _ in range(3):
        add.click()
    expect(undo).to_be_hidden()
    page.get_by_role("button", name="Remove data volume 1").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    names = page.locator('#kale-rows [name$=".name"]')
    expect(names).to_have_count(2)
    assert not page.evaluate("window.sent")
    page.keyboard.press("Tab")
    expect(page.locator('[name="data_volumes.1.source"]:checked')).to_be_focused()
    page.get_by_role("button", name="Put ann-data-1 back").press("Enter")
    expect(names).to_have_count(3)
    expect(names.first).to_have_value("ann-data-1")
    expect(undo).to_be_hidden()
    page.get_by_role("button", name="Remove data volume 3").press("Enter")
    expect(add).to_be_focused()


def test_mount_follows_the_name_until_it_is_typed(page: Page) -> None:
    show(page)
    page.get_by_role("button", name="Add a data volume").click()
    name, mount = field(page, "data_volumes.0.name"), field(page, "data_volumes.0.mount")
    name.fill("ann-birds")
    expect(mount).to_have_value("/home/jovyan/birds")
    mount.fill("/birds")
    name.fill("ann-bees")
    expect(mount).to_have_value("/birds")


def test_existing_volume_goes_where_it_was(page: Page) -> None:
    show(page)
    page.get_by_role("button", name="Add a data volume").click()
    page.get_by_role("group", name="Source of data volume 1").get_by_text("Existing").click()
    expect(field(page, "data_volumes.0.name")).to_be_hidden()
    expect(field(page, "data_volumes.0.size")).to_be_hidden()
    field(page, "data_volumes.0.claim").select_option("kept")
    expect(page.locator('[data-hint="data_volumes.0.name"]')).to_have_text(
        "Used by server lab now."
    )
    page.get_by_label("Read only").check()
    choice = press_start(page)
    assert choice is not None
    assert choice["data_volumes"] == [
        {"source": "existing", "name": "kept", "mount": "/data/kept", "read_only": True}
    ]
    assert server_says(choice) == []


def test_no_workspace_is_said_plainly(page: Page) -> None:
    show(page)
    page.get_by_role("group", name="Source of the workspace").get_by_text("None").click()
    expect(page.get_by_text("files in the home folder are lost")).to_be_visible()
    expect(page.get_by_text("more than this size, the cluster stops it")).to_be_visible()
    for hidden in ("name", "mount"):
        expect(field(page, f"workspace.{hidden}")).to_be_hidden()
    expect(page.locator("#kale-line")).to_contain_text("files are lost when the server stops")
    field(page, "workspace.size").fill("99")
    expect(page.get_by_text("99Gi is too large; the largest is 50Gi")).to_be_visible()
    field(page, "workspace.size").fill("3")
    choice = press_start(page)
    assert choice is not None
    assert choice["workspace"] == {"source": "none", "size": "3Gi"}


def test_new_after_existing_means_a_new_one(page: Page) -> None:
    workspace = {"source": "new", "name": "old", "size": "10Gi", "mount": "/home/jovyan"}
    show(page, choice={"workspace": workspace})
    expect(page.locator("#kale-line")).to_have_text("Workspace old, 10 GiB · no data volumes")
    page.get_by_role("group", name="Source of the workspace").get_by_text("New").click()
    expect(field(page, "workspace.name")).to_have_value("ann-workspace")
    choice = press_start(page)
    assert choice is not None
    assert server_says(choice) == []


def test_a_workspace_that_is_gone_is_told_until_another_is_chosen(page: Page) -> None:
    gone = {"source": "existing", "name": "gone", "mount": "/home/jovyan"}
    show(page, False, choice={"workspace": gone})
    told = page.locator('[data-error="workspace.name"]')
    expect(told).to_contain_text('You have no volume "gone"')
    expect(page.locator("#kale-line")).to_contain_text("Workspace gone is not there any more")
    assert press_start(page) is None
    expect(field(page, "workspace.claim")).to_be_focused()
    field(page, "workspace.claim").select_option("kept")
    expect(told).to_be_hidden()
    expect(page.locator("#kale-line")).to_have_text("Workspace kept, 5 GiB · no data volumes")
    assert press_start(page) is not None


def test_own_name_again_is_told_to_be_the_same_volume(page: Page) -> None:
    show(page)
    field(page, "workspace.name").fill("old")
    expect(page.locator('[data-hint="workspace.name"]')).to_contain_text("10 GiB")


def test_presets_follow_the_profile_where_nothing_was_changed(page: Page) -> None:
    show(page)
    page.get_by_label("Large").check()
    expect(field(page, "workspace.size")).to_have_value("40")
    expect(field(page, "data_volumes.0.name")).to_have_value("ann-set")
    page.get_by_label("Small").check()
    expect(field(page, "workspace.size")).to_have_value("10")
    expect(page.locator("#kale-rows fieldset")).to_have_count(0)
    field(page, "workspace.size").fill("12")
    page.get_by_label("Large").check()
    expect(field(page, "workspace.size")).to_have_value("12")


def test_fixed_is_shown_and_not_sent_and_ones_own_comes_back(page: Page) -> None:
    show(page)
    field(page, "workspace.name").fill("mine")
    page.get_by_role("button", name="Add a data volume").click()
    page.get_by_label("Locked").check()
    expect(field(page, "workspace.name")).to_have_value("ann-locked")
    expect(field(page, "workspace.name")).to_be_disabled()
    expect(page.locator("#kale-data")).to_be_hidden()
    expect(page.locator("#kale-locked")).to_be_visible()
    assert press_start(page) == {"profile": "locked"}
    page.get_by_label("Small").check()
    expect(field(page, "workspace.name")).to_have_value("mine")
    expect(page.locator('#kale-rows [name$=".name"]')).to_have_value("ann-data-1")


def test_what_the_server_refused_stays_until_that_field_changes(page: Page) -> None:
    typed = {"workspace": {"source": "new", "name": "w", "size": "5Gi", "mount": "/home/jovyan"}}
    error = FieldError("workspace.name", "this name is kept for somebody else's volumes")
    show(page, False, submitted=typed, errors=[error])
    shown = page.locator('[data-error="workspace.name"]')
    expect(field(page, "workspace.name")).to_be_focused()
    field(page, "workspace.size").fill("6")
    expect(shown).to_be_visible()
    field(page, "workspace.name").fill("w2")
    expect(shown).to_be_hidden()
    assert press_start(page) is not None


def test_a_refused_image_is_told_until_it_changes(page: Page) -> None:
    free = ProfileCard("free", "Free", image_field=True)
    errors = [FieldError("image", "this image is not allowed here")]
    show(page, False, profiles=[free], submitted={"image": "evil"}, errors=errors)
    image = field(page, "image.free")
    expect(image).to_be_focused()
    expect(page.locator("#kale-image-0-error")).to_be_visible()
    image.fill("good")
    expect(page.locator("#kale-image-0-error")).to_be_hidden()
    expect(image).not_to_have_attribute("aria-invalid", "true")


def test_an_error_in_the_folded_part_unfolds_it(page: Page) -> None:
    show(page)
    field(page, "workspace.size").fill("lots")
    page.locator("#kale-volumes > summary").click()
    expect(field(page, "workspace.size")).to_be_hidden()
    assert press_start(page) is None
    expect(field(page, "workspace.size")).to_be_focused()


def test_errors_are_spoken(page: Page) -> None:
    show(page)
    field(page, "workspace.mount").fill("/etc")
    expect(page.locator("#kale-live")).to_have_text(
        "/etc belongs to the system; use a folder like /data"
    )


def test_keyboard_alone_is_enough(page: Page) -> None:
    show(page, open_volumes=False)
    page.get_by_label("Small").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Large")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(field(page, "workspace.name")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(field(page, "workspace.claim")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("o")
    expect(field(page, "workspace.claim")).to_have_value("old")


def test_hostile_names_do_nothing(page: Page) -> None:
    hostile = '</script><img src=x onerror="window.bad=1">'
    show(page, claims=[Claim(hostile, GIB, "1Gi")], name_prefix=hostile)
    page.get_by_role("button", name="Add a data volume").click()
    page.get_by_role("group", name="Source of the workspace").get_by_text("Existing").click()
    field(page, "workspace.claim").select_option(hostile)
    expect(page.locator("#kale-line")).to_contain_text(hostile)
    assert page.evaluate("window.bad") is None
    assert page.locator("img").count() == 0
