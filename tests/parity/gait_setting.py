"""How a diffusion case of GaitDynamics was run: what its JSON tells, else its name, else every possible setting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from torch import Tensor

from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import ObjectiveOptions, ScheduleOptions
from tests.published import options as published_options

SCHEDULES = ("linear", "cosine", "sqrt_linear", "sqrt")
SPELLINGS = {"sqrtlinear": "sqrt_linear", "squaredcos": "cosine", "squaredcos_cap_v2": "cosine"}
STEPS, TIMESTEPS = 50, 1000
COUNTS = (50, 60, 100, 200, 300, 500)  # of noise levels, where nothing tells it
#: the authors' names of a setting, and ours
KEYS = {
    "beta_schedule": "schedule",
    "schedule": "schedule",
    "timesteps": "timesteps",
    "n_timestep": "timesteps",
    "predict_epsilon": "noise",
    "clip_denoised": "clip",
    "steps": "steps",
    "loss_type": "loss",
    "use_p2": "p2",
}


@dataclass(frozen=True)
class Setting:
    """How a case was run; the authors' defaults."""

    schedule: str = "linear"
    timesteps: int = TIMESTEPS
    noise: bool = False
    clip: bool = False
    steps: int = STEPS
    loss: str = "l2"
    p2: bool = False

    @classmethod
    def recorded(cls, facts: Mapping[str, Any], name: str) -> Setting:
        """From a JSON entry under the authors' names, over the words of a name."""
        own = cls.named(name)
        given = {ours: type(getattr(own, ours))(facts[key]) for key, ours in KEYS.items() if key in facts}
        own = replace(own, **given)
        return replace(own, schedule=SPELLINGS.get(own.schedule, own.schedule))

    @classmethod
    def named(cls, name: str) -> Setting:
        """From the words of a name: ``ddim_n60_sqrtlinear``, ``ddim_respaced_50``, ``eps_clip``, ``cosine``."""
        words = [word for word in re.split(r"[_\-]", name.lower()) if word]

        def number(pattern: str, usual: int) -> int:
            fits = [fit for word in words if (fit := re.fullmatch(pattern, word))]
            return int(fits[-1][1]) if fits else usual

        spelled = ["sqrt_linear"] if "sqrt_linear" in name else [SPELLINGS.get(word, word) for word in words]
        return cls(
            next((word for word in spelled if word in SCHEDULES), "linear"),
            number(r"n(\d+)", TIMESTEPS),
            bool({"eps", "epsilon", "noise"} & set(words)),
            any(word.startswith("clip") for word in words),
            number(r"(?:s|steps|respaced)?(\d+)(?:steps)?", STEPS),
            "l1" if "l1" in words else "l2",
            "p2" in words,
        )

    def others(self) -> Iterator[Setting]:
        """This setting, then those that differ in what a name may mean otherwise or leave out."""
        counts = product((self.timesteps, self.steps, TIMESTEPS), (self.steps, STEPS))
        known = [replace(self, timesteps=n, steps=s) for n, s in dict.fromkeys(counts)]
        choices = product((self.clip, not self.clip), (self.noise, not self.noise), SCHEDULES)
        free = [replace(self, steps=STEPS, clip=clip, noise=noise, schedule=name) for clip, noise, name in choices]
        yield from dict.fromkeys([*known, *free, *(replace(self, timesteps=n, steps=STEPS) for n in COUNTS)])

    @property
    def process(self) -> Diffusion:
        """The diffusion process."""
        predict = "noise" if self.noise else "sample"
        return Diffusion(
            published_options(ScheduleOptions, timesteps=self.timesteps, beta_schedule=self.schedule, predict=predict)
        )

    @property
    def objective(self) -> ObjectiveOptions:
        """The training objective."""
        return published_options(ObjectiveOptions, loss=self.loss, p2=self.p2)

    def clipped(self, clean: Tensor) -> Tensor:
        """Clean states, cut to [-1, 1] where the case was run so."""
        return clean.clamp(-1, 1) if self.clip else clean
