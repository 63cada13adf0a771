"""The HumanML3D evaluator: a motion embedding and a text embedding in one Euclidean space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.checkpoints.folders import CONFIG
from hmu.checks import check_variant, require
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.data.tagger import tagged
from hmu.documents import read_json
from hmu.errors import CheckpointError, ConfigError, DataError, shown
from hmu.evaluators.base import TrainedEvaluator
from hmu.evaluators.guo.networks import MotionEncoder, MovementDecoder, MovementEncoder, TextEncoder
from hmu.evaluators.guo.objectives import WINDOW, match_all_terms, match_terms, movement_terms, random_windows
from hmu.evaluators.guo.vocabulary import CLASSES, EOS, SOS, UNK, Vocabulary, framed_tokens, load_glove, random_vectors
from hmu.evaluators.masking import check_definition, mask_caption, mask_substrings
from hmu.motion.layout import FeatureLayout
from hmu.values import Positive

CONTACTS = 4
NEGATIVES = ("shift", "all")
#: the published training, which neither the authors' files nor folders of version 0.1 state
PUBLISHED: Mapping[str, Any] = {
    "max_frames": 196, "learn_words": False, "word_dropout": 0.0, "words_seed": 0, "margin": 10.0,
    "negatives": "shift", "feat_bias": 25.0, "variant": "default",
}  # fmt: skip


class GuoEvaluator(TrainedEvaluator):
    """Movement convolutions, a motion BiGRU and a text BiGRU (Guo et al., CVPR 2022, "text_mot_match").

    Args:
        features: columns of the motion representation.
        word, text_hidden, motion_hidden, movement_hidden, movement_latent, width: layer widths.
        max_frames: longest motion; shorter batches are padded towards it, so that a result never depends on the batch.
        learn_words: train the word vectors in the stage ``match`` instead of keeping them fixed.
        word_dropout: share of caption words replaced by ``unk`` while training, so that masked captions are not alien.
        words_seed: seed of word vectors that no folder gives.
        margin: wrong pairs further apart than this are left alone.
        negatives: ``shift`` (published, without its error) or ``all`` wrong pairs of a batch.
        feat_bias: how much more the root and contact columns count in :meth:`prepare`. 25 is what the published
            statistics hold (5, applied twice by accident).
        variant: ``default`` zeroes normalised motion beyond each length; ``upstream`` leaves the padding as given, adds
            none, as the published evaluation does.
        glove: the authors' folder of word vectors; None = a vocabulary of the data's own tokens (:meth:`prepare`).
        words: the vocabulary where there is no such folder; none = the markers only.
    """

    name = "guo"
    stages = ("decomp", "match")
    unit_length = 4  # frames per movement token, fixed by the convolutions
    stored = (
        "movement_encoder", "movement_decoder", "motion_encoder", "text_encoder", "word_vectors", "mean", "std"
    )  # fmt: skip
    training_only = ("movement_decoder.*",)
    unstored = ("glove",)
    adjustable = ("learn_words", "word_dropout", "words_seed", "margin", "negatives", "feat_bias", "variant")

    def __init__(
        self,
        features: int,
        word: int,
        text_hidden: int,
        motion_hidden: int,
        movement_hidden: int,
        movement_latent: int,
        width: int,
        max_frames: int,
        learn_words: bool,
        word_dropout: float,
        words_seed: int,
        margin: float,
        negatives: str,
        feat_bias: Positive,
        variant: str,
        glove: str | Path | None = None,
        words: Sequence[str] = (),
    ) -> None:
        super().__init__(features, width)
        if negatives not in NEGATIVES:
            raise ConfigError(f"evaluator.negatives={shown(negatives)}: expected one of {', '.join(NEGATIVES)}")
        require("evaluator.max_frames", max_frames, Annotated[int, ">= 4"])
        if max_frames % self.unit_length:
            raise ConfigError(f"evaluator.max_frames={max_frames}: expected a multiple of {self.unit_length}")
        require("evaluator.feat_bias", feat_bias, Positive)
        self.word, self.text_hidden, self.motion_hidden = word, text_hidden, motion_hidden
        self.movement_hidden, self.movement_latent, self.max_frames = movement_hidden, movement_latent, max_frames
        self.margin, self.negatives, self.feat_bias = margin, negatives, feat_bias
        self.variant: str = check_variant("evaluator.variant", variant)
        self.learn_words, self.word_dropout, self.words_seed = learn_words, word_dropout, words_seed
        self.movement_encoder = MovementEncoder(features - CONTACTS, movement_hidden, movement_latent)
        self.movement_decoder = MovementDecoder(movement_latent, movement_hidden, features)
        self.motion_encoder = MotionEncoder(movement_latent, motion_hidden, width)
        self.text_encoder = TextEncoder(word, len(CLASSES), text_hidden, width)
        self.has_own_words = glove is None
        own = Vocabulary(tuple(words) or (SOS, EOS, UNK))
        self.set_vocabulary(*((own, None) if glove is None else load_glove(glove)))
        self.movement_encoder.eval()

    @property
    def words(self) -> tuple[str, ...]:
        """Known words, in row order of the word vectors."""
        return self.vocabulary.words

    @classmethod
    def upgrade(cls, config: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Folders of version 0.1 state widths as ``sizes``, and words in a file of their own."""
        if "sizes" not in config:
            return config
        sizes = config["sizes"]
        if not isinstance(sizes, dict) or sizes.pop("unit_length", None) != cls.unit_length:
            raise CheckpointError(f"{folder / CONFIG}: lacks sizes of an evaluator of this kind; copy the folder again")
        return {**PUBLISHED, **sizes, "words": read_json(folder / "vocabulary.json", CheckpointError)}

    # -- what comes from data ----------------------------------------------------------------------------------------
    def set_vocabulary(self, vocabulary: Vocabulary, vectors: Tensor | None = None) -> None:
        """Use these words; ``vectors`` ``(words, word)``, or None for seeded random ones."""
        if vectors is None:
            vectors = random_vectors(len(vocabulary), self.word, self.words_seed)
        if vectors.shape != (len(vocabulary), self.word):
            expected = f"({len(vocabulary)}, {self.word})"
            raise DataError(f"word vectors have shape {tuple(vectors.shape)}, expected {expected}")
        self.vocabulary = vocabulary
        self.word_vectors = nn.Parameter(vectors.to(self.mean), requires_grad=self.learn_words)

    def prepare(self, mean: Any, std: Any, captions: Iterable[Caption] = ()) -> None:
        """Statistics ``(features,)``: the std is averaged inside the seven column groups (as ``Std.npy`` is) and
        divided by ``feat_bias`` in the root and contact columns. Without a glove folder words are the captions'.
        """
        mean, std = (torch.tensor(np.asarray(x), dtype=torch.float64).flatten() for x in (mean, std))
        if len(std) == self.features:
            for name, columns in FeatureLayout.of(self.features).groups:
                strength = 1.0 if name in ("positions", "rotations", "velocities") else self.feat_bias
                std[columns] = std[columns].mean() / strength
        self.statistics.assign(mean, std)
        if self.has_own_words:
            self.set_vocabulary(Vocabulary.from_tokens(tagged(caption).tokens for caption in captions))

    # -- embedding ---------------------------------------------------------------------------------------------------
    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`Evaluator.embed_motion`, ``(batch, width)``. Lengths are cut to whole tokens of 4 frames."""
        normalised = self.normalise(motion, lengths)
        return self.motion_encoder(self.movement(normalised), lengths // self.unit_length)

    def normalise(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Real units ``(batch, frames, features)`` -> normalised, wide enough for the convolutions' reach; zero beyond
        each length unless ``variant=upstream``.
        """
        self.check_motion(motion, lengths, self.unit_length, self.max_frames)
        motion = motion.to(self.mean)
        if self.variant == "upstream":
            return (motion - self.mean) / self.std
        # The last token reads up to three frames beyond the clip, unless the array ends there. The published arrays end
        # at max_frames, so four zero frames are enough to reproduce them for every clip, whatever its batch.
        frames = min(self.max_frames, int(lengths.max()) + self.unit_length)
        normalised = self.statistics.normalise(motion[:, :frames], lengths)
        return F.pad(normalised, (0, 0, 0, frames - normalised.shape[1]))

    def movement(self, normalised: Tensor) -> Tensor:
        """Normalised motion ``(batch, frames, features)`` -> movement tokens ``(batch, frames // 4, latent)``."""
        return self.movement_encoder(normalised[..., :-CONTACTS])

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """As :meth:`Evaluator.embed_text`; at most 20 tokens are read, framed by begin and end markers."""
        return self.embed_tokens(*framed_tokens(captions))

    def embed_tokens(self, framed: Sequence[Sequence[str]], lengths: Tensor) -> Tensor:
        """Framed tokens (``sos/OTHER`` ... ``unk/OTHER``), equally many a row, and counts ``(batch,)``
        -> ``(batch, width)``.
        """
        return self.encode_text(*self._rows(framed, lengths), lengths)

    def _rows(self, framed: Sequence[Sequence[str]], lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Word rows and classes, both int64 ``(batch, tokens)``, on this device."""
        rows, classes = self.vocabulary.encode([tokens[: int(lengths.max())] for tokens in framed])
        return rows.to(self.mean.device), classes.to(self.mean.device)

    def encode_text(self, rows: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
        """Word rows and classes, int64 ``(batch, tokens)``, and token counts ``(batch,)`` -> ``(batch, width)``."""
        onehot = F.one_hot(classes, len(CLASSES)).to(self.mean)
        return self.text_encoder(F.embedding(rows, self.word_vectors), onehot, lengths)

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`Evaluator.embed_text_masked`; the forbidden substrings of ``hmu`` are the concept's keywords."""
        if check_definition(definition) == "clean":
            masked = [mask_caption(tagged(caption), concept) for caption in captions]
            return self.embed_text([m for m, _ in masked]), torch.tensor([changed for _, changed in masked])
        framed, counts = framed_tokens(captions)
        censored = [mask_substrings(tokens, concept.keywords) for tokens in framed]
        changed = torch.tensor([new != old for new, old in zip(censored, framed, strict=True)])
        return self.embed_tokens(censored, counts.clamp(max=min(map(len, censored)))), changed

    # -- training ----------------------------------------------------------------------------------------------------
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """``decomp``: movement auto-encoder on one random window of every clip; ``match``: captions against motions.
        Scalars.
        """
        return (self._decomp if self.known_stage(stage) == "decomp" else self._match)(batch, generator)

    def _decomp(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        normalised = self.statistics.normalise(batch.motion.to(self.mean), batch.lengths)
        windows = random_windows(normalised, batch.lengths, WINDOW, generator)
        self.movement_encoder.train(self.training)
        latents = self.movement(windows)
        self.movement_encoder.eval()
        return movement_terms(windows, self.movement_decoder(latents), latents)

    def _match(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        with torch.no_grad():  # the movement encoder is frozen and drops nothing out
            tokens = self.movement(self.normalise(batch.motion, batch.lengths))
        motion = self.motion_encoder(tokens, batch.lengths // self.unit_length)
        framed, counts = framed_tokens(batch.captions)
        rows, classes = self._rows(framed, counts)
        if self.training and self.word_dropout > 0:
            rows, classes = self.vocabulary.drop(rows, classes, self.word_dropout, generator)
        text = self.encode_text(rows, classes, counts)
        if self.negatives == "all" or len(batch) < 2:
            return match_all_terms(text, motion, self.margin)
        device = torch.device("cpu") if generator is None else generator.device
        shift = int(torch.randint(1, len(batch), (1,), generator=generator, device=device))
        return match_terms(text, motion, shift, self.margin)

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """What a stage updates: the movement auto-encoder, or the two encoders (and learned word vectors)."""
        decomp = self.known_stage(stage) == "decomp"
        for part in self.stored[:2] if decomp else ("text_encoder", "motion_encoder"):
            yield from getattr(self, part).parameters()
        if self.learn_words and not decomp:
            yield self.word_vectors

    def stage_window(self, stage: str) -> int | None:
        """:data:`WINDOW` frames for ``decomp``, whole clips for ``match``."""
        return WINDOW if self.known_stage(stage) == "decomp" else None

    def clip_gradients(self, stage: str, largest: float) -> None:
        """Bound the gradient norm part by part: as published each encoder of ``match`` separately (``clip_parts``)."""
        parameters, motion = list(self.stage_parameters(stage)), set(self.motion_encoder.parameters())
        for own in (False, True):
            nn.utils.clip_grad_norm_([p for p in parameters if (p in motion) is own], largest)

    def train(self, mode: bool = True) -> GuoEvaluator:
        """As in torch, but the movement encoder drops out nothing outside its own stage."""
        super().train(mode)
        self.movement_encoder.eval()
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, statistics, word vectors and words."""
        variant = "ours" if self.variant == "default" else self.variant  # its old spelling: fingerprints stay
        parts = [part for part in self.stored if part != "movement_decoder"]
        return self.digest(f"{self.name} {variant} {self.max_frames}" + "\n".join(self.words), parts)
