"""SALAD as a backbone: skeleton-aware latent diffusion (Hong et al., CVPR 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmu.backbones.base import MotionBackbone, State, Target
from hmu.backbones.prompts import PromptCache, fit_vocabulary
from hmu.backbones.salad import objectives
from hmu.backbones.salad.denoiser import Denoiser
from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.options import DenoiserOptions, SamplingOptions, ScheduleOptions, VaeOptions, parse
from hmu.backbones.salad.sampling import denoise, draw_noise, evaluating
from hmu.backbones.salad.topology import Chains, Topology
from hmu.backbones.salad.vae import Vae
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.stored import storable

Statistics = tuple[Any, Any]
ROOT, CONTACTS = 4, 4  # first and last columns of the representation


class Salad(MotionBackbone):
    """Skeleton-aware VAE, skeleton-temporal denoiser, text encoder, and this model's own motion statistics.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts; None where only ready-made conditions will be used.
        vae, denoiser, schedule, sampling: see :mod:`hmu.backbones.salad.options` (mappings are accepted).
        statistics: mean and standard deviation ``(features,)`` that motions are normalised with; None = not yet known
            (:meth:`set_statistics`).
        chains: kinematic chains of another skeleton than T2M-22 and KIT-21.
        fps: frames per second (20; KIT 12.5).
        text_width: width of a token where ``text`` is None.
        latent_scale: factor between the VAE's latents and those the denoiser sees; 1 is the published model, None
            measures it on the training clips before the denoiser's training so that those have unit variance.
        posterior: ``sampled`` (published) or ``mean``: the latent that a training state starts from.
        min_frames, max_frames: limits of a generated clip.
        variant: ``default``, or ``upstream`` for the authors' behaviour (encoder and decoder read padding, losses
            average over padding, a configured guidance <= 1 ignores the text).

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    name = "salad"
    stages = ("vae", "denoiser")
    unlearn_group = "cross_kv"  # what the words lead to, and nothing else: drifts least
    feat_bias: float = 25.0
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: int = 263,
        text: TextEncoder | None = None,
        vae: VaeOptions | Mapping[str, Any] | None = None,
        denoiser: DenoiserOptions | Mapping[str, Any] | None = None,
        schedule: ScheduleOptions | Mapping[str, Any] | None = None,
        sampling: SamplingOptions | Mapping[str, Any] | None = None,
        statistics: Statistics | None = None,
        chains: Chains | None = None,
        fps: float = 20.0,
        text_width: int | None = None,
        latent_scale: float | None = 1.0,
        posterior: str = "sampled",
        min_frames: int = 40,
        max_frames: int = 196,
        variant: str = "default",
    ) -> None:
        super().__init__()
        if posterior not in ("sampled", "mean"):
            raise ConfigError(f"backbone.posterior={posterior}: expected sampled or mean")
        self.topology = Topology.of(features, chains)
        vae_options = parse(VaeOptions, vae, "vae")
        denoiser_options = parse(DenoiserOptions, denoiser, "denoiser")
        self.features, self.fps, self.posterior = features, float(fps), posterior
        self.variant = check_variant("backbone.variant", variant)
        self.latent_scale = None if latent_scale is None else float(latent_scale)
        self.min_frames, self.max_frames = min_frames, max_frames
        self.vae = Vae(self.topology, vae_options)
        width = text.width if text is not None else int(text_width or 512)
        self.denoiser = Denoiser(vae_options.latent_dim, width, denoiser_options)
        self.text = text
        self.text_width = width
        self.diffusion = Diffusion(parse(ScheduleOptions, schedule, "schedule"))
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        self.unit_length = self.vae.unit_length
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        if statistics is not None:
            self.set_statistics(*statistics)
        self.origin: dict[str, Any] = {}
        self._prompts = PromptCache()

    # -- statistics --------------------------------------------------------------------------------
    def set_statistics(self, mean: Any, std: Any) -> None:
        """Use ``mean`` and ``std`` ``(features,)`` for normalisation.

        Raises:
            ConfigError: for a wrong shape or a deviation that is not above 0.
        """
        mean, std = (torch.as_tensor(np.asarray(x), dtype=torch.float32) for x in (mean, std))
        if mean.shape != (self.features,) or std.shape != (self.features,) or not bool((std > 0).all()):
            raise ConfigError(
                f"statistics of shape {tuple(mean.shape)} and {tuple(std.shape)}: expected ({self.features},), std > 0"
            )
        self.mean.copy_(mean)
        self.std.copy_(std)

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """Prepare fresh weights for a data set: its statistics, and the vocabulary of an encoder that has none yet.

        The std of the root and contact columns is divided by :attr:`feat_bias`, which makes them count that much more:
        they are 8 of 263 columns, and an error in the turning rate adds up over a clip. The statistics that the
        published model is trained with (``Comp_v6_KLD005``) carry a division by 25.

        Args:
            mean, std: ``(features,)`` of the training motions.
            captions: sentences, or objects with a ``text``.
        """
        std = np.array(std, dtype=np.float64)
        std[:ROOT] /= self.feat_bias
        std[-CONTACTS:] /= self.feat_bias
        self.set_statistics(mean, std)
        fit_vocabulary(self.text, captions)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units to normalised features, zero beyond each length."""
        normal = (motion - self.mean) / self.std
        return normal * length_mask(lengths, motion.shape[1])[:, :, None]

    def denormalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Normalised features to real units, zero beyond each length."""
        return (motion * self.std + self.mean) * length_mask(lengths, motion.shape[1])[:, :, None]

    def latent_lengths(self, lengths: Tensor) -> Tensor:
        """Latent frames of clips with ``lengths`` frames."""
        return lengths // self.unit_length

    # -- text --------------------------------------------------------------------------------------
    @property
    def trains_text(self) -> bool:
        """Whether the text encoder has trainable weights (a small one, trained with the denoiser)."""
        return self.text is not None and any(p.requires_grad for p in self.text.parameters())

    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """Encode prompts, padded to the longest; cached by text unless the encoder is being trained.

        Raises:
            ConfigError: if the model was built without a text encoder.
        """
        if self.text is None:
            raise ConfigError("this SALAD model has no text encoder: give backbone.text (for example text=clip)")
        if self.trains_text:
            return self.text.encode(texts)
        return self._prompts.encode(self.text, texts, self.mean.device)

    def empty_condition(self) -> TextCondition:
        """The unconditional prompt, one row."""
        return self.encode_text([""])

    # -- training target ---------------------------------------------------------------------------
    def encode_target(self, batch: MotionBatch) -> Target:
        """Posterior ``mean`` and ``logvar`` ``(batch, frames // 4, 7, latent)``, zero beyond each length.

        A padded clip gets the posterior it has alone (``upstream``: the encoder reads the padding).
        """
        frames = int(batch.lengths.max()) if self.variant == "default" else batch.motion.shape[1]
        motion = self.normalise(batch.motion[:, :frames], batch.lengths)
        with evaluating(self.vae):
            mean, logvar = self.vae.encode(motion, batch.lengths if self.variant == "default" else None)
        keep = length_mask(self.latent_lengths(batch.lengths), mean.shape[1])[:, :, None, None]
        return Target({"mean": mean * keep, "logvar": logvar * keep}, batch.lengths)

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a latent from the posterior, a timestep and noise; zero beyond each length."""
        return objectives.corrupt(self, target, generator)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """The denoiser's answer ``(batch, frames', 7, latent)``, zero beyond each length."""
        if len(condition) == 1 and len(state.time) > 1:
            condition = condition.expand(len(state.time))
        answer = self.denoiser(state.inputs, state.time, condition.tokens, condition.mask, state.valid)
        return answer * state.valid[:, :, None, None]

    def distance(self, prediction: Tensor, answer: Tensor, state: State) -> Tensor:
        """Per-item loss ``(batch,)``, averaged over valid positions (``upstream``: over padding too)."""
        return objectives.distance(self, prediction, answer, state)

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
        if stage == "vae":
            return objectives.vae_loss(self, batch, generator)
        self._known(stage)
        return objectives.denoiser_loss(self, batch, generator, target)

    def stage_window(self, stage: str) -> int | None:
        """Frames of the random windows that a stage trains on (VAE 64), None = whole clips."""
        return 64 if self._known(stage) == "vae" else None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Trainable parameters of the VAE, or of the denoiser and of a text encoder stored with the model.

        Such an encoder is unfrozen here: a model folder loads it frozen.
        """
        if self._known(stage) == "vae":
            return (p for p in self.vae.parameters() if p.requires_grad)
        if self.text is not None and storable(self.text):
            self.text.requires_grad_(True)
            self._prompts.clear()
        parts = [self.denoiser] if self.text is None else [self.denoiser, self.text]
        return (p for part in parts for p in part.parameters() if p.requires_grad)

    def optimizer_defaults(self, stage: str) -> dict[str, Any]:
        """Published optimiser and schedule of a stage (keys of a training recipe).

        The authors' rate stops at ``warmup / (warmup + 1)`` of its value; a recipe reaches the full value. Their
        milestones count from the end of the warm-up, these from step 0.
        """
        return objectives.OPTIMIZER_DEFAULTS[self._known(stage)]

    def _known(self, stage: str) -> str:
        if stage not in self.stages:
            raise ConfigError(f"stage={stage}: SALAD has the stages {', '.join(self.stages)}")
        return stage

    # -- scale of the latents ----------------------------------------------------------------------
    @property
    def scale(self) -> float:
        """Factor from the VAE's latents to the denoiser's; 1 as long as it has not been measured."""
        return 1.0 if self.latent_scale is None else self.latent_scale

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Before the denoiser: set a missing :attr:`latent_scale`, so that sampled latents have unit variance."""
        if self._known(stage) == "denoiser" and self.latent_scale is None:
            self.latent_scale = objectives.unit_variance_scale(self, (self.encode_target(batch) for batch in batches))

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
        device = self.mean.device
        lengths = torch.as_tensor(lengths, device=device)
        if bool(((lengths % self.unit_length != 0) | (lengths <= 0)).any()):
            raise ConfigError(f"lengths {lengths.tolist()}: expected positive multiples of {self.unit_length} frames")
        with evaluating(*(m for m in (self.vae, self.denoiser, self.text) if m is not None)):
            prompts = condition if isinstance(condition, TextCondition) else self.encode_text(condition)
            prompts = prompts.to(device)
            prompts = prompts.expand(len(lengths)) if len(prompts) == 1 else prompts
            if len(prompts) != len(lengths):
                raise ConfigError(f"{len(prompts)} prompts but {len(lengths)} lengths: expected one length per prompt")
            small = self.latent_lengths(lengths)
            noise = draw_noise(small, self.vae.options.latent_dim, generator, device, self.mean.dtype)
            latent = denoise(self, noise, prompts, small, guidance=guidance, steps=steps, generator=generator)
            return self.decode(latent, lengths)

    def decode(self, latent: Tensor, lengths: Tensor) -> Tensor:
        """Denoised latents to motions in real units, zero beyond each length (frames)."""
        motion = self.vae.decode(latent / self.scale, lengths if self.variant == "default" else None)
        return self.denormalise(motion, lengths)

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
        modules = dict(self.denoiser.named_modules())
        return {
            name: module
            for name, module in modules.items()
            if name.endswith((".cross_attn.Wk", ".cross_attn.Wv")) and isinstance(module, nn.Linear)
        }

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """The projected and normalised words of ``condition`` that each of :meth:`text_projections` reads."""
        condition = condition.to(self.mean.device)
        return self.denoiser.projection_inputs(condition.tokens, condition.mask)

    def save_pretrained(self, folder: Path | str, dtype: str = "float32") -> Path:
        """Write our model folder (``config.json``, ``weights.safetensors``); see :mod:`hmu.backbones.salad.native`."""
        from hmu.backbones.salad import native

        return native.save_pretrained(self, folder, dtype)

    @classmethod
    def load_pretrained(cls, folder: Path | str, **options: Any) -> Salad:
        """Read our model folder; see :func:`hmu.backbones.salad.native.load_pretrained`."""
        from hmu.backbones.salad import native

        return native.load_pretrained(folder, **options)

    def provenance(self) -> dict[str, Any]:
        """Files the weights came from, with their SHA-256."""
        return dict(self.origin)
