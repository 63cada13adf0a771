"""Adan, the optimiser of the published training (Xie et al. 2022, "Adan: Adaptive Nesterov Momentum Algorithm")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Adan(torch.optim.Optimizer):
    """Nesterov momentum from gradient differences, scaled per parameter.

    Args:
        params: what to optimise. lr: step size. betas: shares of the *new* value in the averages of gradients, of their
            differences and of squares. eps: added to the root of the last. weight_decay: proximal, after the step.
        variant: ``upstream`` forgets the first gradient (but counts it), as the implementation that the authors use.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 4e-4,
        betas: tuple[float, float, float] = (0.02, 0.08, 0.01),
        eps: float = 1e-8,
        weight_decay: float = 0.02,
        variant: str = "default",
    ) -> None:
        self.variant = variant
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's value."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state |= {name: torch.zeros_like(gradient) for name in ("mean", "change", "square")}
            state |= {"step": 0, "before": gradient.clone()}
        first, second, third = group["betas"]
        change = gradient - state["before"]
        state["before"].copy_(gradient)
        state["step"] += 1
        if state["step"] > 1 or self.variant == "default":
            state["mean"].lerp_(gradient, first)
            state["change"].lerp_(change, second)
            state["square"].lerp_((gradient + (1 - second) * change).square(), third)
        # the averages start at 0: divided by the share of real values in them
        fill = [1 - (1 - beta) ** state["step"] for beta in group["betas"]]
        size = group["lr"] / ((state["square"] / fill[2]).sqrt() + group["eps"])
        parameter.sub_(size * (state["mean"] / fill[0] + (1 - second) * state["change"] / fill[1]))
        parameter.div_(1 + group["lr"] * group["weight_decay"])
