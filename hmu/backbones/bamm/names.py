"""Parameter names: torch's fused attention (``in_proj_*``, ``out_proj``) and our four linear layers.

Only the ``official`` blocks differ; ``t2mgpt`` checkpoints have four linear layers of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FUSED = ("query", "key", "value")  # the order inside in_proj


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Checkpoint names to ours; fused projections are split, every other name stays."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        module, fused, leaf = name.rpartition(".self_attn.in_proj_")
        if fused:
            parts = zip(FUSED, value.chunk(3), strict=True)
            ours |= {f"{module}.self_attn.{part}.{leaf}": piece.clone() for part, piece in parts}
        else:
            ours[name.replace(".self_attn.out_proj.", ".self_attn.proj.")] = value
    return ours


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`from_authors`, for weights or gradients, in the order of the authors' files."""
    theirs: dict[str, Tensor] = {}
    for name, value in state.items():
        module, fused, rest = name.rpartition(".self_attn.")
        part, _, leaf = rest.partition(".")
        if fused and part in FUSED:
            pieces = [state[f"{module}.self_attn.{other}.{leaf}"] for other in FUSED]
            theirs.setdefault(f"{module}.self_attn.in_proj_{leaf}", torch.cat(pieces))
        else:
            theirs[name.replace(".self_attn.proj.", ".self_attn.out_proj.")] = value
    return theirs
