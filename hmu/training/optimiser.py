"""AdamW under a schedule, as Lightning wants it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from hmu.optimisation import Optimisation


def adamw(parameters: Iterable[nn.Parameter], numbers: Optimisation, total: int) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: AdamW, and ``numbers.factor`` as its learning rate of ``total`` steps."""
    first, second = numbers.betas
    optimizer = torch.optim.AdamW(parameters, lr=numbers.lr, betas=(first, second), weight_decay=numbers.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: numbers.factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
