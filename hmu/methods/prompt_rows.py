"""What enters a backbone's text projections for many prompts: the rows that closed-form edits work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.errors import ConfigError
from hmu.text.base import TextCondition

BEGIN, WORD, END = 0, 1, 2  # kinds of rows
CHUNK = 256  # prompts encoded at a time


@dataclass(frozen=True)
class Rows:
    """What enters the layers for several prompts.

    Attributes:
        inputs: ``(rows, in)`` by the first layer of each group that reads the same.
        prompt: which prompt a row belongs to ``(rows,)``.
        kind: :data:`BEGIN` marker, :data:`WORD` or whole prompt, :data:`END` marker ``(rows,)``.
    """

    inputs: Mapping[str, Tensor]
    prompt: Tensor
    kind: Tensor

    def __len__(self) -> int:
        return len(self.prompt)

    def pick(self, keep: Tensor) -> Rows:
        """The rows where ``keep`` ``(rows,)`` is True."""
        return Rows({name: x[keep] for name, x in self.inputs.items()}, self.prompt[keep], self.kind[keep])


def input_groups(backbone: MotionBackbone, layers: Sequence[str]) -> dict[str, list[str]]:
    """Layers that read the same embedding, by the first of them: judged by what they read of the empty prompt."""
    inputs = _inputs(backbone, backbone.encode_text([""]), layers)
    groups: dict[str, list[str]] = {}
    for name in layers:
        same = (g for g in groups if inputs[g].shape == inputs[name].shape and torch.equal(inputs[g], inputs[name]))
        groups.setdefault(next(same, name), []).append(name)
    return groups


def _inputs(backbone: MotionBackbone, condition: TextCondition, layers: Sequence[str]) -> dict[str, Tensor]:
    inputs = backbone.projection_inputs(condition)
    lost = sorted(set(layers) - inputs.keys())
    if lost:
        raise ConfigError(f"backbone {backbone.name} does not say what enters '{lost[0]}' (projection_inputs)")
    return {name: inputs[name].detach() for name in layers}


def prompt_rows(backbone: MotionBackbone, texts: Sequence[str], layers: Sequence[str]) -> Rows:
    """Every row of ``texts``, in the network's type and on its device.

    Raises:
        ConfigError: a layer whose input the backbone does not give.
    """
    with torch.no_grad():
        condition = backbone.encode_text(texts)
        inputs = _inputs(backbone, condition, layers)
    first = next(iter(inputs.values()))
    mask = condition.mask.to(first.device)
    number = torch.arange(len(texts), device=first.device)
    if len(first) == len(texts):  # one vector per prompt
        return Rows(inputs, number, torch.full_like(number, WORD))
    place, last = mask.long().cumsum(1), mask.sum(1, keepdim=True)
    kind = torch.full_like(place, WORD).masked_fill(place == last, END).masked_fill(place == 1, BEGIN)
    return Rows(inputs, number[:, None].expand_as(mask)[mask], kind[mask])


def pick_rows(rows: Rows, choice: str) -> Rows:
    """``all`` rows; ``content``: words without markers; ``pooled`` and ``averaged``: the mean of each prompt.

    A prompt without words keeps its markers. (:func:`side_rows` goes on to average over prompts.)
    """
    if choice == "all":
        return rows
    if choice == "content":
        words = rows.kind == WORD
        return rows.pick(words | ~torch.isin(rows.prompt, rows.prompt[words]))
    prompts, index = torch.unique(rows.prompt, return_inverse=True)
    counts = torch.bincount(index, minlength=len(prompts))[:, None]
    sums = {n: x.new_zeros(len(prompts), x.shape[1]).index_add_(0, index, x) for n, x in rows.inputs.items()}
    return Rows({name: total / counts for name, total in sums.items()}, prompts, torch.full_like(prompts, WORD))


def side_rows(backbone: MotionBackbone, texts: Sequence[str], layers: Sequence[str], choice: str) -> Iterator[Rows]:
    """The chosen rows of many prompts, :data:`CHUNK` prompts at a time; with ``averaged`` the mean of all, one row."""
    parts = (texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK))
    chunks = (pick_rows(prompt_rows(backbone, part, layers), choice) for part in parts)
    if choice != "averaged":
        yield from chunks
        return
    sums: dict[str, Tensor] = {}
    for chunk in chunks:
        for name, x in chunk.inputs.items():
            sums[name] = sums.get(name, 0.0) + x.double().sum(0, keepdim=True)
    number = torch.zeros(1, dtype=torch.int64, device=next(iter(sums.values())).device)
    yield Rows({name: total / len(texts) for name, total in sums.items()}, number, number + WORD)


def aims(anchor: Rows, choice: str) -> Callable[[str, Tensor], Tensor]:
    """What the rows of a concept should become: a function of layer and kinds ``(rows,)`` to ``(rows, in)``, float64.

    With ``all`` a marker becomes the anchor's own marker and a word the mean of the anchor's words (of its markers if
    it has none); otherwise every row becomes the mean of the anchor's rows that are chosen in the same way.
    """
    rows = pick_rows(anchor, choice)

    def table(x: Tensor) -> Tensor:
        masks = [rows.kind == kind if choice == "all" else rows.kind >= 0 for kind in (BEGIN, WORD, END)]
        return torch.stack([x[mask].mean(0) if bool(mask.any()) else x.mean(0) for mask in masks])

    tables = {name: table(x.double()) for name, x in rows.inputs.items()}
    return lambda layer, kinds: tables[layer][kinds]
