"""Many damaged files through one reader."""

from __future__ import annotations

import logging
import random
import resource
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.files import READERS, Sample
from tests.fuzz.models import MODELS
from tests.fuzz.watch import attempt

ALL: dict[str, Callable[[Path], Sample]] = {**READERS, **MODELS}
SEED = 12


@dataclass
class Summary:
    """What came of it: counts by outcome, faults and the file of each, the slowest reading (s), memory taken (MB)."""

    count: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, bytes]] = field(default_factory=list)
    slowest: float = 0.0
    grown: float = 0.0


def fuzz(name: str, count: int, seed: int = SEED) -> Summary:
    """``count`` damaged files through the reader ``name``; equal numbers give equal files."""
    found = Summary()
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sample = ALL[name](Path(folder))
            good = sample.path.read_bytes()
            sample.read()  # the good file is read, whatever follows
            before = _peak()
            for number in range(count):
                content = sample.damage(good, random.Random(f"{name}-{seed}-{number}"))
                sample.path.write_bytes(content)
                outcome = attempt(sample.read, sample.path)
                found.count += 1
                found.outcomes[outcome.told if outcome.good else "fault"] += 1
                found.slowest = max(found.slowest, outcome.seconds)
                if not outcome.good:
                    found.faults.append((outcome.told, content))
            found.grown = _peak() - before
    finally:
        logging.disable(logging.NOTSET)
    return found


def _peak() -> float:
    """The most memory this process has held so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
