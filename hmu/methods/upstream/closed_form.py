"""The training-free edits as two published repositories compute them (``variant: upstream``), their faults included.

* HMU's port of UCE and RECE: the values that ``W'`` must produce hold the bias, and the layer adds the bias again, so
  kept prompts move by up to ``b``; RECE takes both factors of its map from the *current* weights, so that the
  "adversarial" embedding is nearly the concept itself.
* The SALAD fork's UCE: ``W <- W - lambda (W d) d^T / ||d||``: one norm too few, so the gain along ``d`` is
  ``1 - lambda ||d||``; and ``d`` is measured before a LayerNorm that the matrices are applied after.

Kept to reproduce figures, not to be used otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.methods.closed_form import Group, Scales, adversarial_map, erased_output
from hmu.methods.prompt_rows import CHUNK


def reads_words(backbone: MotionBackbone) -> bool:
    """Whether ``backbone`` is of the fork's kind: keys and values of attention to projected words."""
    names = backbone.text_projections()
    return hasattr(backbone.network(), "word_emb") and all(name.endswith((".Wk", ".Wv")) for name in names)


def solve(
    group: Group,
    name: str,
    scales: Scales,
    target: str,
    *,
    concept: Tensor | None = None,
    current: Tensor | None = None,
) -> Tensor:
    """``(ridge W + erase sum v c^T + keep sum (W r + b) r^T) (...)^-1`` with ``b`` inside ``v``: ``(out, in)``.

    Arguments as of :func:`hmu.methods.closed_form.solve`; ``v`` is asked of the *current* weight.
    """
    original, bias = group.layers[name]
    weight, rows = original if current is None else current, group.concept if concept is None else concept
    value = erased_output(rows, group.aim, weight, bias, target)
    retained = weight @ group.gram
    if bias is not None:
        retained = retained + torch.outer(bias, group.total)
    left = scales.ridge * weight + scales.erase * value.T @ rows + scales.keep * retained
    eye = torch.eye(len(group.gram)).to(group.gram)
    right = scales.ridge * eye + scales.erase * rows.T @ rows + scales.keep * group.gram
    return torch.linalg.solve(right, left.T).T


def rece_round(
    group: Group, weights: dict[str, Tensor], scales: Scales, target: str, ridge: float
) -> tuple[dict[str, Tensor], Tensor]:
    """One round of the port: new weights of every layer, and the embedding that was erased ``(rows, in)``."""
    adversary = group.concept @ adversarial_map([(w, w) for w in weights.values()], ridge).T
    solved = {n: solve(group, n, scales, target, concept=adversary, current=w) for n, w in weights.items()}
    return solved, adversary


# -- the SALAD fork ----------------------------------------------------------------------------------------------------
def fork_weight(weight: Tensor, direction: Tensor, strength: float) -> Tensor:
    """``W - lambda (W d) d^T / ||d||``, ``(out, in)``."""
    return weight - strength * torch.outer(weight @ direction, direction) / direction.norm()


def mean_words(network: Any, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over prompts of the mean over positions of the projected words ``(width,)``.

    Args:
        tokens: ``(prompts, positions, text width)``.
        mask: True at positions that count ``(prompts, positions)``; None = all, padding included, as the fork does.
    """
    words = network.word_emb(tokens)
    if mask is None:
        return words.mean(1).mean(0)
    return ((words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).mean(0)


def fork_deltas(
    backbone: MotionBackbone, forget: Sequence[str], retain: Sequence[str], strength: float
) -> dict[str, Tensor]:
    """The fork's change ``(out, in)`` of every cross-attention's ``Wk`` and ``Wv`` by layer, float64.

    The fork's padding positions do not exist here: means run over the real tokens.
    """
    with torch.no_grad():
        direction = _mean_of(backbone, forget) - _mean_of(backbone, retain)
        weights = {name: layer.weight.double() for name, layer in backbone.text_projections().items()}
    return {name: fork_weight(w, direction, strength) - w for name, w in weights.items()}


def _mean_of(backbone: MotionBackbone, texts: Sequence[str]) -> Tensor:
    network: Any = backbone.network()
    total: Any = 0.0
    for start in range(0, len(texts), CHUNK):
        condition = backbone.encode_text(texts[start : start + CHUNK])
        total = total + mean_words(network, condition.tokens, condition.mask).double() * len(condition)
    return total / len(texts)
