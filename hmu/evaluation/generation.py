"""Generate the answers to a prompt set: batched by length, the same noise for every model, kept on disk if wished."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, distributed

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.leftovers import remove_leftovers
from hmu.checkpoints.sealed import writing
from hmu.checkpoints.sealed_file import load_array, map_array, save_array
from hmu.errors import CheckpointError, DataError
from hmu.evaluation.sets import PromptSet
from hmu.text.base import TextCondition


def processes() -> tuple[int, int]:
    """This process's rank and their number; ``(0, 1)`` when alone."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def found_everywhere(found: Tensor | None) -> Tensor | None:
    """``found``, if every process has found it: all of them must then do the same next."""
    if processes()[1] > 1:
        least = torch.tensor(int(found is not None))
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        return found if int(least) else None
    return found


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
    rank, world = processes()
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


class GenerationCache:
    """Keeps generated motions on disk, so that a sweep asks the base model once.

    Args:
        folder: where; safe to delete. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            remove_leftovers(folder)

    def key(self, fingerprint: str, prompts: PromptSet, settings: Mapping[str, object]) -> str:
        """Hash of everything the motions depend on."""
        texts = [c.text for c in prompts.captions]
        facts = [fingerprint, texts, prompts.lengths.tolist(), dict(settings), torch.__version__]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def __contains__(self, key: str) -> bool:
        return self.folder is not None and (self.folder / f"{key}.npy").is_file()

    def load(self, key: str) -> Tensor | None:
        """The motions, or None if they were never made (or the file is damaged: it is made again).

        They stay on disk and are read page by page as they are used: ten repeats of a published test split are 27 GB.
        """
        found = None if self.folder is None else load_array(self.folder / f"{key}.npy")
        return None if found is None else torch.from_numpy(found)

    def check_room(self, values: Mapping[str, int]) -> None:
        """Refuse to start what the disk cannot hold.

        Args:
            values: numbers to be kept, by key; what is there already takes no more room.

        Raises:
            DataError: there is too little space.
        """
        if self.folder is None:
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        needed = 4 * sum(size for key, size in values.items() if not (self.folder / f"{key}.npy").is_file())
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DataError(
                f"{self.folder}: generated motions may need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: "
                "make room, name another place (paths.cache=), or ask less (suite.repeats=, suite.limits=)"
            )

    def save(self, key: str, motion: Tensor) -> Tensor:
        """Write atomically; returns the motions as :meth:`load` gives them, so that they need not stay in memory.

        Raises:
            DataError: the disk is full, or the folder cannot be written.
        """
        if self.folder is None:
            return motion
        save_array(self.folder / f"{key}.npy", motion.numpy())
        return torch.from_numpy(map_array(self.folder / f"{key}.npy"))
