"""The numbers of a GaitDynamics model, as published; impossible values are refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from hmu.checkpoints.kinds import Choice, Flag, Kind, Real, Whole, check_fields
from hmu.errors import ConfigError

BETA_SCHEDULES = ("linear", "sqrt_linear", "sqrt", "cosine")
ADAPTED = ("all", "published")


#: what each key may be; wider than any published model, narrow enough that no file asks for all memory
_DECODER: dict[str, Kind] = {
    "features": Whole(1, 4096),
    "window": Whole(1, 100_000),
    "latent_dim": Whole(1, 8192),
    "ff_dim": Whole(1, 65_536),
    "layers": Whole(1, 99),
    "heads": Whole(1, 256),
    "dropout": Real(0, 1),
    "rotary": Flag(),
}
_SCHEDULE: dict[str, Kind] = {
    "timesteps": Whole(1, 100_000),
    "beta_schedule": Choice(BETA_SCHEDULES),
    "beta_start": Real(0, 1, inside=True),
    "beta_end": Real(0, 1, inside=True),
    "predict": Choice(("sample", "noise")),
}
_OBJECTIVE: dict[str, Kind] = {
    "loss": Choice(("l2", "l1")),
    "p2": Flag(),
    **dict.fromkeys(("simple", "velocity", "drift", "fk", "slide"), Real(0, 1e6)),
    "height": Real(0.5, 2.5),
}
_SAMPLING: dict[str, Kind] = {
    "steps": Whole(1, 100_000),
    "guide_from": Whole(0, 100_000),
    "guide_to": Whole(0, 100_000),
    "guide_steps": Whole(1, 10_000),
    "guide_rate": Real(0, 1e6, inside=True),
}


@dataclass(frozen=True)
class DecoderOptions:
    """The transformer that denoises a window.

    Attributes:
        features: columns of a state. window: frames of a training window (the rotary model runs at any length).
        latent_dim: width. ff_dim: feed-forward width. layers, heads: of the transformer. dropout: of every sub-block.
        rotary: rotary positions (published); otherwise a table of 500 absolute ones.
    """

    features: int
    window: int
    latent_dim: int
    ff_dim: int
    layers: int
    heads: int
    dropout: float
    rotary: bool

    def __post_init__(self) -> None:
        check_fields(self, "backbone.decoder", _DECODER)
        if self.latent_dim % self.heads or self.latent_dim % 2:
            raise ConfigError(
                f"backbone.decoder: latent_dim={self.latent_dim} must be even and divisible by heads={self.heads}"
            )


@dataclass(frozen=True)
class ScheduleOptions:
    """Noise schedule of training, under the authors' names, which mislead.

    Attributes:
        timesteps: number of noise levels.
        beta_schedule: ``linear`` (published) is linear in the *square root* of beta (``scaled_linear`` elsewhere);
            ``sqrt_linear`` is the plain linear one; ``sqrt`` is its square root; ``cosine`` as Nichol & Dhariwal 2021.
        beta_start, beta_end: ends of the linear ones.
        predict: what the network answers: ``sample`` (published) or ``noise``.
    """

    timesteps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    predict: str

    def __post_init__(self) -> None:
        check_fields(self, "backbone.schedule", _SCHEDULE)


@dataclass(frozen=True)
class ObjectiveOptions:
    """Weights of the training terms; the published model trains on ``simple`` alone.

    Attributes:
        loss: ``l2`` (published) or ``l1``. p2: weigh timesteps by ``(1 + snr)^-0.5`` (Choi et al. 2022).
        simple: all columns. velocity: frame differences of all columns but the root. drift: the root columns.
        fk: positions of 11 joints. slide: speed of feet that should stand.
        height: body height in metres that ``fk`` and ``slide`` assume, batches carry none.
    """

    loss: str
    p2: bool
    simple: float
    velocity: float
    drift: float
    fk: float
    slide: float
    height: float

    def __post_init__(self) -> None:
        check_fields(self, "backbone.objective", _OBJECTIVE)
        if not any((self.simple, self.velocity, self.drift, self.fk, self.slide)):
            raise ConfigError("backbone.objective: one of the weights must be above 0")


@dataclass(frozen=True)
class SamplingOptions:
    """How windows are generated.

    Attributes:
        steps: network evaluations of DDIM (published 50).
        guide_from, guide_to: guidance acts at timesteps ``guide_to <= t <= guide_from``; a mean is only met exactly
            with ``guide_to`` 0.
        guide_steps: steps per timestep. guide_rate: their size in column guidance, normalised; means need none.
    """

    steps: int
    guide_from: int
    guide_to: int
    guide_steps: int
    guide_rate: float

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling", _SAMPLING)
        if self.guide_to > self.guide_from:
            raise ConfigError(
                f"backbone.sampling: guidance from timestep {self.guide_from} down to {self.guide_to} never acts; "
                "guide_from is the larger one"
            )
