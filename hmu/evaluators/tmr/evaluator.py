"""TMR as an evaluator: one latent space of motions and captions, compared by cosine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.prompts import fit_vocabulary
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError, DataError
from hmu.evaluators.base import Evaluator
from hmu.evaluators.masking import CENSORED, mask_caption
from hmu.evaluators.tmr.networks import MAX_POSITIONS, Decoder, Encoder
from hmu.evaluators.tmr.objectives import WEIGHTS
from hmu.evaluators.tmr.stage import joint_stage
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.stored import storable
from hmu.text.words_bag import BagOfWords

EPSILON = 1e-12  # of the published normaliser
PARTS = ("motion_encoder", "text_encoder", "motion_decoder")


class TMREvaluator(Evaluator):
    """Motion and text encoders with a shared latent, and a motion decoder that training needs (TMR, ICCV 2023).

    Args:
        features: columns of the motion representation.
        text: encoder of captions into tokens; trained along if it is a compact one; None: :meth:`embed_tokens` only.
        sentences: encoder whose ``pooled`` vectors say which captions mean the same; None: content words.
        text_width: width of a token where ``text`` is None.
        width, ff, layers, heads, dropout, activation: of the transformers; the defaults are the published ones.
        parts: per network (``motion_encoder``, ``text_encoder``, ``motion_decoder``) what differs: ``ff``, ``layers`` …
        vae: latents have a variance while training.
        unit: embeddings have unit length, so that Euclidean distances order as cosines do; False: the latent mean.
        temperature, threshold: of the contrastive term; captions with ``cosine > 2 threshold - 1`` are no negatives.
        weights: of the terms ``recons``, ``kl``, ``latent`` and ``contrastive``.
        variant: ``default`` averages the reconstruction over real frames and validates without noise; ``upstream``
            averages over the padded array and always samples.
    """

    name = "tmr"
    stages = ("joint",)

    def __init__(
        self,
        features: int = 263,
        text: TextEncoder | None = None,
        sentences: TextEncoder | None = None,
        text_width: int = 768,
        width: int = 256,
        ff: int = 1024,
        layers: int = 6,
        heads: int = 4,
        dropout: float = 0.1,
        activation: str = "gelu",
        parts: Mapping[str, Mapping[str, Any]] | None = None,
        vae: bool = True,
        unit: bool = True,
        temperature: float = 0.1,
        threshold: float | None = 0.8,
        weights: Mapping[str, float] | None = None,
        variant: str = "default",
    ) -> None:
        super().__init__()
        _check(activation, temperature)
        self.features, self.width, self.unit = features, width, unit
        self.variant = check_variant("evaluator.variant", variant)
        self.temperature, self.threshold = float(temperature), threshold
        self.weights = term_weights(weights)
        self.text_width = text_width if text is None else text.width
        self.text = text
        self.sentences = BagOfWords() if sentences is None else sentences
        shape = {"ff": ff, "layers": layers, "heads": heads, "dropout": dropout, "activation": activation}
        self.vae = vae
        self.parts = {name: {**shape, **dict((parts or {}).get(name, {}))} for name in PARTS}
        for part in self.parts.values():
            if width % part["heads"]:
                raise ConfigError(f"evaluator: width={width} is not a multiple of heads={part['heads']}; change one")
        self.motion_encoder = Encoder(features, width, vae=vae, **self.parts["motion_encoder"])
        self.text_encoder = Encoder(self.text_width, width, vae=vae, **self.parts["text_encoder"])
        self.motion_decoder = Decoder(features, width, **self.parts["motion_decoder"])
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    # -- what comes from data ----------------------------------------------------------------------------------------
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Use these statistics, each ``(features,)``; DataError if the width or the values cannot be."""
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        if mean.shape != (self.features,) or std.shape != (self.features,):
            shapes = f"{tuple(mean.shape)}, {tuple(std.shape)}"
            raise DataError(f"TMR's statistics have shapes {shapes}, expected ({self.features},)")
        if not bool((std > 0).all() and torch.isfinite(std).all() and torch.isfinite(mean).all()):
            raise DataError("TMR's statistics: every std must be finite and greater than 0, every mean finite")
        self.mean.copy_(mean)
        self.std.copy_(std)

    def prepare(self, mean: Any, std: Any, captions: Iterable[Caption] = ()) -> None:
        """Statistics ``(features,)`` as given, and a compact text encoder's vocabulary from the captions."""
        self.set_statistics(*(torch.as_tensor(np.asarray(x), dtype=torch.float32).flatten() for x in (mean, std)))
        fit_vocabulary(self.text, captions)

    # -- embedding ---------------------------------------------------------------------------------------------------
    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """See :meth:`Evaluator.embed_motion`.

        Raises:
            DataError: a clip without frames or longer than the table of positions, or a wrong number of columns.
        """
        latent, _ = self.encode_motion(self.normalise(motion, lengths), lengths)
        return F.normalize(latent, dim=-1) if self.unit else latent

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """See :meth:`Evaluator.embed_text`: the sentence is read, not its ``word/POS`` tokens."""
        return self.embed_tokens(self.read([caption.text for caption in captions]))

    def embed_tokens(self, condition: TextCondition) -> Tensor:
        """Encoded tokens of captions -> ``(batch, width)``."""
        latent, _ = self.encode_text(condition)
        return F.normalize(latent, dim=-1) if self.unit else latent

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Evaluator.embed_text_masked`. ``hmu`` replaces substrings of the sentence, ignoring case."""
        if definition == "clean":
            pairs = [mask_caption(caption, concept) for caption in captions]
            texts, changed = [masked.text for masked, _ in pairs], [was for _, was in pairs]
        elif definition == "hmu":
            terms = re.compile("|".join(map(re.escape, concept.keywords)), re.IGNORECASE)
            texts = [terms.sub(CENSORED, caption.text) for caption in captions]
            changed = [text != caption.text for text, caption in zip(texts, captions, strict=True)]
        else:
            raise ConfigError(f"MM-Safe has the definitions 'clean' and 'hmu', not '{definition}'")
        return self.embed_tokens(self.read(texts)), torch.tensor(changed)

    def embed_sentences(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`Evaluator.embed_sentences`; read by the encoder ``sentences``."""
        pooled = self.sentences.encode(texts).pooled
        if pooled is None:
            raise ConfigError("evaluator.sentences gives no sentence vectors; choose text@evaluator.sentences=mpnet")
        return F.normalize(pooled.to(self.mean), dim=-1)

    def read(self, texts: Sequence[str]) -> TextCondition:
        """Token embeddings of sentences, on this device.

        Raises:
            ConfigError: the evaluator was built without a text encoder.
        """
        if self.text is None:
            raise ConfigError(
                "this TMR has no text encoder: give text@evaluator.text=distilbert (with name_or_folder=…)"
            )
        return self.text.encode(texts).to(self.mean.device)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units -> normalised ``(batch, frames, features)``, zero beyond each length."""
        if motion.dim() != 3 or motion.shape[-1] != self.features:
            raise DataError(f"TMR reads (batch, frames, {self.features}) motions, got {tuple(motion.shape)}")
        most = min(motion.shape[1], MAX_POSITIONS - 2)
        if int(lengths.min()) < 1 or int(lengths.max()) > most:
            told = f"{int(lengths.min())} and {int(lengths.max())}"
            raise DataError(f"motion lengths lie between {told} frames, TMR reads 1 to {most}")
        longest = int(lengths.max())
        normalised = (motion[:, :longest].to(self.mean) - self.mean) / (self.std + EPSILON)
        return normalised.masked_fill(~length_mask(lengths.to(motion.device), longest)[..., None], 0)

    def encode_motion(self, normalised: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised motion and lengths -> mean and log-variance of the latent, each ``(batch, width)``."""
        mask = length_mask(lengths.to(normalised.device), normalised.shape[1])
        return _halves(self.motion_encoder(normalised, mask))

    def encode_text(self, condition: TextCondition) -> tuple[Tensor, Tensor | None]:
        """Token embeddings -> mean and log-variance of the latent, each ``(batch, width)``."""
        if condition.tokens.shape[-1] != self.text_width:
            raise ConfigError(
                f"TMR reads tokens of width {self.text_width}, the text encoder gives {condition.tokens.shape[-1]}: "
                "use the language model it was trained with (evaluator.text)"
            )
        return _halves(self.text_encoder(condition.tokens.to(self.mean), condition.mask))

    # -- training ----------------------------------------------------------------------------------------------------
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the objective; ``"loss"`` is minimised (see :mod:`hmu.evaluators.tmr.objectives`)."""
        self._check_stage(stage)
        return joint_stage(self, batch, generator)

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """All three networks, and a text encoder that is stored with them."""
        self._check_stage(stage)
        for part in (self.motion_encoder, self.text_encoder, self.motion_decoder):
            yield from part.parameters()
        if self.text is not None and storable(self.text):
            self.text.requires_grad_(True)
            yield from self.text.parameters()

    def stage_window(self, stage: str) -> int | None:
        """Whole clips."""
        self._check_stage(stage)
        return None

    def optimizer_defaults(self, stage: str) -> dict[str, float | int | None]:
        """Published optimiser settings (AdamW)."""
        self._check_stage(stage)
        return {"lr": 1e-4, "weight_decay": 1e-2, "batch_size": 32, "epochs": 500, "grad_clip": None}

    def _check_stage(self, stage: str) -> None:
        if stage not in self.stages:
            raise ConfigError(f"TMR has the stage {self.stages[0]}, not '{stage}'")

    def save_pretrained(self, folder: Path | str, half: bool = False) -> None:
        """Write a folder that :func:`hmu.evaluators.tmr.load_pretrained` reads."""
        from hmu.evaluators.tmr.authors import save_pretrained  # files builds evaluators, so it imports this module

        save_pretrained(self, folder, half=half, decoder=not half)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, statistics, both text encoders and whether embeddings have unit length."""
        digest = hashlib.sha256(f"{self.name} {self.unit} {[p['heads'] for p in self.parts.values()]}".encode())
        for encoder in (self.text, self.sentences):
            digest.update(b"none" if encoder is None else encoder.fingerprint.encode())
        for name, tensor in sorted(self.state_dict().items()):
            if name.startswith(("motion_encoder.", "text_encoder.", "mean", "std")):
                digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:16]}"


def _check(activation: str, temperature: float) -> None:
    if activation not in ("gelu", "relu"):
        raise ConfigError(f"evaluator.activation={activation}: expected gelu or relu")
    if temperature <= 0:
        raise ConfigError(f"evaluator: temperature={temperature}; expected a number above 0")


def term_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    """The published weights of the loss terms, with ``weights`` in their place.

    Raises:
        ConfigError: an unknown term.
    """
    unknown = set(weights or {}) - set(WEIGHTS)
    if unknown:
        raise ConfigError(f"evaluator.weights: unknown term {sorted(unknown)}; known: {', '.join(WEIGHTS)}")
    return {**WEIGHTS, **{name: float(value) for name, value in (weights or {}).items()}}


def _halves(encoded: Tensor) -> tuple[Tensor, Tensor | None]:
    return encoded[:, 0], encoded[:, 1] if encoded.shape[1] > 1 else None
