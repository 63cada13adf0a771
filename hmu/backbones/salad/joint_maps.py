"""Feature columns to joint tokens and back: one small perceptron per joint, all joints in two batched products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.salad.topology import Topology

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}


class Index:
    """A constant index table. Not a buffer: weight averaging would round a buffer of integers."""

    def __init__(self, values: Sequence[object]) -> None:
        self._table = torch.tensor(values, device="cpu")

    def on(self, device: torch.device) -> Tensor:
        """The table, in the shape of ``values``, on ``device``; moved once."""
        if self._table.device != device:
            with torch.inference_mode(False):  # moved while measuring, it must still serve a training
                self._table = self._table.to(device)
        return self._table


class JointMaps(nn.Module):
    """One two-layer perceptron per joint, run as two batched products; ``layers.j.0`` and ``.2`` hold the weights."""

    def __init__(self, inputs: Sequence[int], hidden: int, outputs: Sequence[int], activation: str) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(i, hidden), act(), nn.Linear(hidden, o))
            for i, o in zip(inputs, outputs, strict=True)
        )

    def _stack(self, index: int) -> tuple[Tensor, Tensor]:
        """Weights ``(joints, in, out)`` and biases ``(joints, 1, out)``, narrower joints padded with zeros."""
        layers = [layer[index] for layer in self.layers]  # type: ignore[index]
        wide, deep = max(la.out_features for la in layers), max(la.in_features for la in layers)
        weights = [F.pad(la.weight, (0, deep - la.in_features, 0, wide - la.out_features)) for la in layers]
        biases = [F.pad(la.bias, (0, wide - la.out_features)) for la in layers]
        return torch.stack(weights).transpose(1, 2), torch.stack(biases)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """``(joints, rows, in)`` -> ``(joints, rows, out)``, padded to the widest joint."""
        weight, bias = self._stack(0)
        hidden = self.layers[0][1](torch.baddbmm(bias, x, weight))  # type: ignore[index]
        weight, bias = self._stack(2)
        return torch.baddbmm(bias, hidden, weight)


class MotionEncoder(JointMaps):
    """Feature columns to joint tokens."""

    def __init__(self, topology: Topology, channels: int, activation: str) -> None:
        joints = topology.joints
        super().__init__([len(c) for c in topology.columns], channels, [channels] * joints, activation)
        widest = max(len(c) for c in topology.columns)
        # a missing column reads the zero column appended to the features
        index = [[*c, *[topology.features] * (widest - len(c))] for c in topology.columns]
        self.index = Index(index)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, frames, features)`` -> ``(batch, frames, joints, channels)``."""
        batch, frames, _ = x.shape
        columns = self.index.on(x.device)
        padded = F.pad(x, (0, 1)).flatten(0, 1)
        tokens = padded[:, columns.flatten()].view(batch * frames, *columns.shape).transpose(0, 1)
        return super().forward(tokens).transpose(0, 1).reshape(batch, frames, len(columns), -1)


class MotionDecoder(JointMaps):
    """Joint tokens to feature columns, the exact inverse of the encoder's packing."""

    def __init__(self, topology: Topology, channels: int, activation: str) -> None:
        super().__init__([channels] * topology.joints, channels, [len(c) for c in topology.columns], activation)
        widest = max(len(c) for c in topology.columns)
        place = {c: joint * widest + i for joint, cols in enumerate(topology.columns) for i, c in enumerate(cols)}
        self.index = Index([place[column] for column in range(topology.features)])

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, frames, joints, channels)`` -> ``(batch, frames, features)``."""
        batch, frames = x.shape[:2]
        tokens = super().forward(x.flatten(0, 1).transpose(0, 1))
        return tokens.transpose(0, 1).flatten(1)[:, self.index.on(x.device)].view(batch, frames, -1)
