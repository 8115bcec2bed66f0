"""The spawn page of a real hub, as served, as posted, and beside its API."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyterhub.handlers.pages import SpawnHandler
from playwright.sync_api import Page, expect

from tests.web.browserless import call
from tests.web.conftest import PASSWORD, Cluster, Hub, StartHub

LIMIT = 30.0
OPT_PREFIX = hasattr(SpawnHandler, "_get_user_options")
"""Whether this JupyterHub takes `opt-` off the names in a link."""
REFUSED = 400 if OPT_PREFIX else 200
"""What a refused form is answered with: older ones say it in words only."""
HOSTILE = '"><script>alert(1)</script>{{7*7}}'


def until(what: Callable[[], Any]) -> Any:
    limit = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.05)
    return found


def server(hub: Hub, user: str, name: str = "") -> dict[str, Any]:
    model = call(hub.url, hub.token, "GET", f"/users/{user}?include_stopped_servers").json
    return dict(model["servers"].get(name) or {})


def stop(hub: Hub, user: str, name: str = "") -> None:
    path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
    until(lambda: server(hub, user, name).get("pending") != "stop")
    assert call(hub.url, hub.token, "DELETE", path).status in (202, 204)
    until(lambda: not server(hub, user, name).get("pending"))


@pytest.fixture
def nothing_made(cluster: Cluster) -> Iterator[None]:
    """Fails when the test made anything in the cluster."""
    yield
    assert cluster.claims() == {}
    assert cluster.pods() == []


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.clear()
    until(lambda: not cluster.pods() and not cluster.claims())


def test_first_visit_shows_the_default(hub: Hub, nothing_made: None) -> None:
    shown = hub.visitor("ann").get("/hub/spawn")
    fields = shown.page.fields()
    assert shown.status == 200
    assert fields["profile"] == "jupyter-kale"
    assert fields["workspace.name"] == "ann-workspace"
    assert (fields["workspace.size"], fields["workspace.size_unit"]) == ("10", "Gi")
    assert fields["workspace.mount"] == "/home/jovyan"
    assert shown.page.errors() == {}


def test_what_is_refused_comes_back_with_its_errors(hub: Hub, nothing_made: None) -> None:
    answer = hub.visitor("ann").spawn(
        profile="vscode-kale",
        workspace__name="Ann's",
        workspace__size="51",
        workspace__mount="/etc",
        data_volumes__0__name="ann-data-1",
        data_volumes__0__size=HOSTILE,
        data_volumes__0__mount="relative",
    )
    page = answer.page
    assert answer.status == REFUSED
    assert set(page.errors()) == {
        "workspace.name",
        "workspace.size",
        "workspace.mount",
        "data_volumes.0.size",
        "data_volumes.0.mount",
    }
    fields = page.fields()
    assert fields["profile"] == "vscode-kale"
    assert fields["workspace.name"] == "Ann's"
    assert fields["workspace.size"] == "51"
    assert fields["data_volumes.0.size"] == HOSTILE
    assert fields["data_volumes.0.mount"] == "relative"
    assert "<script>alert" not in answer.text


def test_a_refusal_and_a_link_are_told_once(hub: Hub, page: Page, nothing_made: None) -> None:
    page.goto(f"{hub.url}/hub/login")
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{hub.url}/hub/spawn?workspace.size=51Gi")
    expect(page.locator(".alert:visible")).to_have_count(1)
    expect(page.locator(".alert:visible")).to_contain_text("Nothing has been started")
    # As an old browser, or one without the script, would send it.
    page.evaluate("document.getElementById('spawn_form').submit()")
    expect(page.locator(".alert:visible")).to_contain_text("Workspace, size: 51Gi is too large")
    expect(page.locator(".alert:visible")).to_have_count(1)
    expect(page.locator('[name="workspace.size"]')).to_be_focused()


def test_limits_are_told_beside_the_field(hub: Hub, nothing_made: None) -> None:
    answer = hub.visitor("ann").spawn(workspace__size="51", workspace__mount="/etc")
    assert answer.page.errors() == {
        "workspace.size": "51Gi is too large; the largest is 50Gi",
        "workspace.mount": "/etc belongs to the system; use a folder like /data",
    }


def test_a_named_servers_form_comes_back_as_its_own(hub: Hub, nothing_made: None) -> None:
    visitor = hub.visitor("ann")
    shown = visitor.get("/hub/spawn/ann/lab").page.fields()
    assert shown["workspace.name"] == "ann--lab-workspace"
    answer = visitor.spawn("/hub/spawn/ann/lab", workspace__size="none")
    assert list(answer.page.errors()) == ["workspace.size"]
    assert answer.page.fields()["workspace.name"] == "ann--lab-workspace"
    assert visitor.get("/hub/spawn").page.errors() == {}
    assert "/hub/spawn/ann/lab" in (answer.page.by_id("spawn_form").attrs["action"] or "")


def test_only_ones_own_claims_are_offered(hub: Hub, cluster: Cluster) -> None:
    cluster.claim("ann-photos", "ann")
    cluster.claim("bob-letters", "bob")
    ann, bob = hub.visitor("ann"), hub.visitor("bob")
    shown = ann.get("/hub/spawn").text
    assert "ann-photos" in shown
    assert "bob-letters" not in shown
    assert "ann-photos" not in bob.get("/hub/spawn").text
    answer = ann.spawn(workspace__source="existing", workspace__claim="bob-letters")
    assert answer.status == REFUSED
    assert set(answer.page.errors()) == {"workspace.claim"}


@pytest.mark.parametrize(
    "query",
    [
        "profile=vscode-kale&workspace.size=3Gi",
        "opt-profile=vscode-kale&opt-workspace.size=3Gi",
        "opt-workspace.name=" + urllib.parse.quote(HOSTILE),
        "image=evil%2Fimage&next=%2Fhub%2Fhome",
    ],
)
def test_a_link_fills_in_and_never_starts(hub: Hub, query: str, nothing_made: None) -> None:
    visitor = hub.visitor("ann")
    shown = visitor.get(f"/hub/spawn?{query}")
    assert shown.status == 200
    assert "Filled in from a link. Nothing has been started" in shown.text
    assert "<script>alert" not in shown.text
    if query.startswith("profile") or ("vscode" in query and OPT_PREFIX):
        assert shown.page.fields()["profile"] == "vscode-kale"
        assert shown.page.fields()["workspace.size"] == "3"
    assert not server(hub, "ann").get("pending")
    assert "Filled in from a link" not in visitor.get("/hub/spawn").text


def test_a_start_makes_what_the_form_says_and_the_page_remembers(
    hub: Hub, cluster: Cluster
) -> None:
    visitor = hub.visitor("eve")
    answer = visitor.spawn(
        profile="vscode-kale",
        workspace__size="3",
        data_volumes__0__name="eve-set",
        data_volumes__0__size="2",
        data_volumes__0__mount="/set",
    )
    assert answer.status == 302, answer.page.errors()
    assert "/hub/spawn-pending/eve" in (answer.headers["Location"] or "")
    until(lambda: cluster.pods())
    assert cluster.claims() == {"eve-workspace": "3Gi", "eve-set": "2Gi"}
    pending = visitor.get("/hub/spawn-pending/eve").text
    assert "progress-bar" in pending
    stop(hub, "eve")
    until(lambda: not cluster.pods())
    fields = visitor.get("/hub/spawn").page.fields()
    assert fields["profile"] == "vscode-kale"
    assert fields["data_volumes.0.mount"] == "/set"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"workspace": {"size": "lots"}}, "workspace.size"),
        ({"workspace": {"size": "51Gi"}}, "workspace.size"),
        ({"data_volumes": [{"mount": "/etc"}]}, "data_volumes.0.mount"),
        ({"profile": "none such"}, "profile"),
        ({"image": "evil/image"}, "image"),
        ({"hostPath": "/"}, "hostPath"),
        ({"workspace": {"source": "existing", "name": "bob-letters"}}, "workspace.name"),
    ],
)
def test_a_bad_body_is_refused_by_the_api(
    hub: Hub, body: dict[str, Any], field: str, nothing_made: None
) -> None:
    call(hub.url, hub.token, "POST", "/users/ann", {})
    answer = call(hub.url, hub.token, "POST", "/users/ann/servers/api", body)
    assert answer.status == 400
    assert answer.json["message"].startswith(f"{field}:")


def test_the_api_tells_all_that_is_wrong_at_once(hub: Hub, nothing_made: None) -> None:
    call(hub.url, hub.token, "POST", "/users/ann", {})
    body = {
        "image": "evil/image",
        "workspace": {"size": "lots", "mount": "/etc"},
        "data_volumes": [{"mount": "data"}, {"mount": "/proc"}],
    }
    answer = call(hub.url, hub.token, "POST", "/users/ann/servers/api", body)
    assert answer.status == 400
    assert [each.split(": ")[0] for each in answer.json["message"].split("; ") if ": " in each] == [
        "image",
        "workspace.size",
        "workspace.mount",
        "data_volumes.0.mount",
        "data_volumes.1.mount",
    ]


PROFILES = """
async def profiles(spawner):
    return [{
        "display_name": "Big <b>machine</b>",
        "slug": "big",
        "description": "for " + spawner.user.name,
        "profile_options": {
            "size": {"display_name": "Machine", "choices": {
                "s": {"display_name": "Small", "kubespawner_override": {"cpu_limit": 1}},
                "l": {"display_name": "Large", "kubespawner_override": {"cpu_limit": 2}},
            }, "unlisted_choice": {
                "enabled": True, "display_name": "CPUs", "validation_regex": "^[0-9]$",
                "kubespawner_override": {"extra_labels": {"cpus": "{value}"}},
            }},
        },
        "kubespawner_override": {"image": "localhost/big:1"},
    }, {
        "display_name": "Large JupyterLab",
        "slug": "large",
        "kale": {"image": "jupyter-kale"},
        "kubespawner_override": {"cpu_limit": 3},
    }]
c.KaleSpawner.profile_list = profiles
c.KaleImages.custom_image_pattern = "localhost/[a-z]+:[0-9]+"
c.KaleVolumes.workspace = {"mode": "fixed", "size": "4Gi"}
c.KaleVolumes.data_volumes = {"mode": "hidden", "volumes": [{"mount": "/set", "size": "1Gi"}]}
"""


@pytest.fixture(scope="module")
def other_hub(start_hub: StartHub) -> Hub:
    return start_hub(PROFILES)


def test_kubespawners_profiles_and_options_go_on_working(other_hub: Hub, cluster: Cluster) -> None:
    visitor = other_hub.visitor("kim")
    shown = visitor.get("/hub/spawn")
    assert "Big <b>machine</b>" in shown.text
    assert "for kim" in shown.text
    assert shown.page.fields()["profile-option-big--size"] == "s"
    wrong = visitor.spawn(
        profile="big",
        **{
            "profile-option-big--size": "unlisted-choice",
            "profile-option-big--size--unlisted-choice": "many",
        },
    )
    assert wrong.status == REFUSED
    assert "profile-option-big--size" in wrong.page.errors()
    assert wrong.page.fields()["profile-option-big--size--unlisted-choice"] == "many"
    answer = visitor.spawn(
        profile="big",
        **{
            "profile-option-big--size": "unlisted-choice",
            "profile-option-big--size--unlisted-choice": "7",
        },
    )
    assert answer.status == 302, answer.page.errors()
    until(lambda: cluster.pods())
    (pod,) = cluster.core.list_namespaced_pod(cluster.namespace).items
    assert pod.metadata.labels["cpus"] == "7"
    assert pod.spec.containers[0].image == "localhost/big:1"
    assert cluster.claims() == {}
    stop(other_hub, "kim")
    until(lambda: not cluster.pods())
    fields = visitor.get("/hub/spawn").page.fields()
    assert fields["profile-option-big--size--unlisted-choice"] == "7"


def test_an_entry_of_the_profile_list_can_have_our_volumes(
    other_hub: Hub, cluster: Cluster
) -> None:
    answer = other_hub.visitor("mia").spawn(profile="large")
    assert answer.status == 302, answer.page.errors()
    until(lambda: cluster.pods())
    (pod,) = cluster.core.list_namespaced_pod(cluster.namespace).items
    assert pod.spec.containers[0].resources.limits["cpu"] == "3"
    assert cluster.claims() == {"mia-workspace": "4Gi", "mia-data-1": "1Gi"}
    stop(other_hub, "mia")


def test_what_the_administrator_fixed_is_shown_and_cannot_be_changed(
    other_hub: Hub, nothing_made: None
) -> None:
    visitor = other_hub.visitor("lea")
    shown = visitor.get("/hub/spawn").page
    assert shown.by_id("kale-workspace-size").attrs["value"] == "4"
    assert "workspace.size" not in shown.fields()
    assert "hidden" in shown.by_id("kale-data").attrs
    answer = visitor.spawn(workspace__size="5")
    assert answer.status == REFUSED
    assert "set by the administrator" in answer.page.by_id("kale-errors").all_text()


def test_an_image_of_ones_own_has_to_match(other_hub: Hub, nothing_made: None) -> None:
    answer = other_hub.visitor("lea").spawn(**{"image.jupyter-kale": "evil/image:1"})
    assert answer.status == REFUSED
    assert "image.jupyter-kale" in answer.page.errors()
    assert answer.page.fields()["image.jupyter-kale"] == "evil/image:1"


TEMPLATE = """
import kubespawner
templates = __import__("pathlib").Path(kubespawner.__file__).parent / "templates"
c.KubeSpawner.profile_form_template = (templates / "form.html").read_text()
"""


@pytest.fixture(scope="module")
def templated_hub(start_hub: StartHub) -> Hub:
    """A hub whose administrator made a copy of kubespawner's own page."""
    return start_hub(PROFILES + TEMPLATE)


def test_a_template_of_kubespawners_shows_and_starts_all_that_is_offered(
    templated_hub: Hub, cluster: Cluster
) -> None:
    visitor = templated_hub.visitor("tess")
    shown = visitor.get("/hub/spawn").page
    offered = [
        each.attrs["value"] for each in shown.elements if each.attrs.get("name") == "profile"
    ]
    assert offered == ["jupyter-kale", "vscode-kale", "big", "large"]
    assert shown.fields() | {"_xsrf": ""} == {
        "_xsrf": "", "profile": "jupyter-kale", "profile-option-big--size": "s",
    }  # fmt: skip
    wrong = visitor.spawn(profile="big", **{"profile-option-big--size": "none"})
    assert wrong.status == REFUSED
    assert "is not offered here; use s, l" in wrong.text
    assert wrong.page.fields()["profile"] == "big"
    for fields, image, claims in (
        ({"profile": "big", "profile-option-big--size": "l"}, "localhost/big:1", set()),
        ({"profile": "vscode-kale"}, "vscode-kale-py38:test", {"tess-workspace", "tess-data-1"}),
    ):
        answer = visitor.spawn(**fields)
        assert answer.status == 302, answer.text
        until(lambda: cluster.pods())
        (pod,) = cluster.core.list_namespaced_pod(cluster.namespace).items
        assert pod.spec.containers[0].image.endswith(image)
        assert set(cluster.claims()) == claims
        stop(templated_hub, "tess")
        until(lambda: not cluster.pods())
    assert visitor.get("/hub/spawn").page.fields()["profile"] == "vscode-kale"


def test_the_pages_script_data_is_json(hub: Hub) -> None:
    page = hub.visitor("ann").get("/hub/spawn").page
    data = json.loads(page.by_id("kale-data-json").text)
    assert data["limits"]["maxSize"] == {"bytes": 50 << 30, "text": "50Gi"}
    assert set(data["profiles"]) == {"jupyter-kale", "vscode-kale"}
