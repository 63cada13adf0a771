"""A small evaluation to make pages of: two models and real clips, forget and retain, one prompt that means harm."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmu.evaluation.results import Results, Row
from hmu.motion.skeleton import T2M
from hmu.report.page import Clip, Stick, Take
from tests.motion.walker import walker

EVIL = "kicks </script><script>throw Error('escaped')</script> & \"bows\""
REAL = {"forget": {"kick": 1.0}}


def rates(set_: str, base: float, unlearned: float, label: str | None = None, n: int = 20) -> list[Row]:
    direction = "lower" if label == "kick" else "higher"
    return [
        Row(model, set_, "detector_rate", value, max(0, value - 0.1), min(1, value + 0.1), n, 2, label, direction)
        for model, value in (("base", base), ("unlearned", unlearned))
    ]


def rows() -> list[Row]:
    found = rates("forget", 0.9, 0.05, "kick") + rates("paraphrase", 0.8, 0.3, "kick", 8)
    found += rates("retain", 0.7, 0.63) + rates("retain", 0.8, 0.6, "walk", 5) + rates("retain", 0.7, 0.7, "wave", 12)
    found += rates("neighbours", 0.6, 0.6)
    found += [Row(m, "retain", "fid", v, v - 0.1, v + 0.1, 20, 2) for m, v in (("base", 1.5), ("unlearned", 1.625))]
    return [*found, Row("base", "forget", "mm_dist", float("nan"), n=20)]


def takes(count: int = 3, frames: int = 40) -> list[Take]:
    walk = walker(frames)
    prompts = [EVIL, *(f"a person walks number {i}" for i in range(1, count))]
    return [
        Take(
            prompt,
            "forget" if i < 2 else "retain",
            {
                "base": Clip(walk + np.array([0.05 * i, 0.0, 0.0]), seen=True),
                "unlearned": Clip(walk[: frames - 4] * np.array([1.0, 0.9, 1.0]), seen=False),
                "real": Clip(walk[::-1]),
            },
        )
        for i, prompt in enumerate(prompts)
    ]


def evaluated(**changes: Any) -> dict[str, Any]:
    """Arguments of a page; ``changes``: of these, of the results, or of their context."""
    context = {"title": "esd-kick on demo", "concept": "kick", "dataset": "demo"}
    context |= {"data_fingerprint": "0123456789abcdef" * 4, "real_clips": REAL, **changes.pop("context", {})}
    results = Results(context, changes.pop("rows", rows()), changes.pop("scoreboard", {}))
    return {"results": results, "takes": takes(), "stick": Stick.of(T2M), **changes}


def long_motions(count: int, frames: int = 196) -> list[Take]:
    """As many as a full page holds, three models each, with millimetres of noise as networks leave it."""
    rng, walk = np.random.default_rng(0), walker(frames)
    noisy = [
        {m: Clip(walk + rng.normal(0, 0.005, walk.shape)) for m in ("base", "unlearned", "real")} for _ in range(count)
    ]
    return [Take(f"prompt {i}", "retain", clips) for i, clips in enumerate(noisy)]
