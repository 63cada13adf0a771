"""Modules in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[None]:
    """``modules`` without dropout, and no gradients inside; their modes are restored after. None is passed over."""
    present = [(module, module.training) for module in modules if module is not None]
    try:
        for module, _ in present:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in present:
            module.train(mode)
