"""The evaluator's two training stages on batches: movement auto-encoder, then text-motion match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hmu.data.batch import MotionBatch, length_mask
from hmu.evaluators.guo.objectives import match_all_terms, match_terms, movement_terms, random_windows
from hmu.evaluators.guo.vocabulary import CLASSES, EOS, SOS, UNK, pad_tokens
from hmu.evaluators.masking import tagged

if TYPE_CHECKING:
    from hmu.evaluators.guo.evaluator import GuoEvaluator

WINDOW = 24


def decomp_stage(model: GuoEvaluator, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Movement auto-encoder loss on one random window of every clip."""
    normalised = (batch.motion.to(model.mean) - model.mean) / model.std
    normalised = normalised.masked_fill(~length_mask(batch.lengths, normalised.shape[1])[..., None], 0)
    windows = random_windows(normalised, batch.lengths, WINDOW, generator)
    model.movement_encoder.train(model.training)
    latents = model.movement(windows)
    model.movement_encoder.eval()
    return movement_terms(windows, model.movement_decoder(latents), latents)


def match_stage(model: GuoEvaluator, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Contrastive loss between captions and motions; the movement encoder is frozen and drops nothing out."""
    with torch.no_grad():
        tokens = model.movement(model.normalise(batch.motion, batch.lengths))
    motion = model.motion_encoder(tokens, batch.lengths // model.unit_length)
    text = model.encode_text(*_words(model, batch, generator))
    if model.negatives == "all" or len(batch) < 2:
        return match_all_terms(text, motion, model.margin)
    shift = int(torch.randint(1, len(batch), (1,), generator=generator, device=_device(generator)))
    return match_terms(text, motion, shift, model.margin)


def _words(model: GuoEvaluator, batch: MotionBatch, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Word rows, classes and counts of the captions; while training some words become ``unk``."""
    framed = [pad_tokens(tagged(caption).tokens) for caption in batch.captions]
    lengths = torch.tensor([count for _, count in framed])
    rows, classes = model.vocabulary.encode([tokens[: int(lengths.max())] for tokens, _ in framed])
    if model.training and model.word_dropout > 0:
        draw = torch.rand(rows.shape, generator=generator, device=_device(generator)).cpu()
        framing = torch.tensor([model.vocabulary.index[SOS], model.vocabulary.index[EOS]])
        dropped = (draw < model.word_dropout) & ~torch.isin(rows, framing)
        rows = rows.masked_fill(dropped, model.vocabulary.index[UNK])
        classes = classes.masked_fill(dropped, CLASSES.index("OTHER"))
    return rows.to(model.mean.device), classes.to(model.mean.device), lengths


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device
