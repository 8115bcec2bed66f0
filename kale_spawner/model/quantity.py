"""Sizes as Kubernetes writes them, exactly.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
Why not a library's parser: `kubernetes.utils.parse_quantity` takes "10GiB " for an error but
"0x" prefixes, "nan" and "1_0" for numbers, and returns fractions of bytes.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

MAX_BYTES = 2**63 - 1
"""The largest number that the API server keeps for a quantity."""

_NUMBER = r"[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}"
_SUFFIX = r"[KMGTPE]i|[mkMGTPE]|[eE][+-]?[0-9]{1,2}"
QUANTITY = rf"\+?(?:{_NUMBER})(?:{_SUFFIX})?"
"""What a size looks like, as a pattern that JSON Schema has too."""

_QUANTITY = re.compile(rf"\+?(?P<number>{_NUMBER})(?P<suffix>{_SUFFIX})?", re.ASCII)
_BINARY = {f"{letter}i": Decimal(1024) ** (i + 1) for i, letter in enumerate("KMGTPE")}
_DECIMAL = {"m": Decimal("0.001")} | {
    letter: Decimal(1000) ** (i + 1) for i, letter in enumerate("kMGTPE")
}


def parse_size(text: str) -> int:
    """The number of bytes of a quantity: "10Gi", "1.5G", "12e6".

    Raises ValueError, in words for the user, unless it is a whole number of bytes from 1 to
    `MAX_BYTES`.
    """
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f'"{text[:40]}" is not a size; write it like 10Gi or 500Mi')
    suffix = found["suffix"] or ""
    size = Fraction(found["number"]) * Fraction(_factor(suffix))
    if size.denominator != 1:
        raise ValueError(
            f'"{text[:40]}" is not a whole number of bytes; use a smaller unit, like 300Mi'
        )
    if size < 1:
        raise ValueError("a volume cannot be empty; write its size like 10Gi")
    if size > MAX_BYTES:
        raise ValueError(f'"{text[:40]}" is more than any volume can hold')
    return int(size)


def _factor(suffix: str) -> Decimal:
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(10) ** int(suffix[1:])
    return _BINARY.get(suffix) or _DECIMAL.get(suffix) or Decimal(1)


def format_size(size: int) -> str:
    """The shortest exact quantity with a binary suffix: 10737418240 is "10Gi"."""
    for suffix, factor in reversed(_BINARY.items()):
        if size >= factor and size % int(factor) == 0:
            return f"{size // int(factor)}{suffix}"
    return str(size)
