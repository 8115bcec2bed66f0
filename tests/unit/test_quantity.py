from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_spawner.model.quantity import MAX_BYTES, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("10Gi", 10 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("500M", 500_000_000),
        ("12e6", 12_000_000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("+5Mi", 5 * 2**20),
        ("2000m", 2),
        (".5Ki", 512),
        ("9223372036854775807", MAX_BYTES),
    ],
)
def test_a_quantity_is_a_number_of_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "0", "0Gi", "-1Gi", "10GiB", "10 Gi", "10Gi ", "10gi", "1m", "0.1", "1.0001Ki",
        "nan", "inf", "1_0", "0x10", "1e-3", "1e99", "9Ei", "9223372036854775808", "१Gi", "1Gi\n",
        "1" * 5000, "1." + "0" * 28 + "1",
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|whole|empty|more") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 120


def test_a_part_of_a_byte_names_the_way_out() -> None:
    with pytest.raises(ValueError, match="smaller unit, like 300Mi"):
        parse_size("0.3Gi")


@given(st.integers(1, MAX_BYTES))
def test_formatting_loses_nothing(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=40))
def test_no_text_gives_more_or_less_than_is_allowed(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 1 <= parse_size(text) <= MAX_BYTES
