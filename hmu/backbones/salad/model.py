"""SALAD as a backbone: skeleton-aware latent diffusion (Hong et al., CVPR 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws, clip_noise
from hmu.backbones.modes import evaluating
from hmu.backbones.options import parse, require
from hmu.backbones.prompts import PromptedBackbone
from hmu.backbones.salad import objectives
from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.diffusion import Diffusion, Observer, denoise
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions
from hmu.backbones.salad.topology import BODY_PARTS, Chains, Topology
from hmu.backbones.salad.vae import Vae, sample_posterior
from hmu.backbones.statistics import OwnStatistics
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder, concat_conditions
from hmu.values import Positive

WINDOW = 64  # frames of the windows that the VAE trains on


class Salad(OwnStatistics, PromptedBackbone):
    """Skeleton-aware VAE, skeleton-temporal denoiser, text encoder, and this model's own motion statistics.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts; None where only ready-made conditions will be used.
        vae, denoiser, schedule, sampling: see :mod:`hmu.backbones.salad.options` (mappings are accepted).
        latent_scale: factor between the VAE's latents and those the denoiser sees; 1 is the published model, None
            measures it before the denoiser's training, so that latents of the training clips have unit variance.
        feat_bias: how much more root and contacts count when training from scratch. The statistics that the published
            model is trained with (``Comp_v6_KLD005``) carry a division by 25.
        posterior: ``sampled`` (published) or ``mean``: the latent that a training state starts from.
        variant: ``default``, or ``upstream`` for the authors' behaviour: encoder and decoder read padding, losses
            average over it, and a configured guidance <= 1 feeds empty prompts only, as they decide while training.
        chains: kinematic chains of another skeleton than T2M-22 and KIT-21.
        text_width: width of a token where ``text`` is None.
    """

    name = "salad"
    stages = ("vae", "denoiser")
    unlearn_group = "cross_kv"  # what the words lead to, and nothing else: drifts least
    stored = ("mean", "std", "vae", "denoiser", "text")
    recomputed = ("vae.*matrix", "vae.*pool", "denoiser.pos_emb.pe")
    adjustable = ("text", "sampling", "posterior", "variant")

    def __init__(
        self,
        features: int,
        text: TextEncoder | None,
        vae: VaeOptions | Mapping[str, Any],
        denoiser: DenoiserOptions | Mapping[str, Any],
        schedule: ScheduleOptions | Mapping[str, Any],
        sampling: SamplingOptions | Mapping[str, Any],
        fps: float,
        min_frames: int,
        max_frames: int,
        latent_scale: float | None,
        feat_bias: Positive,
        posterior: str,
        variant: str,
        chains: Chains | None = None,
        text_width: int | None = None,
    ) -> None:
        super().__init__(text, text_width)
        require(posterior in ("sampled", "mean"), f"backbone.posterior={posterior}: expected sampled or mean")
        self.variant, self.posterior = check_variant("backbone.variant", variant), posterior
        self.topology = Topology.of(features, chains)
        self.chains = self.topology.chains
        vae_options = parse(VaeOptions, vae, "vae")
        denoiser_options = parse(DenoiserOptions, denoiser, "denoiser")
        require(feat_bias > 0, f"backbone.feat_bias={feat_bias}: expected a number above 0")
        self.features, self.fps, self.feat_bias = features, float(fps), float(feat_bias)
        self.latent_scale = None if latent_scale is None else float(latent_scale)
        self.min_frames, self.max_frames = min_frames, max_frames
        self.vae = Vae(self.topology, vae_options)
        self.denoiser = Denoiser(vae_options.latent_dim, self.text_width, denoiser_options)
        self.schedule = parse(ScheduleOptions, schedule, "schedule")
        self.diffusion = Diffusion(self.schedule)
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        self.unit_length = self.vae.unit_length
        self.start_statistics(features)

    @classmethod
    def upgrade(cls, config: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Folders of version 0.1 did not state ``feat_bias``."""
        return {"feat_bias": 25.0, **config}

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """Statistics as :meth:`Statistics.fit` makes them, and words."""
        self.statistics.fit(mean, std, self.feat_bias)
        self.fit_vocabulary(captions)

    def latent_lengths(self, lengths: Tensor) -> Tensor:
        """Latent frames of clips with ``lengths`` frames ``(batch,)``."""
        return lengths // self.unit_length

    def empty_condition(self) -> TextCondition:
        """The unconditional prompt, one row."""
        return self.encode_text([""])

    def encode_target(self, batch: MotionBatch) -> Target:
        """Posterior ``mean`` and ``logvar`` ``(batch, frames // 4, 7, latent)``, zero beyond each length."""
        frames = int(batch.lengths.max()) if self.variant == "default" else batch.motion.shape[1]
        motion = self.statistics.normalise(batch.motion[:, :frames], batch.lengths)
        with evaluating(self.vae):
            mean, logvar = self.vae.encode(motion, batch.lengths if self.variant == "default" else None)
        keep = length_mask(self.latent_lengths(batch.lengths), mean.shape[1])[:, :, None, None]
        return Target({"mean": mean * keep, "logvar": logvar * keep}, batch.lengths)

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a latent from the posterior, a timestep and noise; cut to the longest clip (``upstream``: not cut)."""
        mean, logvar = target.tensors["mean"], target.tensors["logvar"]
        lengths = self.latent_lengths(target.lengths)
        if self.variant == "default":
            longest = int(lengths.max())
            mean, logvar = mean[:, :longest], logvar[:, :longest]
        draws, shape = Draws(generator), tuple(mean.shape)
        latent = mean if self.posterior == "mean" else sample_posterior(mean, logvar, draws.normal(shape, mean))
        time = draws.integers(self.diffusion.timesteps, (len(target),), mean.device)
        return self.noised(latent, draws.normal(shape, mean), time, lengths)

    def noised(self, latent: Tensor, noise: Tensor, time: Tensor, lengths: Tensor) -> State:
        """The training state of a VAE latent ``(batch, frames', 7, latent)`` under given noise and timesteps.

        ``lengths`` in latent frames ``(batch,)``; latent and noise are zeroed beyond them.
        """
        valid = length_mask(lengths, latent.shape[1])
        keep = valid[:, :, None, None].to(latent.dtype)
        clean, noise = latent * (keep * self.scale), noise * keep
        return State(self.diffusion.add(clean, noise, time), time, self.diffusion.target(clean, noise, time), valid)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """The denoiser's prediction ``(batch, frames', 7, latent)``, zero beyond each length."""
        if len(condition) == 1 and len(state.time) > 1:
            condition = condition.expand(len(state.time))
        prediction = self.denoiser(state.inputs, state.time, condition.tokens, condition.mask, state.valid)
        return prediction * state.valid[:, :, None, None]

    def distance(self, prediction: Tensor, target: Tensor, state: State) -> Tensor:
        """Per-item loss ``(batch,)``, averaged over valid positions (``upstream``: over padding too)."""
        valid = state.valid if self.variant == "default" else None
        return objectives.per_item(self.denoiser.options.loss, prediction, target, valid)

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """``vae``: reconstruction, position, velocity and KL terms; ``denoiser``: prediction with condition dropout.

        Means over valid positions (``upstream``: padding is read and counted).
        """
        if self.known_stage(stage) == "vae":
            return self._vae_loss(batch, generator)
        if self.latent_scale is None:
            raise ConfigError("backbone.latent_scale is not measured yet: call prepare_stage('denoiser', …) first")
        state = self.corrupt(self.encode_target(batch), generator)
        texts = objectives.drop_prompts(batch.texts, self.denoiser.options.cond_drop, generator, self.device)
        condition = self.encode_text(texts).to(state.inputs.device)
        return {"loss": self.distance(self.predict(state, condition), state.target, state).mean()}

    def _vae_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        frames = int(batch.lengths.max()) // self.unit_length * self.unit_length
        lengths = (batch.lengths // self.unit_length * self.unit_length).clamp(max=frames)
        motion = self.statistics.normalise(batch.motion[:, :frames], lengths)
        padded = self.variant == "default" and not bool((lengths >= frames).all())
        return objectives.vae_terms(self.vae, motion, lengths if padded else None, generator=generator)

    def stage_window(self, stage: str) -> int | None:
        """64 frames for the VAE."""
        return WINDOW if self.known_stage(stage) == "vae" else None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """The VAE's, or the denoiser's and those of a text encoder that is stored with the model (unfrozen here)."""
        if self.known_stage(stage) == "vae":
            return (p for p in self.vae.parameters() if p.requires_grad)
        self.train_text(True)
        parts = nn.ModuleList([self.denoiser] if self.text is None else [self.denoiser, self.text])
        return (p for p in parts.parameters() if p.requires_grad)

    @property
    def scale(self) -> float:
        """Factor from the VAE's latents to the denoiser's; 1 until it is measured."""
        return 1.0 if self.latent_scale is None else self.latent_scale

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Before the denoiser: set a missing :attr:`latent_scale`, so that sampled latents have unit variance."""
        if self.known_stage(stage) == "denoiser" and self.latent_scale is None:
            self.latent_scale = objectives.unit_variance_scale(map(self._posterior, batches))

    def _posterior(self, batch: MotionBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance of clips, and where they are valid."""
        target = self.encode_target(batch)
        mean = target.tensors["mean"]
        return mean, target.tensors["logvar"], length_mask(self.latent_lengths(target.lengths), mean.shape[1])

    def get_extra_state(self) -> dict[str, float | None]:
        """The measured scale travels with the weights, untouched by weight averaging."""
        return {"latent_scale": self.latent_scale}

    def set_extra_state(self, state: dict[str, float | None]) -> None:
        """Restore the measured scale."""
        self.latent_scale = state["latent_scale"]

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
        """Motions in real units, see :meth:`MotionBackbone.sample`."""
        with evaluating(self.vae, self.denoiser, self.text):
            lengths = self.check_lengths(lengths)
            prompts = self.match(condition, len(lengths))
            small = self.latent_lengths(lengths)
            inner = (len(BODY_PARTS), self.vae.options.latent_dim)
            noise = clip_noise(small.tolist(), inner, generator, self.mean)
            latent = self.denoise(noise, prompts, small, guidance=guidance, steps=steps, generator=generator)
            return self.decode(latent, lengths)

    def denoise(
        self,
        noise: Tensor,
        condition: TextCondition,
        lengths: Tensor | None,
        *,
        guidance: float | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        observe: Observer | None = None,
    ) -> Tensor:
        """Latents of initial ``noise``, both ``(batch, frames, 7, latent)``; see :func:`denoise`.

        ``lengths``: latent frames ``(batch,)``, None = no mask at all.
        """
        scale = self.sampling.guidance if guidance is None else float(guidance)
        scheduler = self.diffusion.scheduler(self.sampling.scheduler, self.sampling.options)
        scheduler.set_timesteps(steps or self.sampling.steps)
        valid = None if lengths is None else length_mask(lengths, noise.shape[1])
        prompts, ignored = condition, self.variant == "upstream" and self.sampling.guidance <= 1
        if ignored or scale != 1:
            empty = self.empty_condition().to(condition.tokens.device).expand(len(condition))
            prompts = empty if ignored or scale == 0 else concat_conditions([empty, condition])
        return denoise(self.denoiser, scheduler, noise, prompts, valid, scale, generator, observe)

    def decode(self, latent: Tensor, lengths: Tensor) -> Tensor:
        """Latents ``(batch, frames', 7, latent)`` to motions ``(batch, frames, features)``, zero beyond ``lengths``."""
        motion = self.vae.decode(latent / self.scale, lengths if self.variant == "default" else None)
        return self.statistics.denormalise(motion, lengths)

    # -- handles -----------------------------------------------------------------------------------
    def network(self) -> nn.Module:
        """The denoiser."""
        return self.denoiser

    @property
    def adapter_targets(self) -> list[str]:
        """All projections of the denoiser's attentions (60 at the published size)."""
        return self.denoiser.attention_linears()

    def parameter_groups(self) -> dict[str, list[str]]:
        """``cross`` (cross-attention), ``cross_kv`` (its keys and values), ``rest`` (all but cross), ``all``."""
        return self.denoiser.groups()

    def text_projections(self) -> dict[str, nn.Linear]:
        """Key and value projections of every cross-attention."""
        linears = {name: m for name, m in self.denoiser.named_modules() if isinstance(m, nn.Linear)}
        return {name: m for name, m in linears.items() if name.endswith((".cross_attn.Wk", ".cross_attn.Wv"))}

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """The projected and normalised words of ``condition`` that each of :meth:`text_projections` reads."""
        condition = condition.to(self.device)
        return self.denoiser.projection_inputs(condition.tokens, condition.mask)
