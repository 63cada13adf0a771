"""Methods that train weights of the backbone's network directly and leave weight deltas behind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone
from hmu.errors import ConfigError, shown
from hmu.methods.base import TrainedMethod
from hmu.methods.edit import DeltaEdit, fingerprint


class WeightMethod(TrainedMethod):
    """Trains one of the backbone's named groups of weights; the edit is what changed in them.

    Args:
        train: a name from the backbone's ``parameter_groups``.
        dropout: whether the network's dropout is on while training.
        options: optimiser and length, see :class:`~hmu.methods.base.TrainedMethod`.
    """

    def __init__(
        self,
        *,
        train: str | None,
        dropout: bool,
        steps: int | None,
        epochs: int | None,
        batch_size: int,
        lr: float,
        betas: Sequence[float],
        weight_decay: float,
        warmup: int,
        grad_clip: float | None,
    ) -> None:
        super().__init__(
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            warmup=warmup,
            grad_clip=grad_clip,
        )
        self.train, self.dropout = train, dropout
        self._base = ""
        self._before: dict[str, Tensor] = {}

    def check(self, backbone: MotionBackbone) -> None:
        """The backbone must have the chosen group, and something in it."""
        self._group(backbone)

    def _group(self, backbone: MotionBackbone) -> set[str]:
        groups, wanted = backbone.parameter_groups(), self.train or backbone.unlearn_group
        if not groups.get(wanted):
            known = ", ".join(sorted(name for name, members in groups.items() if members))
            raise ConfigError(f"method.train={shown(wanted)}: {backbone.name} offers {known}")
        return set(groups[wanted])

    def setup(self, backbone: MotionBackbone) -> dict[str, nn.Parameter]:
        """Freeze everything but the chosen group.

        Raises:
            ConfigError: the backbone has no such group, or it is empty.
        """
        network, chosen = backbone.network(), self._group(backbone)
        for parameter in backbone.parameters():
            parameter.requires_grad_(False)
        trained = {name: p for name, p in network.named_parameters() if name in chosen}
        for parameter in trained.values():
            parameter.requires_grad_(True)
        network.train(self.dropout)
        self._base = fingerprint(backbone)
        self._before = {name: parameter.detach().cpu().double() for name, parameter in trained.items()}
        return trained

    def to_edit(self, backbone: MotionBackbone) -> DeltaEdit:
        """Trained minus original weights."""
        now = dict(backbone.network().named_parameters())
        deltas = {name: (now[name].detach().cpu().double() - old).float() for name, old in self._before.items()}
        return DeltaEdit(deltas, method=self.name, base=self._base, settings=self.settings)
