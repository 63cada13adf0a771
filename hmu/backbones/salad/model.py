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
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions
from hmu.backbones.salad.sampling import Observer, denoise
from hmu.backbones.salad.topology import BODY_PARTS, Chains, Topology
from hmu.backbones.salad.vae import Vae, sample_posterior
from hmu.backbones.statistics import Statistics
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder, concat_conditions

WINDOW = 64  # frames of the windows that the VAE trains on


class Salad(PromptedBackbone):
    """Skeleton-aware VAE, skeleton-temporal denoiser, text encoder, and this model's own motion statistics.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts; None where only ready-made conditions will be used.
        vae, denoiser, schedule, sampling: see :mod:`hmu.backbones.salad.options` (mappings are accepted).
        fps: frames per second (20; KIT 12.5).
        min_frames, max_frames: limits of a generated clip.
        latent_scale: factor between the VAE's latents and those the denoiser sees; 1 is the published model, None
            measures it on the training clips before the denoiser's training so that those have unit variance.
        feat_bias: how much more root and contacts count when training from scratch. The statistics that the published
            model is trained with (``Comp_v6_KLD005``) carry a division by 25.
        posterior: ``sampled`` (published) or ``mean``: the latent that a training state starts from.
        variant: ``default``, or ``upstream`` for the authors' behaviour (encoder and decoder read padding, losses
            average over padding, a configured guidance <= 1 ignores the text).
        chains: kinematic chains of another skeleton than T2M-22 and KIT-21.
        text_width: width of a token where ``text`` is None.

    Raises:
        ConfigError: for an unknown option or an impossible value.
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
        feat_bias: float,
        posterior: str,
        variant: str,
        chains: Chains | None = None,
        text_width: int | None = None,
    ) -> None:
        super().__init__(text, text_width)
        require(posterior in ("sampled", "mean"), f"backbone.posterior={posterior}: expected sampled or mean")
        self.variant, self.posterior = check_variant("backbone.variant", variant), posterior
        self.topology = Topology.of(features, chains)
        vae_options = parse(VaeOptions, vae, "vae")
        denoiser_options = parse(DenoiserOptions, denoiser, "denoiser")
        self.features, self.fps, self.feat_bias = features, float(fps), float(feat_bias)
        self.latent_scale = None if latent_scale is None else float(latent_scale)
        self.min_frames, self.max_frames = min_frames, max_frames
        self.vae = Vae(self.topology, vae_options)
        self.denoiser = Denoiser(vae_options.latent_dim, self.text_width, denoiser_options)
        self.schedule = parse(ScheduleOptions, schedule, "schedule")
        self.diffusion = Diffusion(self.schedule)
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        self.unit_length = self.vae.unit_length
        self.statistics = Statistics(features)
        self.register_load_state_dict_pre_hook(_rename_statistics)

    @classmethod
    def upgrade(cls, config: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Folders of version 0.1 did not state ``feat_bias``."""
        return {"feat_bias": 25.0, **config}

    @property
    def chains(self) -> Chains:
        """The kinematic chains of the skeleton."""
        return self.topology.chains

    # -- statistics --------------------------------------------------------------------------------
    @property
    def mean(self) -> Tensor:
        """Means of the motions it was trained on, ``(features,)``; stored under this name."""
        return self.statistics.mean

    @property
    def std(self) -> Tensor:
        """Standard deviations, ``(features,)``; stored under this name."""
        return self.statistics.std

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """See :meth:`MotionBackbone.prepare`; the statistics are those of :meth:`Statistics.fit`."""
        self.statistics.fit(mean, std, self.feat_bias)
        self.fit_vocabulary(captions)

    def latent_lengths(self, lengths: Tensor) -> Tensor:
        """Latent frames of clips with ``lengths`` frames ``(batch,)``."""
        return lengths // self.unit_length

    def empty_condition(self) -> TextCondition:
        """The unconditional prompt, one row."""
        return self.encode_text([""])

    # -- training target ---------------------------------------------------------------------------
    def encode_target(self, batch: MotionBatch) -> Target:
        """Posterior ``mean`` and ``logvar`` ``(batch, frames // 4, 7, latent)``, zero beyond each length.

        A padded clip gets the posterior it has alone (``upstream``: the encoder reads the padding).
        """
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
        time = self.diffusion.draw_times(len(target), generator, mean.device)
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

    # -- training from scratch ---------------------------------------------------------------------
    def stage_loss(
        self,
        stage: str,
        batch: MotionBatch,
        generator: torch.Generator | None = None,
        target: Target | None = None,
    ) -> dict[str, Tensor]:
        """The published objective of a stage, averaged over valid positions.

        ``vae``: reconstruction + position, velocity and KL terms. ``denoiser``: prediction loss with condition
        dropout; ``target`` may hand in the cached posterior of ``batch``. Gradients reach a trainable text encoder.
        """
        if self.known_stage(stage) == "vae":
            return self._vae_loss(batch, generator)
        if self.latent_scale is None:
            raise ConfigError(
                "backbone.latent_scale is not measured yet: call prepare_stage('denoiser', batches) first"
            )
        state = self.corrupt(self.encode_target(batch) if target is None else target, generator)
        texts = objectives.drop_prompts(batch.texts, self.denoiser.options.cond_drop, generator, self.device)
        condition = self.encode_text(texts).to(state.inputs.device)
        return {"loss": self.distance(self.predict(state, condition), state.target, state).mean()}

    def _vae_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Padding is neither read nor counted (``upstream``: both)."""
        frames = int(batch.lengths.max()) // self.unit_length * self.unit_length
        lengths = (batch.lengths // self.unit_length * self.unit_length).clamp(max=frames)
        motion = self.statistics.normalise(batch.motion[:, :frames], lengths)
        padded = self.variant == "default" and not bool((lengths >= frames).all())
        return objectives.vae_terms(self.vae, motion, lengths if padded else None, generator=generator)

    def stage_window(self, stage: str) -> int | None:
        """Frames of the random windows that a stage trains on (VAE 64), None = whole clips."""
        return WINDOW if self.known_stage(stage) == "vae" else None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Trainable parameters of the VAE, or of the denoiser and of a text encoder stored with the model.

        Such an encoder is unfrozen here: a model folder loads it frozen.
        """
        parts: list[nn.Module | None] = [self.vae]
        if self.known_stage(stage) == "denoiser":
            self.train_text(True)
            parts = [self.denoiser, self.text]
        return (p for part in parts if part is not None for p in part.parameters() if p.requires_grad)

    @property
    def scale(self) -> float:
        """Factor from the VAE's latents to the denoiser's; 1 as long as it has not been measured."""
        return 1.0 if self.latent_scale is None else self.latent_scale

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Before the denoiser: set a missing :attr:`latent_scale`, so that sampled latents have unit variance."""
        if self.known_stage(stage) == "denoiser" and self.latent_scale is None:
            targets = (self.encode_target(batch) for batch in batches)
            self.latent_scale = objectives.unit_variance_scale(
                (mean, logvar, length_mask(self.latent_lengths(target.lengths), mean.shape[1]))
                for target in targets
                for mean, logvar in [(target.tensors["mean"], target.tensors["logvar"])]
            )

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
        """Motions in real units ``(batch, max(lengths), features)``, zero beyond each length.

        Raises:
            ConfigError: for lengths that are not positive multiples of 4, or not one per prompt.
        """
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
        """Latents of initial ``noise`` ``(batch, frames, 7, latent)``; see :func:`denoise`.

        ``condition``: one prompt per clip; ``lengths``: latent frames ``(batch,)``, None = no mask at all.
        ``guidance`` and ``steps`` are the model's own where None.
        """
        scale = self.sampling.guidance if guidance is None else float(guidance)
        scheduler = self.diffusion.scheduler(self.sampling.scheduler, self.sampling.options)
        scheduler.set_timesteps(steps or self.sampling.steps)
        valid = None if lengths is None else length_mask(lengths, noise.shape[1])
        prompts = self._branches(condition, scale)
        return denoise(
            self.denoiser, scheduler, noise, prompts, valid, scale=scale, generator=generator, observe=observe
        )

    def _branches(self, condition: TextCondition, guidance: float) -> TextCondition:
        """The prompts of one network evaluation: the text, the empty prompt, or both, the empty ones first.

        A scale of 1 is the text alone, 0 the empty prompt alone. The published code decides at *training* time: with a
        configured scale <= 1 it feeds empty prompts only and ignores the text (``variant: upstream``).
        """
        ignored = self.variant == "upstream" and self.sampling.guidance <= 1
        if guidance == 1 and not ignored:
            return condition
        empty = self.empty_condition().to(condition.tokens.device).expand(len(condition))
        return empty if ignored or guidance == 0 else concat_conditions([empty, condition])

    def decode(self, latent: Tensor, lengths: Tensor) -> Tensor:
        """Denoised latents ``(batch, frames', 7, latent)`` to motions in real units ``(batch, frames, features)``.

        ``lengths`` in frames ``(batch,)``; the motions are zero beyond them.
        """
        motion = self.vae.decode(latent / self.scale, lengths if self.variant == "default" else None)
        return self.statistics.denormalise(motion, lengths)

    # -- handles -----------------------------------------------------------------------------------
    def network(self) -> nn.Module:
        """The denoiser."""
        return self.denoiser

    @property
    def adapter_targets(self) -> list[str]:
        """All query, key, value and output projections of the denoiser's attentions (60 at the published size)."""
        return self.denoiser.attention_linears()

    def parameter_groups(self) -> dict[str, list[str]]:
        """``cross`` (cross-attention), ``cross_kv`` (its keys and values), ``rest`` (all but cross), ``all``."""
        return self.denoiser.groups()

    def text_projections(self) -> dict[str, nn.Linear]:
        """Key and value projections of every cross-attention."""
        return {
            name: module
            for name, module in self.denoiser.named_modules()
            if name.endswith((".cross_attn.Wk", ".cross_attn.Wv")) and isinstance(module, nn.Linear)
        }

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """The projected and normalised words of ``condition`` that each of :meth:`text_projections` reads."""
        condition = condition.to(self.device)
        return self.denoiser.projection_inputs(condition.tokens, condition.mask)


def _rename_statistics(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Interrupted trainings of version 0.1 hold the statistics as ``mean`` and ``std``."""
    for name in ("mean", "std"):
        if f"{prefix}{name}" in state:
            state[f"{prefix}statistics.{name}"] = state.pop(f"{prefix}{name}")
