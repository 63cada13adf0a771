"""Kinematic concept detectors: is there a kick, a wave, a jump … in these joints?

Rules with named thresholds, nothing learned: the judge that no trained evaluator can bribe. Each public module of
this package holds one detector or a small family; every frozen dataclass that derives from ``Detector`` is found by
its ``name``, so that adding a concept is adding a file. One of another package is known from when its module is
imported, best by the concept that it sees (``_target_: mine.spin.Spinning``). Rules, thresholds and measured confusion:
``docs/detectors.md``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.errors import ConfigError
from hmu.motion.detectors._body import Body, Detector, Found
from hmu.motion.kinematics import as_arrays

__all__ = ["Body", "Detector", "Found", "detect", "detect_each", "detector", "names", "rule_of"]

Bools = NDArray[np.bool_]
_SIDES = ("left", "right", "both")
_CHUNK = 256  # clips looked at together: the signals of one clip take about 1 MB


@lru_cache(maxsize=1)
def _import_ours() -> None:
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            importlib.import_module(f"{__name__}.{info.name}")


def _known() -> dict[str, type[Detector]]:
    _import_ours()
    kinds = list(Detector.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()  # which are then visited too
    return {
        kind.name: kind
        for kind in sorted(kinds, key=lambda kind: getattr(kind, "name", ""))
        if not inspect.isabstract(kind)
    }


def names() -> tuple[str, ...]:
    """The names of all detectors, sorted."""
    return tuple(_known())


def detector(name: str, **thresholds: float) -> Detector:
    """The detector of that name, with its documented thresholds or with some of them replaced.

    Raises:
        ConfigError: unknown name or threshold.
    """
    kinds = _known()
    if name not in kinds:
        raise ConfigError(f"no detector is called '{name}': known are {', '.join(kinds)}")
    kind = kinds[name]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(thresholds) - set(known))
    if unknown:
        raise ConfigError(f"detector '{name}' has no threshold '{unknown[0]}': it has {', '.join(known)}")
    return kind(**thresholds)


def detect(name: str, joints: Any, lengths: Any = None, fps: float = 20.0) -> Bools:
    """Which clips contain the concept, bool ``(batch,)``.

    ``name`` may have a side that the detector can tell apart: ``kick_left``, ``wave_both``. The other arguments are as
    :func:`hmu.motion.kinematics.as_arrays` takes them.

    Raises:
        ConfigError: unknown name or side.
        DataError: wrong shapes, NaN.
    """
    return detect_each([name], joints, lengths, fps)[name]


def detect_each(concepts: Iterable[str], joints: Any, lengths: Any = None, fps: float = 20.0) -> dict[str, Bools]:
    """Several concepts at once, ``name -> bool (batch,)``; signals are computed once. Arguments: :func:`detect`."""
    rules = {name: rule_of(name) for name in concepts}
    hits: dict[str, list[Bools]] = {name: [] for name in rules}
    for body in _bodies(joints, lengths, fps) if rules else ():
        for name, (rule, side) in rules.items():
            sight = rule(body)
            if side and side not in sight.sides:
                sides = ", ".join(sight.sides) or "no sides"
                raise ConfigError(f"detector '{rule.name}' cannot tell '{side}': it tells {sides}")
            hits[name].append(sight.sides[side] if side else sight.any)
    return {name: np.concatenate(parts) for name, parts in hits.items()}


def rule_of(name: str) -> tuple[Detector, str]:
    """The detector that a name means, and the side (or ""). ConfigError names those there are."""
    base, _, side = name.rpartition("_")
    plain = name in _known() or side not in _SIDES or base not in _known()
    return (detector(name), "") if plain else (detector(base), side)


def _bodies(joints: Any, lengths: Any, fps: float) -> Iterator[Body]:
    """The batch in portions, so that thousands of clips fit into memory."""
    points, counts = as_arrays(joints, lengths)
    for start in range(0, max(len(points), 1), _CHUNK):
        part = counts[start : start + _CHUNK]
        frames = int(part.max(initial=1))
        yield Body(points[start : start + _CHUNK, :frames], part, fps)
