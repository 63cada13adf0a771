"""Weights that are numbers: NaN and infinity are found before they are written or used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hmu.errors import CheckpointError


def first_nonfinite(tensors: Mapping[str, Any]) -> str | None:
    """The name of the first tensor that holds NaN or infinity; None if there is none. What is no tensor is passed over.

    The answers of all tensors are read at once, so that a GPU is waited for once.
    """
    names = [n for n, t in tensors.items() if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]
    if not names:
        return None
    home = tensors[names[0]].device
    fine = torch.stack([torch.isfinite(tensors[name].detach()).all().to(home) for name in names]).tolist()
    return next((name for name, good in zip(names, fine, strict=True) if not good), None)


def refuse_nonfinite(tensors: Mapping[str, Any], what: str) -> None:
    """Refuse tensors with NaN or infinity.

    Args:
        tensors: by name.
        what: names their file or folder in the message.

    Raises:
        CheckpointError: naming the first of them.
    """
    bad = first_nonfinite(tensors)
    if bad is not None:
        raise CheckpointError(
            f"{what}: '{bad}' holds NaN or infinite numbers (a training that diverged?); make or copy it again"
        )
