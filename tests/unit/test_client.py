"""The one call wrapper: what is repeated, what is not, and how it is told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kale_spawner import errors
from kale_spawner.kube.client import call
from tests.unit.apiserver import NAMESPACE, FakeApi, Trouble, drops, hangs, refuses, says, serving

POD = {"metadata": {"name": "p"}}


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serving() as api:
        api.keep("pods", POD)
        yield api


async def read(api: FakeApi, attempt: float = 5.0, total: float = 30.0) -> dict[str, Any]:
    return await call(
        api.core.read_namespaced_pod, "p", NAMESPACE, attempt_seconds=attempt, total_seconds=total
    )


async def failing(api: FakeApi, **times: float) -> errors.ClusterError:
    with pytest.raises(errors.ClusterError) as caught:
        await read(api, **times)
    return caught.value


@pytest.mark.parametrize(
    "trouble",
    [
        refuses(408), refuses(429), refuses(500), refuses(502), refuses(503), refuses(504),
        drops, says(b'{"metadata": {"na', promised=100), says(b'{"metadata": {"na'), says(b"<html>"),
    ],
    ids=["408", "429", "500", "502", "503", "504", "drops", "cut", "half", "no JSON"],
)  # fmt: skip
async def test_what_passes_is_asked_again(api: FakeApi, trouble: Trouble) -> None:
    api.troubles = [trouble]
    assert (await read(api))["metadata"]["name"] == "p"
    assert len(api.asked) == 2


async def test_an_answer_that_does_not_come_is_asked_for_again(api: FakeApi) -> None:
    api.troubles = [hangs]
    assert (await read(api, attempt=1.0))["metadata"]["name"] == "p"
    assert len(api.asked) == 2


@pytest.mark.parametrize(
    ("trouble", "detail"),
    [
        (refuses(503, "etcd is away"), "etcd is away"),
        (refuses(429, "slowly"), "slowly"),
        (hangs, "TimeoutError"),
        (drops, "ServerDisconnectedError"),
        (says(b"<html>"), "Expecting value"),
    ],
    ids=["503", "429", "hangs", "drops", "no JSON"],
)
async def test_what_does_not_pass_is_given_up_in_time(
    api: FakeApi, trouble: Trouble, detail: str
) -> None:
    api.troubles = [trouble] * 100
    began = time.monotonic()
    error = await failing(api, attempt=0.5, total=1.0)
    assert time.monotonic() - began < 5
    assert isinstance(error, errors.Unreachable)
    assert error.status == 503
    assert detail in error.detail
    assert detail not in str(error)
    assert 2 <= len(api.asked) <= 9  # aiohttp asks again once itself where a connection ended


async def test_a_server_that_is_not_there_is_out_of_reach(api: FakeApi) -> None:
    api.core.api_client.configuration.host = "http://127.0.0.1:1"
    error = await failing(api, total=0.2)
    assert isinstance(error, errors.Unreachable)
    assert "Connect" in error.detail


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.Rejected),
        (401, errors.ClusterError),
        (403, errors.Denied),
        (404, errors.NotFound),
        (405, errors.ClusterError),
        (409, errors.Conflict),
        (422, errors.Rejected),
    ],
)
async def test_a_refusal_is_told_once_and_the_servers_words_are_for_the_log(
    api: FakeApi, code: int, kind: type[errors.ClusterError]
) -> None:
    api.troubles = [refuses(code, "pods p of bob is forbidden")]
    error = await failing(api)
    assert type(error) is kind
    assert (error.code, error.detail) == (code, "pods p of bob is forbidden")
    assert "bob" not in str(error)
    assert len(api.asked) == 1


async def test_an_answer_of_another_shape_is_not_asked_for_again(api: FakeApi) -> None:
    api.troubles = [says(b'["p"]')]
    error = await failing(api)
    assert type(error) is errors.ClusterError
    assert error.detail == "['p']"
    assert len(api.asked) == 1
