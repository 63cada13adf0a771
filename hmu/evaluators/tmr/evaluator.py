"""TMR as an evaluator: one latent space of motions and captions, compared by cosine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.checkpoints.authors import naming
from hmu.checkpoints.folders import CONFIG
from hmu.checkpoints.pretrained import WEIGHTS as WEIGHTS_FILE
from hmu.checkpoints.safe import load_safetensors
from hmu.checks import check_variant, require
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.evaluators.base import TrainedEvaluator
from hmu.evaluators.masking import CENSORED, check_definition, mask_caption
from hmu.evaluators.tmr.networks import MAX_POSITIONS, Decoder, Encoder
from hmu.evaluators.tmr.objectives import (
    WEIGHTS,
    contrastive,
    false_negatives,
    latent_kl,
    reconstruction,
    sample_latent,
    term_weights,
)
from hmu.evaluators.tmr.settings import PARTS, our_settings, widths
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.stored import ReadsText, storable
from hmu.text.words_bag import BagOfWords
from hmu.values import Positive

Latent = tuple[Tensor, Tensor | None]  # mean and log-variance, each ``(batch, width)``
EPSILON = 1e-12  # of the published normaliser
#: the published sizes and training, where the authors' files, or folders of version 0.1, do not state them
PUBLISHED: Mapping[str, Any] = {
    "ff": 1024, "layers": 6, "heads": 4, "dropout": 0.1, "unit": True, "temperature": 0.1, "threshold": 0.8,
    "weights": WEIGHTS, "variant": "default",
}  # fmt: skip


class TMREvaluator(ReadsText, TrainedEvaluator):
    """Motion and text encoders with a shared latent, and a motion decoder that training needs (TMR, ICCV 2023).

    Args:
        features: columns of the motion representation.
        text: encoder of captions into tokens; trained along if it is a compact one; None: :meth:`embed_tokens` only.
        width, ff, layers, heads, dropout, activation: of the transformers.
        unit: embeddings have unit length, so that Euclidean distances order as cosines do; False: the latent mean.
        temperature, threshold: of the contrastive term; captions with ``cosine > 2 threshold - 1`` are no negatives.
        weights: of the terms ``recons``, ``kl``, ``latent`` and ``contrastive``, as published where they are not given.
        variant: ``default`` averages the reconstruction over real frames and validates without noise; ``upstream``
            averages over the padded array and always samples.
        sentences: encoder whose ``pooled`` vectors say which captions mean the same; None: content words.
        text_width: width of a token where ``text`` is None.
        parts: per network (``motion_encoder``, ``text_encoder``, ``motion_decoder``) what differs: ``ff``, ``layers`` …
        vae: latents have a variance while training.
    """

    name = "tmr"
    stages = ("joint",)
    stored = (*PARTS, "text", "mean", "std")
    training_only = ("motion_decoder.*",)
    unstored = ("sentences",)
    adjustable = ("text", "sentences", "unit", "temperature", "threshold", "weights", "variant")

    def __init__(
        self,
        features: int,
        text: TextEncoder | None,
        width: int,
        ff: int,
        layers: int,
        heads: int,
        dropout: float,
        unit: bool,
        temperature: float,
        threshold: float | None,
        weights: Mapping[str, float],
        variant: str,
        sentences: TextEncoder | None = None,
        text_width: int = 0,
        activation: str = "gelu",
        parts: Mapping[str, Mapping[str, Any]] | None = None,
        vae: bool = True,
    ) -> None:
        super().__init__(features, width)
        if activation not in ("gelu", "relu"):
            raise ConfigError(f"evaluator.activation={activation}: expected gelu or relu")
        require("evaluator.temperature", temperature, Positive)
        self.unit, self.vae = unit, vae
        self.variant = check_variant("evaluator.variant", variant)
        self.temperature, self.threshold, self.weights = float(temperature), threshold or 0.0, term_weights(weights)
        self.text_width = text_width if text is None else text.width
        self.text = text
        self.sentences = BagOfWords() if sentences is None else sentences
        shape = {"ff": ff, "layers": layers, "heads": heads, "dropout": dropout, "activation": activation}
        self.parts = {name: {**shape, **dict((parts or {}).get(name, {}))} for name in PARTS}
        for name in shape:  # what a folder states beside the parts: those of the motion encoder
            setattr(self, name, self.parts["motion_encoder"][name])
        for part in self.parts.values():
            if width % part["heads"]:
                raise ConfigError(f"evaluator: width={width} is not a multiple of heads={part['heads']}; change one")
        self.motion_encoder = Encoder(features, width, vae=vae, **self.parts["motion_encoder"])
        self.text_encoder = Encoder(self.text_width, width, vae=vae, **self.parts["text_encoder"])
        self.motion_decoder = Decoder(features, width, **self.parts["motion_decoder"])

    @classmethod
    def upgrade(cls, config: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Settings of the networks are checked. Folders of version 0.1 state those only, no widths."""
        key = "parts" if "parts" in config else "settings"
        parts = our_settings(config.get(key), folder / CONFIG, key)
        if key == "parts":
            return {**config, "parts": parts}
        tensors = load_safetensors(folder / WEIGHTS_FILE)
        with naming(folder / WEIGHTS_FILE, "TMR's networks"):
            sizes = {**widths(tensors), **parts["motion_encoder"]}
        return {**PUBLISHED, **sizes, "parts": parts, "text": config.get("text")}

    # -- what comes from data ----------------------------------------------------------------------------------------
    def prepare(self, mean: Any, std: Any, captions: Iterable[Caption] = ()) -> None:
        """Statistics ``(features,)`` as given, and a compact text encoder's vocabulary from the captions."""
        self.statistics.assign(mean, std)
        self.fit_vocabulary(captions)

    # -- embedding ---------------------------------------------------------------------------------------------------
    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`Evaluator.embed_motion`, ``(batch, width)``; DataError for what cannot be read."""
        latent, _ = self.encode_motion(self.normalise(motion, lengths), lengths)
        return F.normalize(latent, dim=-1) if self.unit else latent

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """As :meth:`Evaluator.embed_text`, ``(batch, width)``: the sentence is read, not its ``word/POS`` tokens."""
        return self.embed_tokens(self.read([caption.text for caption in captions]))

    def embed_tokens(self, condition: TextCondition) -> Tensor:
        """Encoded tokens of captions -> ``(batch, width)``."""
        latent, _ = self.encode_text(condition)
        return F.normalize(latent, dim=-1) if self.unit else latent

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`Evaluator.embed_text_masked`; ``hmu`` replaces substrings of the sentence, ignoring case."""
        if check_definition(definition) == "clean":
            pairs = [mask_caption(caption, concept) for caption in captions]
            texts, changed = [masked.text for masked, _ in pairs], [was for _, was in pairs]
        else:
            terms = re.compile("|".join(map(re.escape, concept.keywords)), re.IGNORECASE)
            texts = [terms.sub(CENSORED, caption.text) for caption in captions]
            changed = [text != caption.text for text, caption in zip(texts, captions, strict=True)]
        return self.embed_tokens(self.read(texts)), torch.tensor(changed)

    def embed_sentences(self, texts: Sequence[str]) -> Tensor:
        """As :meth:`Evaluator.embed_sentences`, ``(batch, any)``; read by the encoder ``sentences``."""
        pooled = self.sentences.encode(texts).pooled
        if pooled is None:
            raise ConfigError("evaluator.sentences gives no sentence vectors; choose text@evaluator.sentences=mpnet")
        return F.normalize(pooled.to(self.mean), dim=-1)

    def read(self, texts: Sequence[str]) -> TextCondition:
        """Token embeddings of sentences, on this device; ConfigError where there is no text encoder."""
        if self.text is None:
            raise ConfigError("this TMR has no text encoder: give text@evaluator.text=distilbert (name_or_folder=…)")
        return self.text.encode(texts).to(self.mean.device)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units -> normalised ``(batch, frames, features)``, zero beyond each length."""
        self.check_motion(motion, lengths, 1, MAX_POSITIONS - 2)
        longest = int(lengths.max())
        normalised = (motion[:, :longest].to(self.mean) - self.mean) / (self.std + EPSILON)
        return normalised.masked_fill(~length_mask(lengths.to(normalised.device), longest)[..., None], 0)

    def encode_motion(self, normalised: Tensor, lengths: Tensor) -> Latent:
        """Normalised motion and lengths -> mean and log-variance of the latent, each ``(batch, width)``."""
        mask = length_mask(lengths.to(normalised.device), normalised.shape[1])
        return _halves(self.motion_encoder(normalised, mask))

    def encode_text(self, condition: TextCondition) -> Latent:
        """Token embeddings -> mean and log-variance of the latent, each ``(batch, width)``."""
        if condition.tokens.shape[-1] != self.text_width:
            raise ConfigError(
                f"TMR reads tokens of width {self.text_width}, the text encoder gives {condition.tokens.shape[-1]}: "
                "use the language model it was trained with (evaluator.text)"
            )
        return _halves(self.text_encoder(condition.tokens.to(self.mean), condition.mask))

    # -- training ----------------------------------------------------------------------------------------------------
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the objective, scalars; text noise is drawn before motion noise, as published."""
        self.known_stage(stage)
        normalised = self.normalise(batch.motion, batch.lengths)
        mask = length_mask(batch.lengths.to(normalised.device), normalised.shape[1])
        latents = self.encode_text(self.read(batch.texts)), self.encode_motion(normalised, batch.lengths)
        noise = None
        if self.training or self.variant == "upstream":
            device = normalised.device if generator is None else generator.device
            shape = latents[0][0].shape
            text, motion = (torch.randn(shape, generator=generator, device=device).to(normalised) for _ in range(2))
            noise = (text, motion)
        return self.joint_terms(normalised, mask, latents, noise, self.embed_sentences(batch.texts))

    def joint_terms(
        self,
        normalised: Tensor,
        mask: Tensor,
        latents: tuple[Latent, Latent],
        noise: tuple[Tensor, Tensor] | None,
        sentences: Tensor | None,
    ) -> dict[str, Tensor]:
        """All terms of the objective and their weighted sum ``loss``, scalars.

        Args:
            normalised: motion ``(batch, frames, features)``; mask: its real frames ``(batch, frames)``.
            latents: mean and log-variance of text and of motion, each ``(batch, width)``.
            noise: standard normal ``(batch, width)`` for text and motion; None takes the means.
            sentences: unit sentence embeddings ``(batch, any)``; None: every other caption of the batch is a negative.
        """
        text, motion = (
            latent[0] if eps is None else sample_latent(*latent, eps)
            for latent, eps in zip(latents, noise or (None, None), strict=True)
        )
        counted = None if self.variant == "upstream" else mask
        recons = [reconstruction(self.motion_decoder(z, mask), normalised, counted) for z in (text, motion)]
        (text_mean, text_logvar), (motion_mean, motion_logvar) = latents
        kl = normalised.new_zeros(())
        if text_logvar is not None and motion_logvar is not None:
            kl = latent_kl((text_mean, text_logvar), (motion_mean, motion_logvar))
        filtered = None if sentences is None else false_negatives(sentences, self.threshold)
        terms = {
            "recons": torch.stack(recons).sum(),
            "kl": kl,
            "latent": F.smooth_l1_loss(text, motion),
            "contrastive": contrastive(text, motion, self.temperature, filtered),
        }
        return {**terms, "loss": torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()}

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """All three networks, and a text encoder that is stored with them."""
        self.known_stage(stage)
        for part in (self.motion_encoder, self.text_encoder, self.motion_decoder):
            yield from part.parameters()
        if self.text is not None and storable(self.text):
            self.text.requires_grad_(True)
            yield from self.text.parameters()

    def stage_window(self, stage: str) -> int | None:
        """Whole clips."""
        self.known_stage(stage)
        return None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, statistics, both text encoders and whether embeddings have unit length."""
        readers = ("none" if encoder is None else encoder.fingerprint for encoder in (self.text, self.sentences))
        heading = f"{self.name} {self.unit} {[part['heads'] for part in self.parts.values()]}{''.join(readers)}"
        return self.digest(heading, ("motion_encoder.", "text_encoder.", "mean", "std"))


def _halves(encoded: Tensor) -> Latent:
    return encoded[:, 0], encoded[:, 1] if encoded.shape[1] > 1 else None
