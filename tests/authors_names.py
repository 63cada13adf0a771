"""Our names of MoMask's and BAMM's transformers as the authors' checkpoints have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hmu.backbones.tokens.encoder import PROJECTIONS


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`~hmu.backbones.tokens.encoder.from_authors`; tensors of any shape."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, _, leaf = name.rpartition(".")
        parent, _, projection = stem.rpartition(".")
        if projection not in PROJECTIONS:
            result[name] = value
        elif projection == PROJECTIONS[0]:
            result[f"{parent}.in_proj_{leaf}"] = torch.cat([state[f"{parent}.{p}.{leaf}"] for p in PROJECTIONS])
    return result
