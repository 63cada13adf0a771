"""Reliable and efficient concept erasure (Gong et al., ECCV 2024): UCE against the worst embedding that is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checks import require_time
from hmu.durations import DAY
from hmu.errors import ConfigError
from hmu.methods.closed_form import Group, adversarial_map, solve
from hmu.methods.uce import Uce
from hmu.methods.upstream import closed_form as upstream_edits
from hmu.values import Positive, Whole

ROUND_SECONDS = 0.001  # no round is faster


@dataclass(kw_only=True)
class Rece(Uce):
    """UCE, then rounds: find the embedding that still gets the old output, and erase that one too.

    After a solution ``W'`` the embedding ``c' = (adversary_ridge I + sum W'^T W')^-1 (sum W'^T W) c`` comes the closest
    to the original outputs for ``c``; the sums run over the layers that read the same embedding. The next round solves
    UCE's problem from ``W'`` with ``c'`` in the place of ``c``, and keeps what ``W'`` outputs for the other prompts, so
    that ``c`` stays erased. Anchors keep what the original weights output throughout.

    Args:
        rounds: how often; 0 is UCE.
        adversary_ridge: keeps ``c'`` small: the larger, the shorter the embeddings that are erased.
        variant: ``upstream`` takes both factors of the map from the current weights, as the published port does.
        target: as in UCE, but not ``direction``.
    """

    name: ClassVar[str] = "rece"

    rounds: Whole
    adversary_ridge: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        require_time("method.rounds", self.rounds, self.rounds, ROUND_SECONDS, "rounds", limit=DAY)
        if self.target == "direction":
            raise ConfigError("method.target=direction has no rounds: use anchor or projection, or method=uce")

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """As UCE; the fork of SALAD has no RECE to reproduce."""
        reason = super().fits(backbone)
        if reason is None and self.variant == "upstream" and isinstance(backbone, MotionBackbone):
            words = upstream_edits.reads_words(backbone)
            return "variant=upstream reproduces HMU's port, and the fork of SALAD has no RECE" if words else None
        return reason

    def solve_group(self, group: Group) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """UCE's solution ``(out, in)`` per layer, then the rounds.

        The record says how much of the old output each adversary brought back.
        """
        weights, _ = super().solve_group(group)
        scales = self.scales(group)
        left = []
        for _ in range(self.rounds):
            if self.variant == "upstream":
                weights, _ = upstream_edits.rece_round(group, weights, scales, self.target, self.adversary_ridge)
                continue
            pairs = [(weights[name], original) for name, (original, _) in group.layers.items()]
            adversary = group.concept @ adversarial_map(pairs, self.adversary_ridge).T
            left.append(round(recovered(group, weights, adversary), 4))
            weights = {
                name: solve(group, name, scales, self.target, concept=adversary, current=weights[name])
                for name in group.layers
            }
        return weights, {"answer recovered by the adversary, by round": left} if left else {}


def recovered(group: Group, weights: dict[str, Tensor], adversary: Tensor) -> float:
    """Share of the original outputs for the concept (bias aside) that ``adversary`` gets from the new weights: 1 = all.

    One minus the relative squared distance, over all layers of the group; ``adversary`` is ``(rows, in)``.
    """
    missed = total = 0.0
    for name, (original, _) in group.layers.items():
        before = group.concept @ original.T
        missed += float((adversary @ weights[name].T - before).square().sum())
        total += float(before.square().sum())
    return 1.0 - missed / max(total, 1e-300)
