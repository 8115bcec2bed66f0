"""What nobody has used for a month goes from the cache."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_SECONDS = 30 * 86400


def to_prune(there: Iterable[Path], used: Iterable[Path]) -> list[Path]:
    """Of `there`, those that are to go; `used` are those of this check-out.

    The time of its last change tells when something was used: other check-outs share the cache.
    """
    for path in used:
        os.utime(path)
    oldest = time.time() - _SECONDS
    return [path for path in there if path.stat().st_mtime < oldest]
