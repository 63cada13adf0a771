"""Closed-form edits of linear layers: the ridge problem behind UCE and RECE, solved in float64.

A layer computes ``W x + b``. The edit is the ``W'`` that minimises

    ridge ||W' - W||^2 + erase sum_c ||W' c + b - v||^2 + keep sum_r ||W' r - W r||^2

over rows ``c`` of the concept, which should become ``v``, and rows ``r`` to keep:

    W' = W + [erase sum (v - W c - b) c^T] [ridge I + erase sum c c^T + keep sum r r^T]^-1,

the closed form of Gandikota et al., "Unified Concept Editing in Diffusion Models" (WACV 2024), written as a change of
``W``. The bias stays outside, because the layer adds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.methods.prompt_rows import aims, input_groups, prompt_rows, side_rows


class Scales(NamedTuple):
    """Weights of the three sums of the formula."""

    erase: float
    keep: float
    ridge: float


@dataclass
class Group:
    """Layers that read the same embedding, and the rows they read; everything in float64.

    Attributes:
        layers: weight ``(out, in)`` and bias ``(out,)`` or None of each.
        concept: rows of the forget prompts ``(rows, in)``.
        aim: what each of them should become ``(rows, in)``.
        gram, total: sum of ``r r^T`` ``(in, in)`` and of ``r`` ``(in,)`` over the rows to keep.
        retain_rows: number of rows to keep.
    """

    layers: dict[str, tuple[Tensor, Tensor | None]]
    concept: Tensor
    aim: Tensor
    gram: Tensor
    total: Tensor
    retain_rows: int


def collect(
    backbone: MotionBackbone,
    layers: Sequence[str],
    forget: Sequence[str],
    retain: Sequence[str],
    anchor: str,
    tokens: tuple[str, str],
) -> list[Group]:
    """Encode all prompts and gather the rows of every group of ``layers`` (names from ``text_projections``).

    ``tokens`` says which rows of the forget and of the retain prompts, see :func:`~hmu.methods.prompt_rows.pick_rows`;
    the first become ``anchor``.
    """
    modules, members = backbone.text_projections(), input_groups(backbone, layers)
    leaders = list(members)
    aimed = aims(prompt_rows(backbone, [anchor], leaders), tokens[0])
    concept = list(side_rows(backbone, forget, leaders, tokens[0]))
    gram: dict[str, Any] = dict.fromkeys(leaders, 0.0)
    total: dict[str, Any] = dict.fromkeys(leaders, 0.0)
    count = 0
    for rows in side_rows(backbone, retain, leaders, tokens[1]):
        count += len(rows)
        for name, x in rows.inputs.items():
            gram[name] = gram[name] + x.double().T @ x.double()
            total[name] = total[name] + x.double().sum(0)
    groups = []
    for leader, names in members.items():
        weights = {name: (_double(modules[name].weight), _double(modules[name].bias)) for name in names}
        erased = torch.cat([rows.inputs[leader].double() for rows in concept])
        aim = torch.cat([aimed(leader, rows.kind) for rows in concept])
        groups.append(Group(weights, erased, aim, gram[leader], total[leader], count))
    return groups


def _double(value: Any) -> Any:
    return None if value is None else value.detach().double()


def erased_output(concept: Tensor, aim: Tensor, weight: Tensor, bias: Tensor | None, target: str) -> Tensor:
    """What the layer should output for the concept's rows, bias included ``(rows, out)``.

    Args:
        concept, aim: rows of the concept, and what each should become ``(rows, in)``.
        weight, bias: ``(out, in)`` and ``(out,)``.
        target: ``anchor``: the output for ``aim``; ``projection``: without its part along the concept's own.
    """
    offset = 0.0 if bias is None else bias
    output = aim @ weight.T + offset
    if target == "anchor":
        return output
    own = concept @ weight.T + offset
    unit = own / own.norm(dim=1, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny)
    return output - (output * unit).sum(1, keepdim=True) * unit


def solve(
    group: Group,
    name: str,
    scales: Scales,
    target: str,
    *,
    concept: Tensor | None = None,
    current: Tensor | None = None,
) -> Tensor:
    """The new weight ``(out, in)`` of one layer.

    Args:
        group, name: the layer.
        target: see :func:`erased_output`.
        concept: rows to erase ``(rows, in)`` in place of the group's own (an adversarial embedding).
        current: the layer's weight now, where rounds have already changed it: what is to be kept is what it outputs
            now, so that nothing erased before comes back; anchors keep what the original outputs.
    """
    original, bias = group.layers[name]
    now = original if current is None else current
    rows = group.concept if concept is None else concept
    value = erased_output(group.concept, group.aim, original, bias, target)
    change = value - rows @ now.T - (0.0 if bias is None else bias)
    left = scales.erase * change.T @ rows
    system = scales.keep * group.gram + scales.erase * rows.T @ rows + scales.ridge * torch.eye(rows.shape[1]).to(rows)
    return now + torch.linalg.solve(system, left.T).T


def adversarial_map(pairs: Sequence[tuple[Tensor, Tensor]], ridge: float) -> Tensor:
    """RECE's ``C`` ``(in, in)``: of all embeddings ``C c`` gets the closest to the *old* output for ``c``.

    ``C = (ridge I + sum W'^T W')^-1 sum W'^T W`` over ``(W', W)`` = (new, old) weights of the layers that read the same
    embedding (Gong et al., "Reliable and Efficient Concept Erasure", ECCV 2024). A bias cancels.
    """
    new = torch.stack([w.T @ w for w, _ in pairs]).sum(0)
    both = torch.stack([w.T @ old for w, old in pairs]).sum(0)
    return torch.linalg.solve(new + ridge * torch.eye(len(new)).to(new), both)
