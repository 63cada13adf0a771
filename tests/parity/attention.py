"""What a network computes on its way to an answer: attention maps of SALAD, tensors between any modules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.salad.attention import Attention


class AttentionMaps:
    """Records the attention weights of a forward pass, or forces stored ones in.

    Attributes:
        skel: ``(batch * frames, layers, heads, 7, 7)``. temp: ``(batch * 7, layers, heads, frames, frames)``,
            sample-major. cross: ``(batch, layers, heads, frames * 7, words)``. Layers in execution order.
    """

    def __init__(self, forced: dict[str, Tensor] | None = None) -> None:
        self.forced = forced or {}
        self._recorded: dict[str, list[Tensor]] = {"skel": [], "temp": [], "cross": []}
        self._layer = {"skel": 0, "temp": 0, "cross": 0}

    def exchange(self, kind: str, weights: Tensor) -> Tensor:
        """Record ``weights`` ``(rows, heads, queries, keys)`` and return those to use."""
        layer = self._layer[kind]
        self._layer[kind] = layer + 1
        if kind in self.forced:
            weights = self.forced[kind][:, layer]
        self._recorded[kind].append(weights)
        return weights

    def weighted(self, kind: str, heads: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """Attention written out; in place of :meth:`Attention._attend`."""
        logits = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        weights = (logits if bias is None else logits + bias).softmax(-1)
        grouped = self.exchange(kind, weights.reshape(-1, heads, *weights.shape[2:]))
        return torch.matmul(grouped.reshape(weights.shape), v)

    @contextmanager
    def watching(self, net: nn.Module) -> Iterator[None]:
        """Every attention of ``net`` passes through here."""
        attentions = {n: m for n, m in net.named_modules() if isinstance(m, Attention)}
        for name, module in attentions.items():
            kind = name.rpartition(".")[2].removesuffix("_attn")
            module.__dict__["_attend"] = partial(self.weighted, kind, module.heads)
        try:
            yield
        finally:
            for module in attentions.values():
                del module.__dict__["_attend"]

    def __getitem__(self, kind: str) -> Tensor:
        return torch.stack(self._recorded[kind], 1)


@contextmanager
def watched(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Arguments and result of each module's last call, by the names given."""
    calls: dict[str, tuple[Any, Any]] = {}

    def note(name: str, _: nn.Module, arguments: Any, result: Any) -> None:
        calls[name] = (arguments, result)

    handles = [module.register_forward_hook(partial(note, name)) for name, module in modules.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
