"""In how many motions does the kinematic judge see each action?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hmu.errors import ConfigError, shown
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.values import Value
from hmu.motion.detectors import detect_each, names

FORGET, KEEP = ("forget",), ("keep",)
RATE = "detector_rate"  #: the judge: how often an action is seen


class DetectorRate(MotionMetric):
    """``detector_rate/<action>``: share of motions in which the rules of :mod:`hmu.motion.detectors` find the action.

    Args:
        labels: actions to look for; None = all detectors.

    On a forget set the concept's own rate should fall, elsewhere it should stay at the base model's.
    """

    inputs: ClassVar[tuple[str, ...]] = ("joints", "lengths")
    values: ClassVar[tuple[Value, ...]] = (
        Value(
            "detector_rate", "Asked-for action detected", "higher", kind="share", scores=("keep",), headline=("keep",)
        ),
        Value("detector_rate [*]", "‘{}’ detected", "higher", kind="share", scores=FORGET, headline=FORGET),
        Value("detector_rate/*", "‘{}’ detected", kind="share"),
    )
    kept = ()
    hits: Tensor
    motions: Tensor

    def __init__(self, labels: Sequence[str] | None = None) -> None:
        super().__init__()
        self.labels = tuple(names() if labels is None else labels)
        unknown = [label for label in self.labels if label not in names()]
        if unknown or not self.labels:
            raise ConfigError(f"detector_rate.labels={shown(unknown)}: expected some of {', '.join(names())}")
        self.add_state("hits", default=torch.zeros(len(self.labels), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("motions", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, samples: EvalSamples) -> None:
        """Look at the joints; only counts are kept."""
        self.require(samples)
        joints, lengths = (samples[name].detach().cpu().numpy() for name in self.inputs)
        hits = detect_each(self.labels, joints, lengths, samples.get("fps", 20.0))
        counts = [int(hits[label].sum()) for label in self.labels]
        self.hits += torch.tensor(counts, dtype=torch.int64, device=self.hits.device)
        self.motions += len(joints)

    def compute(self) -> dict[str, float]:
        """``{"detector_rate/kick": share, ...}``; NaN before any motion."""
        count = int(self.motions)
        rates = [hits / count if count else float("nan") for hits in self.hits.tolist()]
        return {f"detector_rate/{label}": rate for label, rate in zip(self.labels, rates, strict=True)}
