"""The HumanML3D evaluator: a motion embedding and a text embedding in one Euclidean space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError, DataError
from hmu.evaluators.base import Evaluator
from hmu.evaluators.guo.networks import MotionEncoder, MovementDecoder, MovementEncoder, TextEncoder
from hmu.evaluators.guo.stages import WINDOW, decomp_stage, match_stage
from hmu.evaluators.guo.vocabulary import (
    CLASSES,
    EOS,
    SOS,
    UNK,
    Vocabulary,
    load_glove,
    pad_tokens,
    random_vectors,
)
from hmu.evaluators.masking import mask_caption, mask_substrings, tagged
from hmu.motion.layout import FeatureLayout

CONTACTS = 4
_NEGATIVES = ("shift", "all")


class GuoEvaluator(Evaluator):
    """Movement convolutions, a motion BiGRU and a text BiGRU (Guo et al., CVPR 2022, "text_mot_match").

    Args:
        features: columns of the motion representation.
        word, text_hidden, motion_hidden, movement_hidden, movement_latent, width: layer widths; the defaults are the
            published ones.
        unit_length: frames per movement token (the convolutions fix it at 4).
        max_frames: longest motion; shorter batches are padded towards it, so that a result never depends on the batch.
        glove: the authors' folder of word vectors; None = a vocabulary of the data's own tokens (:meth:`prepare`).
        learn_words: train the word vectors in the stage ``match`` instead of keeping them fixed.
        word_dropout: share of caption words replaced by ``unk`` while training, so that masked captions are not alien.
        words_seed: seed of word vectors that no folder gives.
        margin: wrong pairs further apart than this are left alone.
        negatives: ``shift`` (published, without its error) or ``all`` wrong pairs of a batch.
        feat_bias: how much more the root and contact columns count in :meth:`prepare`. 25 is what the published
            statistics hold (5, applied twice by accident).
        variant: ``default`` zeroes normalised motion beyond each length; ``upstream`` leaves the padding as given, adds
            none, as the published evaluation does.
    """

    name = "guo"
    stages = ("decomp", "match")

    def __init__(
        self,
        features: int = 263,
        word: int = 300,
        text_hidden: int = 512,
        motion_hidden: int = 1024,
        movement_hidden: int = 512,
        movement_latent: int = 512,
        width: int = 512,
        unit_length: int = 4,
        max_frames: int = 196,
        glove: str | Path | None = None,
        learn_words: bool = False,
        word_dropout: float = 0.0,
        words_seed: int = 0,
        margin: float = 10.0,
        negatives: str = "shift",
        feat_bias: float = 25.0,
        variant: str = "default",
    ) -> None:
        super().__init__()
        if negatives not in _NEGATIVES:
            raise ConfigError(f"evaluator.negatives={negatives}: expected one of {', '.join(_NEGATIVES)}")
        if unit_length != 4 or max_frames % 4 or max_frames <= 0:
            raise ConfigError("evaluator: unit_length is 4 by construction, max_frames a multiple of it")
        self.features, self.width, self.word = features, width, word
        self.unit_length, self.max_frames = unit_length, max_frames
        self.margin, self.negatives = margin, negatives
        self.variant = check_variant("evaluator.variant", variant)
        self.feat_bias = feat_bias
        self.learn_words, self.word_dropout, self.words_seed = learn_words, word_dropout, words_seed
        self.movement_encoder = MovementEncoder(features - CONTACTS, movement_hidden, movement_latent)
        self.movement_decoder = MovementDecoder(movement_latent, movement_hidden, features)
        self.motion_encoder = MotionEncoder(movement_latent, motion_hidden, width)
        self.text_encoder = TextEncoder(word, len(CLASSES), text_hidden, width)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.has_own_words = glove is None
        self.set_vocabulary(*((Vocabulary((SOS, EOS, UNK)), None) if glove is None else load_glove(glove)))
        self.movement_encoder.eval()

    # -- what comes from data ----------------------------------------------------------------------------------------
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Use these statistics, each ``(features,)``; DataError if the width or the values cannot be."""
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        if mean.shape != (self.features,) or std.shape != (self.features,):
            raise DataError(
                f"evaluator statistics have shapes {tuple(mean.shape)}, {tuple(std.shape)}, not ({self.features},)"
            )
        if not bool((std > 0).all() and torch.isfinite(std).all() and torch.isfinite(mean).all()):
            raise DataError("evaluator statistics: every std must be finite and greater than 0, every mean finite")
        self.mean.copy_(mean)
        self.std.copy_(std)

    def set_vocabulary(self, vocabulary: Vocabulary, vectors: Tensor | None = None) -> None:
        """Use these words; ``vectors`` ``(words, word)``, or None for seeded random ones."""
        if vectors is None:
            vectors = random_vectors(len(vocabulary), self.word, self.words_seed)
        if vectors.shape != (len(vocabulary), self.word):
            raise DataError(
                f"word vectors have shape {tuple(vectors.shape)}, expected ({len(vocabulary)}, {self.word})"
            )
        self.vocabulary = vocabulary
        self.word_vectors = nn.Parameter(vectors.to(self.mean), requires_grad=self.learn_words)

    def prepare(self, mean: Any, std: Any, captions: Iterable[Caption] = ()) -> None:
        """Take what training from scratch needs from a data set, before any stage.

        Args:
            mean, std: statistics of the training motions ``(features,)``. The std is averaged inside the seven column
                groups (as ``Std.npy`` is) and divided by ``feat_bias`` in the root and contact columns.
            captions: all training captions; their words become the vocabulary unless a glove folder was given.
        """
        mean, std = (torch.tensor(np.asarray(x), dtype=torch.float64).flatten() for x in (mean, std))
        if len(std) == self.features:
            layout = FeatureLayout.of(self.features)
            for name, columns in layout.groups:
                strength = 1.0 if name in ("positions", "rotations", "velocities") else self.feat_bias
                std[columns] = std[columns].mean() / strength
        self.set_statistics(mean, std)
        if self.has_own_words:
            self.set_vocabulary(Vocabulary.from_tokens(tagged(caption).tokens for caption in captions))

    # -- embedding ---------------------------------------------------------------------------------------------------
    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """See :meth:`Evaluator.embed_motion`. Lengths are cut to whole tokens of 4 frames.

        Raises:
            DataError: a clip shorter than 4 or longer than ``max_frames`` frames, or a wrong number of columns.
        """
        normalised = self.normalise(motion, lengths)
        return self.motion_encoder(self.movement(normalised), lengths // self.unit_length)  # type: ignore[no-any-return]

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units -> normalised, zero beyond each length (``ours``), wide enough for the convolutions' reach."""
        self._check(motion, lengths)
        normalised = (motion.to(self.mean) - self.mean) / self.std
        if self.variant == "upstream":
            return normalised
        longest = int(lengths.max())
        # The last token reads up to three frames beyond the clip, unless the array ends there. The published arrays end
        # at max_frames, so four zero frames are enough to reproduce them for every clip, whatever its batch.
        wanted = min(self.max_frames, longest + self.unit_length)
        normalised = F.pad(normalised[:, :wanted], (0, 0, 0, max(0, wanted - normalised.shape[1])))
        return normalised.masked_fill(~length_mask(lengths, wanted)[..., None], 0)

    def movement(self, normalised: Tensor) -> Tensor:
        """Normalised motion ``(batch, frames, features)`` -> movement tokens ``(batch, frames // 4, latent)``."""
        return self.movement_encoder(normalised[..., :-CONTACTS])  # type: ignore[no-any-return]

    def _check(self, motion: Tensor, lengths: Tensor) -> None:
        if motion.dim() != 3 or motion.shape[-1] != self.features:
            raise DataError(f"the evaluator reads (batch, frames, {self.features}) motions, got {tuple(motion.shape)}")
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < self.unit_length or longest > min(motion.shape[1], self.max_frames):
            limit = min(motion.shape[1], self.max_frames)
            raise DataError(
                f"motion lengths lie between {shortest} and {longest} frames, the evaluator reads 4 to {limit}"
            )

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """See :meth:`Evaluator.embed_text`. At most 20 tokens are read, framed by begin and end markers."""
        framed = [pad_tokens(tagged(caption).tokens) for caption in captions]
        return self.embed_tokens([tokens for tokens, _ in framed], torch.tensor([count for _, count in framed]))

    def embed_tokens(self, framed: Sequence[Sequence[str]], lengths: Tensor) -> Tensor:
        """Framed tokens (``sos/OTHER`` ... ``unk/OTHER``, equally many per row) and counts -> ``(batch, width)``."""
        longest = int(lengths.max())
        rows, classes = self.vocabulary.encode([tokens[:longest] for tokens in framed])
        return self.encode_text(rows.to(self.mean.device), classes.to(self.mean.device), lengths)

    def encode_text(self, rows: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
        """Word rows and classes, int64 ``(batch, tokens)``, and token counts -> ``(batch, width)``."""
        onehot = F.one_hot(classes, len(CLASSES)).to(self.mean)
        return self.text_encoder(F.embedding(rows, self.word_vectors), onehot, lengths)  # type: ignore[no-any-return]

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean", terms: Sequence[str] = ()
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of the captions without the concept's words, and which captions changed.

        Args:
            captions: any captions.
            concept: whose words are masked with ``definition="clean"`` (whole words, inflections).
            definition: ``clean``, or ``hmu`` = the published substring rule on ``terms`` (default: its keywords).
            terms: forbidden substrings of the definition ``hmu``.

        Returns:
            embeddings ``(batch, width)`` and bool ``(batch,)``.
        """
        if definition == "clean":
            masked = [mask_caption(tagged(caption), concept) for caption in captions]
            return self.embed_text([m for m, _ in masked]), torch.tensor([changed for _, changed in masked])
        if definition != "hmu":
            raise ConfigError(f"MM-Safe has the definitions 'clean' and 'hmu', not '{definition}'")
        framed = [pad_tokens(tagged(caption).tokens) for caption in captions]
        censored = [mask_substrings(tokens, tuple(terms) or tuple(concept.keywords)) for tokens, _ in framed]
        changed = torch.tensor([new != old for new, (old, _) in zip(censored, framed, strict=True)])
        width = min(len(tokens) for tokens in censored)
        lengths = torch.tensor([min(count, width) for _, count in framed])
        return self.embed_tokens(censored, lengths), changed

    # -- training ----------------------------------------------------------------------------------------------------
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of a stage's objective; ``"loss"`` is minimised (see :mod:`hmu.evaluators.guo.objectives`)."""
        stages = (decomp_stage, match_stage)
        return stages[self._stage_index(stage)](self, batch, generator)

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """What a stage updates: the movement auto-encoder, or the two encoders (and learned word vectors)."""
        self._stage_index(stage)
        if stage == "decomp":
            yield from self.movement_encoder.parameters()
            yield from self.movement_decoder.parameters()
            return
        yield from self.text_encoder.parameters()
        yield from self.motion_encoder.parameters()
        if self.learn_words:
            yield self.word_vectors

    def stage_window(self, stage: str) -> int | None:
        """Frames of a training window; None = whole clips."""
        return (WINDOW, None)[self._stage_index(stage)]

    def optimizer_defaults(self, stage: str) -> dict[str, float | int | None]:
        """Published optimiser settings (Adam)."""
        batch, epochs, clip = ((128, 270, None), (32, 300, 0.5))[self._stage_index(stage)]
        return {"lr": 1e-4, "weight_decay": 0.0, "batch_size": batch, "epochs": epochs, "grad_clip": clip}

    def clip_gradients(self, stage: str, largest: float) -> None:
        """Bound the gradient norm part by part: as published each encoder of ``match`` separately (``clip_parts``).

        Learned word vectors count as a part of the text encoder; ``decomp`` has one part, the auto-encoder.
        """
        if self._stage_index(stage) == 0:
            nn.utils.clip_grad_norm_(list(self.stage_parameters(stage)), largest)
            return
        words = [self.word_vectors] if self.learn_words else []
        nn.utils.clip_grad_norm_([*self.text_encoder.parameters(), *words], largest)
        nn.utils.clip_grad_norm_(self.motion_encoder.parameters(), largest)

    def _stage_index(self, stage: str) -> int:
        if stage not in self.stages:
            raise ConfigError(f"the evaluator has the stages {', '.join(self.stages)}, not '{stage}'")
        return self.stages.index(stage)

    def train(self, mode: bool = True) -> GuoEvaluator:
        """As in torch, but the movement encoder drops out nothing outside its own stage."""
        super().train(mode)
        self.movement_encoder.eval()
        return self

    def save_pretrained(self, folder: Path | str, half: bool = False) -> None:
        """Write a folder that :func:`hmu.evaluators.guo.load_pretrained` reads.

        ``half`` stores weights in float16 and leaves out the movement decoder, which only training ``decomp`` needs.
        """
        from hmu.evaluators.guo.authors import save_pretrained  # files builds evaluators, so it imports this module

        save_pretrained(self, folder, half=half, decoder=not half)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, statistics, word vectors and words."""
        variant = "ours" if self.variant == "default" else self.variant  # its old spelling: fingerprints stay
        digest = hashlib.sha256(f"{self.name} {variant} {self.max_frames}".encode())
        digest.update("\n".join(self.vocabulary.words).encode())
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith("movement_decoder."):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:16]}"
