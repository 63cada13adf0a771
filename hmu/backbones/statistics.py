"""A model's own motion statistics: real units outside, normalised features inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmu.data.batch import length_mask
from hmu.errors import ConfigError
from hmu.motion.layout import FeatureLayout


class Statistics(nn.Module):
    """Mean and standard deviation per column; 0 and 1 until :meth:`assign` or :meth:`fit`.

    Args:
        features: columns of the representation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def assign(self, mean: Any, std: Any) -> None:
        """Use these, each ``(features,)``.

        Raises:
            ConfigError: for a wrong shape, a number that is not finite, or a deviation that is not above 0.
        """
        for name, value in (("mean", mean), ("std", std)):
            given, own = torch.as_tensor(np.asarray(value), dtype=torch.float32), getattr(self, name)
            sound = given.shape == own.shape and bool(torch.isfinite(given).all())
            if not sound or (name == "std" and not bool((given > 0).all())):
                expected = f"{tuple(own.shape)}, finite numbers and std > 0"
                raise ConfigError(f"statistics: {name} has shape {tuple(given.shape)}, expected {expected}")
            own.copy_(given)

    def fit(self, mean: Any, std: Any, feat_bias: float) -> None:
        """Statistics of training motions; root and contact deviations are divided by ``feat_bias``.

        Those are 8 of 263 columns, and an error in the turning rate adds up over a clip: dividing makes them count
        more (published: 5).
        """
        std, layout = np.array(std, dtype=np.float64), FeatureLayout.of(len(self.mean))
        for columns in (layout.root, layout.contacts):
            std[columns] /= feat_bias
        self.assign(mean, std)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units to normalised features ``(batch, frames, features)``, zero beyond each length."""
        return torch.where(length_mask(lengths, motion.shape[1])[..., None], (motion - self.mean) / self.std, 0.0)

    def denormalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Normalised features to real units ``(batch, frames, features)``, zero beyond each length."""
        return torch.where(length_mask(lengths, motion.shape[1])[..., None], motion * self.std + self.mean, 0.0)


class OwnStatistics(nn.Module):
    """A model that keeps :attr:`statistics` of its own, in its folder as ``mean`` and ``std``."""

    statistics: Statistics

    def start_statistics(self, features: int) -> None:
        """Statistics of nothing yet; the states of interrupted trainings of version 0.1 can be loaded too."""
        self.statistics = Statistics(features)
        self.register_load_state_dict_pre_hook(rename_statistics)

    @property
    def mean(self) -> Tensor:
        """Means of the motions it was trained on, ``(features,)``."""
        return self.statistics.mean

    @property
    def std(self) -> Tensor:
        """Their standard deviations, ``(features,)``."""
        return self.statistics.std


def rename_statistics(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state is loaded: interrupted trainings of version 0.1 hold the statistics as ``mean`` and ``std``."""
    for name in ("mean", "std"):
        if f"{prefix}{name}" in state:
            state[f"{prefix}statistics.{name}"] = state.pop(f"{prefix}{name}")
