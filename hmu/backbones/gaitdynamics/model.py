"""GaitDynamics as a backbone: a diffusion transformer over windows of 63 gait columns (Tan et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State, Target
from hmu.backbones.draws import Draws, clip_noise
from hmu.backbones.gaitdynamics import objectives
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import DecoderOptions, ObjectiveOptions, SamplingOptions, ScheduleOptions
from hmu.backbones.gaitdynamics.sampling import ColumnGuidance, Known, WindowMean, ddim
from hmu.backbones.modes import evaluating
from hmu.backbones.options import parse, require
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.gait.columns import FPS, ROOT_COLUMNS
from hmu.gait.normaliser import MinMax
from hmu.gait.representation import GAIT
from hmu.gait.skeleton import Skeleton
from hmu.text.base import TextCondition

Options = Mapping[str, Any]


class GaitDynamics(MotionBackbone):
    """The decoder with its noise process and its own normaliser.

    The model reads no text: every condition is accepted and ignored, so that methods and data flows work unchanged.
    A concept is a label of the data; what a model generates is decided by its weights (and edits on them).

    Args:
        decoder, schedule, objective, sampling: see :mod:`hmu.backbones.gaitdynamics.options` (mappings are accepted).
        adapters: where adapters go: ``all`` linear layers of the running network, or the authors' list ``published``.
        min_frames, max_frames: limits of a generated window; the published model is trained on 150 frames.
        variant: ``default``, or ``upstream`` for the authors' behaviour (known values are not restored at the end, an
            answer that predicts noise is taken for states, their slide term).
        samples: frames that the ranges of the columns come from; 0 = they are measured before training.
    """

    name = "gaitdynamics"
    stored = ("decoder", "normaliser")
    exact = ("normaliser.*",)
    adjustable = ("objective", "sampling", "adapters", "min_frames", "max_frames", "variant")
    stages = ("denoiser",)
    unit_length = 1
    fps = FPS
    reads_text = False
    representation = GAIT

    def __init__(
        self,
        decoder: DecoderOptions | Options,
        schedule: ScheduleOptions | Options,
        objective: ObjectiveOptions | Options,
        sampling: SamplingOptions | Options,
        adapters: str,
        min_frames: int,
        max_frames: int,
        variant: str,
        samples: int = 0,
    ) -> None:
        super().__init__()
        require(adapters in ("all", "published"), f"backbone.adapters={adapters}: expected all or published")
        self.decoder = Decoder(parse(DecoderOptions, decoder, "decoder"))
        self.schedule = parse(ScheduleOptions, schedule, "schedule")
        self.diffusion = Diffusion(self.schedule)
        self.objective = parse(ObjectiveOptions, objective, "objective")
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        self.features = self.decoder.options.features
        self.normaliser = MinMax(self.features)
        self.normaliser.samples = int(samples)
        self.adapters, self.variant = adapters, check_variant("backbone.variant", variant)
        self.min_frames, self.max_frames = min_frames, max_frames

    @property
    def samples(self) -> int:
        """Frames that the ranges of the columns come from."""
        return self.normaliser.samples

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """Nothing: the ranges are measured by :meth:`prepare_stage`, and there are no words."""

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Measure the ranges of all columns on the training windows, unless the model has some already."""
        self.known_stage(stage)
        if self.normaliser.samples == 0:
            self.normaliser.fit(b.motion[length_mask(b.lengths, b.motion.shape[1])] for b in batches)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units to normalised states ``(batch, frames, 63)``, zero beyond each length."""
        return self.normaliser.normalise(motion) * length_mask(lengths, motion.shape[1])[..., None]

    def denormalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Normalised states to real units ``(batch, frames, 63)``, zero beyond each length."""
        return self.normaliser.denormalise(motion) * length_mask(lengths, motion.shape[1])[..., None]

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """An empty condition per text: the model reads none."""
        tokens = torch.zeros(len(texts), 1, 1, device=self.device)
        return TextCondition(tokens, torch.ones(len(texts), 1, dtype=torch.bool, device=self.device))

    # -- training target ---------------------------------------------------------------------------
    def encode_target(self, batch: MotionBatch) -> Target:
        """Normalised ``states`` ``(batch, frames, 63)``, zero beyond each length."""
        frames = int(batch.lengths.max())
        return Target({"states": self.normalise(batch.motion[:, :frames], batch.lengths)}, batch.lengths)

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a timestep and noise; zero beyond each length."""
        frames = int(target.lengths.max())
        clean = target.tensors["states"][:, :frames]
        draws = Draws(generator)
        time = draws.integers(self.diffusion.timesteps, (len(target),), clean.device)
        return self.noised(clean, draws.normal(tuple(clean.shape), clean), time, target.lengths)

    def noised(self, clean: Tensor, noise: Tensor, time: Tensor, lengths: Tensor) -> State:
        """The training state of normalised ``clean`` states under ``noise``, both ``(batch, frames, 63)``."""
        valid = length_mask(lengths, clean.shape[1])
        noise = noise * valid[..., None]
        return State(self.diffusion.add(clean, noise, time), time, self.diffusion.target(clean, noise), valid)

    def predict(self, state: State, condition: TextCondition | None = None) -> Tensor:
        """The decoder's answer ``(batch, frames, 63)``, zero beyond each length; ``condition`` is not read."""
        return self.decoder(state.inputs, state.time, state.valid) * state.valid[..., None]

    @torch.no_grad()
    def expected(self, state: State, clips: Target) -> Tensor:
        """The mean of ``clips`` given the noised states, in the model's parametrisation, zero beyond each length.

        Clips that are shorter than a state are no candidates for it, unless all of them are.
        """
        frames = state.inputs.shape[1]
        known = clips.tensors["states"][:, :frames].to(state.inputs)
        known = torch.nn.functional.pad(known, (0, 0, 0, frames - known.shape[1]))
        signal = self.diffusion.at("sqrt_alphas_cumprod", state.time, state.inputs).flatten(1)
        noise = self.diffusion.at("sqrt_one_minus_alphas_cumprod", state.time, state.inputs).flatten(1)
        valid = state.valid.to(known)
        noisy = (state.inputs * valid[..., None]).flatten(1)
        # |x - s c|^2 over each state's own frames, without the part that all clips share
        size = valid @ known.square().sum(2).T
        apart = (signal.square() * size - 2 * signal * (noisy @ known.flatten(1).T)) / noise.square()
        short = clips.lengths.to(valid.device) < state.valid.sum(1, True)
        weights = (-0.5 * apart).masked_fill(short & ~short.all(1, True), -torch.inf).softmax(1)
        clean = (weights @ known.flatten(1)).view_as(state.inputs)
        noised = self.diffusion.to_noise(clean, state.inputs, state.time)
        return self.diffusion.target(clean, noised) * valid[..., None]

    def distance(self, prediction: Tensor, target: Tensor, state: State) -> Tensor:
        """Per-item mean of the elementwise loss over valid frames ``(batch,)``, with the p2 weight where it is on."""
        values = objectives.per_item(objectives.elementwise(self.objective, prediction, target), state.valid)
        return values * objectives.weight_of(self.objective, self.diffusion, state.time, prediction)

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The weighted terms of the objective and their sum ``loss``; terms of weight 0 are not computed."""
        self.known_stage(stage)
        state = self.corrupt(self.encode_target(batch), generator)
        prediction = self.predict(state)
        terms = objectives.column_terms(self.objective, prediction, state.target, state.valid)
        if self.objective.fk > 0 or self.objective.slide > 0:
            terms |= self._body_terms(state, prediction)
        weight = objectives.weight_of(self.objective, self.diffusion, state.time, prediction)
        return objectives.total(self.objective, terms, weight)

    def _body_terms(self, state: State, prediction: Tensor) -> dict[str, Tensor]:
        """``fk`` and ``slide`` on an average body, on the states that answer and prediction imply."""
        if not bool(state.valid.all()):
            raise ConfigError("backbone.objective: fk and slide need windows of one length; set recipes.*.window")
        clean, true = prediction, state.target
        if self.variant == "default":
            clean, true = (self.diffusion.to_clean(x, state.inputs, state.time) for x in (prediction, state.target))
        tall = self.objective.height
        heights, skeleton = clean.new_full((len(clean),), tall), Skeleton.generic(tall, clean.dtype)
        return objectives.body_terms(
            self.objective, self.normaliser, clean, true, heights, skeleton, variant=self.variant
        )

    def stage_window(self, stage: str) -> int | None:
        """The window that the decoder was made for."""
        self.known_stage(stage)
        return self.decoder.options.window

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """All trainable weights of the decoder."""
        self.known_stage(stage)
        return (p for p in self.decoder.parameters() if p.requires_grad)

    # -- generation --------------------------------------------------------------------------------
    @property
    def most_steps(self) -> int:
        """The noise levels of the schedule."""
        return self.diffusion.timesteps

    def sample(
        self,
        condition: TextCondition | Sequence[str],
        lengths: Tensor,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """States in real units; ``condition`` only says how many, ``guidance`` has nothing to act on."""
        fits = len(condition) in (1, len(lengths))
        require(fits, f"{len(condition)} conditions but {len(lengths)} lengths: expected one length for each")
        return self.generate(lengths, generator=generator, steps=steps)

    def generate(
        self,
        lengths: Tensor,
        *,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        columns: ColumnGuidance | WindowMean | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """States in real units ``(batch, max(lengths), 63)``, zero beyond each length.

        Args:
            lengths: frames of each window ``(batch,)``.
            known: values to keep, real units ``(batch, frames, 63)``. mask: True where they are known, same shape.
            columns: guidance, in normalised units (:meth:`mean_speed` makes one).
            generator: equal generators give equal windows, whatever comes after them in the batch.
            steps: instead of the configuration's.

        Raises:
            ConfigError: for lengths that are not positive, or known values without a mask of their shape.
        """
        like = self.decoder.final_layer.weight
        lengths = torch.as_tensor(lengths, device=like.device)
        if lengths.dim() != 1 or not len(lengths) or bool((lengths <= 0).any()):
            raise ConfigError(f"lengths {lengths.tolist()}: expected one or more positive numbers of frames")
        count = self.sampling.steps if steps is None else steps
        fixed = None if known is None and mask is None else self._known(known, mask, lengths)
        inner = (1 if fixed is None else count, self.features)
        noises = clip_noise(lengths.tolist(), inner, generator, like).permute(2, 0, 1, 3)
        valid, default = length_mask(lengths, int(lengths.max())), self.variant == "default"
        with evaluating(self.decoder):
            states = ddim(
                lambda x, time: self.decoder(x, time, valid),
                self.diffusion,
                noises[0],
                self.sampling,
                steps=count,
                known=fixed,
                noises=iter(noises[1:]),
                guidance=columns,
                valid=valid,
                variant=self.variant,
                restore=default,
            )
            result = self.denormalise(states, lengths)
        if fixed is None or known is None or not default:
            return result
        # normalising and back costs the last bit: what is known is handed out as it came
        return torch.where(fixed.mask > 0, known.to(result), result)

    def _known(self, known: Tensor | None, mask: Tensor | None, lengths: Tensor) -> Known:
        """Known values in real units, and their mask, as the sampler takes them."""
        if known is None or mask is None or known.shape != mask.shape:
            raise ConfigError("known values and their mask belong together and have one shape")
        shape, like = (len(lengths), int(lengths.max()), self.features), self.decoder.final_layer.weight
        if tuple(known.shape) != shape:
            raise ConfigError(f"known values have shape {tuple(known.shape)}, expected {shape}")
        return Known(self.normalise(known.to(like), lengths), mask.to(like))

    def mean_speed(self, speed: float | Tensor, height: float | Tensor) -> WindowMean:
        """Guidance that makes windows walk at a mean speed; see :class:`WindowMean`.

        Args:
            speed: m/s, one or ``(batch,)``. height: of the body in metres, one or ``(batch,)``.
        """
        like, forward = self.normaliser.min_, ROOT_COLUMNS[0]
        rate, tall = (torch.as_tensor(x, dtype=like.dtype, device=like.device).reshape(-1) for x in (speed, height))
        real = torch.zeros(max(len(rate), len(tall)), self.features, dtype=like.dtype, device=like.device)
        real[:, forward] = rate / tall
        return WindowMean(forward, self.normaliser.normalise(real)[:, forward])

    # -- handles -----------------------------------------------------------------------------------
    def network(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    @property
    def adapter_targets(self) -> list[str]:
        """Linear layers that adapters go on; every one of them acts and gets gradient."""
        return self.decoder.linears(self.adapters)

    def parameter_groups(self) -> dict[str, list[str]]:
        """``attention`` (its four projections), ``rest`` (all but those), ``all``."""
        every = [name for name, _ in self.decoder.named_parameters()]
        attention = [name for name in every if ".self_attn." in name]
        return {"attention": attention, "rest": [n for n in every if n not in set(attention)], "all": every}
