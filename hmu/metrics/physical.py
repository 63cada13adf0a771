"""Is it still a body that moves? Foot skate, floor contact, jerk and energy of the generated motions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hmu.errors import DataError
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.metrics.values import Value
from hmu.motion import kinematics


class Physical(MotionMetric):
    """Base: keeps one number per motion, as ``measure`` gives it; ``compute`` is their mean."""

    inputs: ClassVar[tuple[str, ...]] = ("joints", "lengths")
    kept = ("measured",)

    def rows_of(self, samples: EvalSamples) -> dict[str, Tensor]:
        """The number of every motion ``(n,)``. Raises DataError for joints of another skeleton."""
        joints, lengths = (samples[name].detach().cpu().numpy() for name in self.inputs)
        return {"measured": torch.from_numpy(self.measure(joints, lengths, samples.get("fps", 20.0)))}

    @staticmethod
    def measure(joints: np.ndarray, lengths: np.ndarray, fps: float) -> np.ndarray:
        """Float64 ``(n,)`` of joints ``(n, frames, 22, 3)`` in metres, Y up, and true frames ``(n,)``."""
        raise DataError("the base of the physical metrics measures nothing: choose one of its subclasses")

    def per_prompt(self) -> dict[str, Tensor]:
        """The number of every motion."""
        return {self.values[0].name: self.needed("measured")}


class FootSkate(Physical):
    """``foot_skate``: share of frames in which a foot slides along the floor (:func:`kinematics.foot_skate`)."""

    values: ClassVar[tuple[Value, ...]] = (Value("foot_skate", better="lower", kind="share", scores=("keep",)),)
    measure = staticmethod(kinematics.foot_skate)


class ContactShare(Physical):
    """``contact_share``: share of frames in which a foot stands, mean of both feet."""

    values: ClassVar[tuple[Value, ...]] = (Value("contact_share", better="same", kind="share", scores=("keep",)),)

    @staticmethod
    def measure(joints: np.ndarray, lengths: np.ndarray, fps: float) -> np.ndarray:
        """Share of frames, ``(n,)``."""
        return np.asarray(kinematics.contact_share(joints, lengths, fps).mean(axis=-1))


class Jerk(Physical):
    """``jerk``: mean size of the joints' third derivative, m/s³."""

    values: ClassVar[tuple[Value, ...]] = (Value("jerk", better="same", kind="size", scores=("keep",)),)
    measure = staticmethod(kinematics.jerk)


class Energy(Physical):
    """``energy``: mean kinetic energy per kilogram, J/kg; ``energy_ratio`` to the base is reported beside it."""

    values: ClassVar[tuple[Value, ...]] = (
        Value("energy", better="same", kind="size", scores=("keep",), ratio_to_base=True),
    )
    measure = staticmethod(kinematics.energy)
