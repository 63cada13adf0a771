"""LCR as its authors compute the new code vectors (``variant: upstream``), faults included.

The destination is one fixed code unless it is *listed in the first layer*, then any code at random, even a listed one;
lists of several concepts are joined with their duplicates, so that the last noise stays and ``orth`` reduces twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def destination(first: Sequence[int], codes: int, code: int, generator: torch.Generator | None) -> int:
    """The one destination for all layers: ``code``, drawn anew while it is in the first layer's list.

    The authors draw with numpy's global state, so a run of theirs is reproduced by giving the code it ended with.
    """
    while code in set(first):
        code = int(torch.randint(codes, (), generator=generator))
    return code


def replaced(codebook: Tensor, listed: Sequence[int], code: int, alpha: float, noise: Tensor) -> Tensor:
    """Listed rows of a codebook ``(codes, width)`` become row ``code`` plus noise of ``alpha`` standard deviations.

    ``noise`` is standard normal ``(listed, width)``; of a row that is listed twice the last noise stays.
    """
    result = codebook.clone()
    rows = codebook[code] + alpha * codebook.std() * noise
    for index, row in zip(listed, rows, strict=True):
        result[index] = row
    return result


def orthogonal(codebook: Tensor, listed: Sequence[int], alpha: float) -> Tensor:
    """Listed rows of a codebook ``(codes, width)`` lose ``alpha`` times their part along the listed rows' mean.

    A row that is listed twice loses it twice.
    """
    result = codebook.clone()
    mean = codebook[list(listed)].mean(0)
    unit = mean / mean.norm()
    for index in listed:
        result[index] = result[index] - alpha * (result[index] @ unit) * unit
    return result
