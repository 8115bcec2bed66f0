"""Claims and pods where somebody was there before, or an answer was lost on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kale_spawner import errors
from kale_spawner.kube.objects import PodExists
from kale_spawner.model import marks
from kale_spawner.wire import USERNAME_LABEL
from tests.unit.apiserver import FakeApi, loses, refuses, serving

CLAIMS, PODS, CLASSES = "persistentvolumeclaims", "pods", "storageclasses"


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serving() as api:
        yield api


def made(name: str, user: str = "alice", start: str = "this", label: str = "") -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {USERNAME_LABEL: label or user},
            "annotations": {USERNAME_LABEL: user, marks.START: start},
        }
    }


async def test_claims_are_made(api: FakeApi) -> None:
    claims = await api.objects().make_claims([made("a"), made("b")], "alice")
    assert [(each.manifest["metadata"]["name"], each.new) for each in claims] == [
        ("a", True), ("b", True),
    ]  # fmt: skip
    assert api.names(CLAIMS) == {"a", "b"}


@pytest.mark.parametrize("kind", [CLAIMS, PODS])
async def test_what_was_made_although_the_answer_was_lost_is_known_again(
    api: FakeApi, kind: str
) -> None:
    api.troubles = [loses]
    if kind == CLAIMS:
        [claim] = await api.objects().make_claims([made("a")], "alice")
        assert claim.new
        found = claim.manifest
    else:
        found = await api.objects().make_pod(made("a"))
    assert found == api.kept[kind, "a"]
    assert [method for method, _, _ in api.asked] == ["POST", "POST", "GET"]


async def test_a_claim_of_the_users_own_is_reused(api: FakeApi) -> None:
    api.keep(CLAIMS, made("a", start="earlier"))
    [claim] = await api.objects().make_claims([made("a")], "alice")
    assert not claim.new
    assert claim.manifest == api.kept[CLAIMS, "a"]


@pytest.mark.parametrize("start", ["earlier", "this"])
@pytest.mark.parametrize("label", ["bob", "alice"])
async def test_a_claim_of_somebody_else_is_refused_without_telling_whose(
    api: FakeApi, label: str, start: str
) -> None:
    """Even where it bears the user's label, or says that this start made it."""
    api.keep(CLAIMS, made("a", user="bob", label=label, start=start))
    with pytest.raises(errors.StartFailed, match='"a" cannot be used') as caught:
        await api.objects().make_claims([made("a"), made("b")], "alice")
    assert caught.value.cause == "name"
    assert "bob" not in str(caught.value)
    assert api.names(CLAIMS) == {"a", "b"}  # the others are made to the end, to be cleaned up


async def test_a_claim_that_nobody_owns_is_refused(api: FakeApi) -> None:
    api.keep(CLAIMS, {"metadata": {"name": "a"}})
    with pytest.raises(errors.StartFailed):
        await api.objects().make_claims([made("a")], "alice")


async def test_a_claim_that_went_between_the_answers_is_told(api: FakeApi) -> None:
    api.troubles = [refuses(409)]
    with pytest.raises(errors.Conflict):
        await api.objects().make_claims([made("a")], "alice")


async def test_a_pod_of_an_earlier_start_is_not_taken_for_this_ones(api: FakeApi) -> None:
    api.keep(PODS, made("a", start="earlier"))
    with pytest.raises(PodExists):
        await api.objects().make_pod(made("a"))
    api.kept.clear()
    api.troubles = [refuses(409)]
    with pytest.raises(PodExists):
        await api.objects().make_pod(made("a"))


async def test_a_try_makes_nothing_and_leaves_what_is_there(api: FakeApi) -> None:
    api.keep(CLAIMS, made("a", user="bob"))
    await api.objects().try_all([made("a"), made("b")], made("p"))
    assert set(api.kept) == {(CLAIMS, "a")}
    assert all(query == {"dryRun": "All", "fieldValidation": "Strict"} for _, _, query in api.asked)
    api.keep(PODS, made("p", start="earlier"))
    with pytest.raises(PodExists):
        await api.objects().try_all([made("b")], made("p"))


@pytest.mark.parametrize(
    ("code", "kind"), [(403, errors.Denied), (404, errors.NotFound), (422, errors.Rejected)]
)
async def test_what_a_try_is_refused_for_is_kept(
    api: FakeApi, code: int, kind: type[errors.ClusterError]
) -> None:
    api.troubles = [refuses(code, "exceeded quota: q")]
    with pytest.raises(kind) as caught:
        await api.objects().try_all([], made("p"))
    assert caught.value.detail == "exceeded quota: q"


async def test_a_claim_is_deleted_by_its_uid_alone(api: FakeApi) -> None:
    former = api.keep(CLAIMS, made("a"))
    api.keep(CLAIMS, made("a", start="later"))
    await api.objects().delete_claim(former)
    assert api.names(CLAIMS) == {"a"}
    api.troubles = [loses]
    await api.objects().delete_claim(api.kept[CLAIMS, "a"])
    await api.objects().delete_claim(former)
    assert api.names(CLAIMS) == set()


async def test_a_pod_is_deleted_once_and_another_of_its_name_stays(api: FakeApi) -> None:
    former = api.keep(PODS, made("p"))["metadata"]["uid"]
    api.keep(PODS, made("p", start="later"))
    await api.objects().delete_pod("p", 1, uid=former)
    assert api.names(PODS) == {"p"}
    api.troubles = [loses]
    await api.objects().delete_pod("p", 1)
    assert api.names(PODS) == set()


async def test_only_what_bears_the_label_is_listed(api: FakeApi) -> None:
    for name, user in (("a", "alice"), ("b", "bob")):
        api.keep(CLAIMS, made(name, user=user))
    found = await api.objects().claims_of(USERNAME_LABEL, "alice")
    assert [claim["metadata"]["name"] for claim in found] == ["a"]


async def test_a_namespace_is_made_once_or_told_why_not(api: FakeApi) -> None:
    objects = api.objects()
    api.troubles = [refuses(503), loses]
    for _ in range(2):
        await objects.make_namespace({"metadata": {"name": "user-alice"}})
    assert api.names("namespaces") == {"user-alice"}
    api.troubles = [refuses(403, "hub cannot create resource namespaces")]
    with pytest.raises(errors.StartFailed, match=r'"user-alice".*Ask your administrator') as caught:
        await objects.make_namespace({"metadata": {"name": "user-alice"}})
    assert "resource" not in str(caught.value)
