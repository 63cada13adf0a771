"""Closed-form edits of linear layers: the ridge problem behind UCE and RECE, solved in float64.

A layer answers ``W x + b``. Wanted is the ``W'`` that minimises

    ridge ||W' - W||^2 + sum_i weight_i ||W' x_i + b - y_i||^2,

whose solution is ``W' = W + [sum_i weight_i (y_i - W x_i - b) x_i^T] [ridge I + sum_i weight_i x_i x_i^T]^-1``: the
closed form of Gandikota et al., "Unified Concept Editing in Diffusion Models" (WACV 2024), written as a change of ``W``,
so that rows to be kept enter the inverse only. The bias stays outside: the layer adds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Ridge:
    """Normal equations of one layer.

    Attributes:
        weight: the present ``W`` ``(out, in)``, float64.
        gram: ``sum weight_i x_i x_i^T`` ``(in, in)``.
        change: ``sum weight_i (y_i - W x_i - b) x_i^T`` ``(out, in)``.
    """

    weight: Tensor
    gram: Tensor
    change: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Ridge:
        """No terms yet."""
        weight = weight.detach().double()
        return cls(weight, weight.new_zeros(weight.shape[1], weight.shape[1]), torch.zeros_like(weight))

    def add(self, inputs: Tensor, change: Tensor | None, scale: float) -> None:
        """Rows ``(rows, in)`` whose output should change by ``change`` ``(rows, out)``; None = stay as it is."""
        self.gram += scale * (inputs.T @ inputs)
        if change is not None:
            self.change += scale * (change.T @ inputs)

    def add_gram(self, gram: Tensor, change: Tensor | None = None) -> None:
        """Rows of which only the sums ``(in, in)`` and ``(out, in)`` are known."""
        self.gram += gram
        if change is not None:
            self.change += change

    def solve(self, ridge: float) -> Tensor:
        """The new ``W'`` ``(out, in)``."""
        system = self.gram + ridge * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        return self.weight + torch.linalg.solve(system, self.change.T).T


def wanted_change(
    inputs: Tensor, anchors: Tensor, weight: Tensor, bias: Tensor | None, target: str, original: Tensor | None = None
) -> Tensor:
    """By how much the layer's output should change on the concept's rows ``(rows, out)``.

    Args:
        inputs: rows of the concept ``(rows, in)``.
        anchors: what each row should become, or one for all ``(rows or 1, in)``.
        weight, bias: of the layer now, ``(out, in)`` and ``(out,)``.
        target: ``anchor``: the anchor's output; ``projection``: that without its part along the concept's own output.
        original: weight that the anchors' output is taken from, where ``weight`` is already an edited one.
    """
    offset = 0.0 if bias is None else bias
    now = inputs @ weight.T + offset
    aim = anchors @ (weight if original is None else original).T + offset
    if target == "projection":
        unit = now / now.norm(dim=1, keepdim=True).clamp_min(torch.finfo(now.dtype).tiny)
        aim = aim - (aim * unit).sum(1, keepdim=True) * unit
    return aim - now


def adversarial_map(pairs: Sequence[tuple[Tensor, Tensor]], ridge: float) -> Tensor:
    """RECE's ``C`` ``(in, in)``: ``C c`` is the embedding that gets the closest to the *old* answer to ``c``.

    ``C = (ridge I + sum W'^T W')^-1 sum W'^T W`` over ``(W', W)`` = (new, old) weights of the layers that read the same
    embedding (Gong et al., "Reliable and Efficient Concept Erasure", ECCV 2024). A bias cancels.
    """
    new = sum((w.T @ w for w, _ in pairs), torch.zeros(()))
    both = sum((w.T @ old for w, old in pairs), torch.zeros(()))
    eye = torch.eye(len(new), dtype=new.dtype, device=new.device)
    return torch.linalg.solve(new + ridge * eye, both)
