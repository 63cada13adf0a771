"""The compact text encoder at any size, its other numbers as ``configs/text/compact.yaml`` has them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from hmu.compose import composed
from hmu.text.compact import CompactTextEncoder


@cache
def numbers() -> dict[str, Any]:
    """The arguments of the file."""
    return {
        str(key): value for key, value in composed("text", "compact").items() if key not in ("_target_", "vocabulary")
    }


def compact(vocabulary: Sequence[str] = (), **changes: Any) -> CompactTextEncoder:
    """An encoder with fresh weights."""
    return CompactTextEncoder(vocabulary, **{**numbers(), **changes})
