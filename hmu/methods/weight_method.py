"""Methods that train weights of the backbone's network directly and leave weight deltas behind."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.errors import ConfigError, shown
from hmu.methods.base import TrainedMethod
from hmu.methods.edit import DeltaEdit, fingerprint


@dataclass(kw_only=True)
class WeightMethod(TrainedMethod):
    """Trains one of the backbone's named groups of weights; the edit is what changed in them.

    Args:
        train: a name from the backbone's ``parameter_groups``; None = its ``unlearn_group``.
        dropout: train with the network's dropout.
    """

    train: str | None
    dropout: bool

    def check(self, backbone: MotionBackbone) -> None:
        """The backbone must have the chosen group, and something in it."""
        super().check(backbone)
        self._group(backbone)

    def _group(self, backbone: MotionBackbone) -> set[str]:
        groups, name = backbone.parameter_groups(), self.train or backbone.unlearn_group
        if not groups.get(name):
            known = ", ".join(sorted(name for name, members in groups.items() if members))
            raise ConfigError(f"method.train={shown(name)}: {backbone.name} offers {known}")
        return set(groups[name])

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """The chosen group trains."""
        network, group = backbone.network(), self._group(backbone)
        trained = super().setup(backbone)
        trained |= {name: parameter for name, parameter in network.named_parameters() if name in group}
        for parameter in trained.values():
            parameter.requires_grad_(True)
        network.train(self.dropout)
        self._base = fingerprint(backbone)
        self._before = {name: parameter.detach().cpu().double() for name, parameter in trained.items()}
        return trained

    def to_edit(self, backbone: MotionBackbone) -> DeltaEdit:
        """Trained minus original weights."""
        now: dict[str, Tensor] = dict(backbone.network().named_parameters())
        deltas = {name: (now[name].detach().cpu().double() - old).float() for name, old in self._before.items()}
        return DeltaEdit(deltas, method=self.name, base=self._base, settings=self.settings)
