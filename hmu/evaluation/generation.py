"""Generate the answers to a prompt set: batched by length, the same noise for every model, kept on disk if wished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, distributed

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.store import content_key
from hmu.errors import CheckpointError
from hmu.evaluation.sets import PromptSet
from hmu.processes import group
from hmu.text.base import TextCondition


def length_batches(lengths: Tensor, most: int) -> Iterator[Tensor]:
    """Indices ``(batch,)`` of prompts of similar length, at most ``most`` each, so that little is padded."""
    order = torch.argsort(lengths, descending=True, stable=True)
    yield from order.split(most)


def generate(
    backbone: MotionBackbone,
    prompts: PromptSet,
    *,
    seed: int,
    batch_size: int = 64,
    guidance: float | None = None,
    steps: int | None = None,
    condition: TextCondition | None = None,
    done: Callable[[int], object] | None = None,
) -> Tensor:
    """Motions in real units ``(prompts, frames, features)``, zero beyond each length, in the prompts' order.

    The noise depends on ``seed``, the prompts and ``batch_size`` only, so two models are compared on equal noise.
    Several processes share the batches among them and gather; each gets what one alone would, bit for bit.
    Motions that are no numbers end it, see :func:`checked`.

    Args:
        backbone: the generator, on the device it shall run on.
        prompts: texts and lengths.
        seed: of the noise.
        batch_size: prompts of similar length per forward.
        guidance, steps: of sampling; None = the backbone's own.
        condition: of every prompt, as :func:`encode` gives it; None encodes here.
        done: told after every batch how many motions there are more.
    """
    rank, world = group()
    device = next(backbone.parameters()).device
    out = torch.zeros(len(prompts), int(prompts.lengths.max()), backbone.features)
    with torch.inference_mode():
        condition = encode(backbone, prompts) if condition is None else condition
        for number, index in enumerate(length_batches(prompts.lengths, batch_size)):
            if number % world == rank:
                generator = torch.Generator().manual_seed(seed * 100_003 + number)
                lengths = prompts.lengths[index]
                rows = condition.select(index.to(condition.tokens.device))
                motion = backbone.sample(rows, lengths.to(device), guidance=guidance, generator=generator, steps=steps)
                out[index, : motion.shape[1]] = checked(motion, backbone)
            if done is not None:
                done(len(index))
    if world > 1:
        distributed.all_reduce(out)  # each row is zero in all processes but one
    return out


def checked(motion: Tensor, backbone: MotionBackbone) -> Tensor:
    """Generated motions, any shape, in float32 on the CPU.

    Raises:
        CheckpointError: they hold NaN or infinity.
    """
    motion = motion.float().cpu()
    if not bool(motion.isfinite().all()):
        raise CheckpointError(
            f"{backbone.name} generated motions with NaN or infinite numbers, which are not kept: the strength of an "
            "edit, the guidance or its weights are beyond what it can do; lower the strength or the guidance"
        )
    return motion


def encode(backbone: MotionBackbone, prompts: PromptSet) -> TextCondition:
    """The condition of every prompt, each distinct text encoded once; good for all repeats of one model."""
    texts = [caption.text for caption in prompts.captions]
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    with torch.inference_mode():
        condition = backbone.encode_text(list(distinct))
        rows = torch.tensor([distinct[text] for text in texts], device=condition.tokens.device)
        return condition.select(rows)


def motions_key(fingerprint: str, prompts: PromptSet, settings: Mapping[str, object]) -> str:
    """What the motions of a model are kept under: a hash of everything that they depend on.

    Args:
        fingerprint: of the model.
        prompts: texts and lengths.
        settings: seed, sampling and whatever else decides.
    """
    texts = [caption.text for caption in prompts.captions]
    return content_key(fingerprint, texts, prompts.lengths.tolist(), dict(settings), torch.__version__)
