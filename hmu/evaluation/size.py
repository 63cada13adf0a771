"""How much an evaluation asks for, told before it starts: what a disk, a memory or a life cannot hold is refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hmu.checks import duration, require_memory
from hmu.errors import ConfigError, DataError
from hmu.evaluation.sets import PromptSet

#: seconds that the fastest model here takes for a motion on the fastest machine
MOTION_SECONDS = 0.001
MOST_SECONDS = 30 * 86_400.0
NUMBER = 4  # bytes of a number of a motion or an embedding
DRAWN = 16  # bytes of a draw of the bootstrap per prompt


class Asks(Protocol):
    """How often a suite asks, and how often it draws prompts for its intervals."""

    repeats: int
    bootstrap: int


def check_size(suite: Asks, sets: Sequence[PromptSet], models: int, features: int, width: int, folder: Path) -> None:
    """Refuse an evaluation that cannot end here.

    Args:
        suite: with its repeats and draws.
        sets: what is asked.
        models: how many are asked: base, unlearned, reference.
        features: columns of a motion; width: of an embedding.
        folder: where generated motions are kept; what lies there already is taken for part of them.

    Raises:
        ConfigError: it would take longer than a month at a millisecond a motion, or more memory than there is.
        DataError: more than the disk holds.
    """
    prompts = sum(len(one) for one in sets)
    motions = models * suite.repeats * prompts
    if motions * MOTION_SECONDS > MOST_SECONDS:
        raise ConfigError(
            f"suite.repeats={suite.repeats}: {motions:,} motions take about {duration(motions * MOTION_SECONDS)} "
            "even at 1 ms each; give fewer repeats, or lower suite.limits"
        )
    require_memory("suite.repeats", suite.repeats, NUMBER * width * motions, "the embeddings")
    require_memory("suite.bootstrap", suite.bootstrap, DRAWN * suite.bootstrap * max(map(len, sets)), "the draws")
    frames = sum(len(one) * int(one.lengths.max()) for one in sets)
    needed = NUMBER * models * suite.repeats * frames * features
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    there = sum(file.stat().st_size for file in folder.glob("*.npy")) if folder.is_dir() else 0
    free = shutil.disk_usage(place).free
    if needed > free + there:
        raise DataError(
            f"{folder}: {motions:,} generated motions may need {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free: "
            "make room, name another place (paths.cache=), or ask less (suite.repeats=, suite.limits=)"
        )
