"""Generate motions for a prompt set: batched by length, the same noise for every model, kept on disk if wished."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, distributed

from hmu.backbones.base import MotionBackbone
from hmu.checkpoints.store import Store, content_key
from hmu.devices import of_module
from hmu.errors import CheckpointError
from hmu.evaluation.sets import PromptSet
from hmu.phases import Phase
from hmu.processes import everywhere, group
from hmu.text.base import TextCondition

NUMBER = 4  #: bytes of a number of a motion or an embedding


def length_batches(lengths: Tensor, most: int) -> Iterator[Tensor]:
    """Indices ``(batch,)`` of prompts of similar length, at most ``most`` each, so that little is padded."""
    order = torch.argsort(lengths, descending=True, stable=True)
    yield from order.split(most)


def checked(motion: Tensor, backbone: MotionBackbone) -> Tensor:
    """Generated motions, any shape, in float32 on the CPU; NaN and infinity are refused."""
    motion = motion.float().cpu()
    if not bool(motion.isfinite().all()):
        raise CheckpointError(
            f"{backbone.name} generated motions with NaN or infinite numbers, which are not kept: the strength of an "
            "edit, the guidance or its weights are beyond what it can do; lower the strength or the guidance"
        )
    return motion


def encode(backbone: MotionBackbone, prompts: PromptSet) -> TextCondition:
    """The condition of every prompt, each distinct text encoded once; good for all repeats of one model."""
    texts = prompts.texts
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    with torch.inference_mode():
        condition = backbone.encode_text(list(distinct))
        rows = torch.tensor([distinct[text] for text in texts], device=condition.tokens.device)
        return condition.select(rows)


@dataclass(frozen=True)
class Model:
    """One column of the table.

    Attributes:
        name: ``base``, ``unlearned`` or ``reference``.
        backbone: the generator; change: applied while it is asked (the edit), a context manager.
        fingerprint: identity of backbone and change together, for the cache of generated motions.
    """

    name: str
    backbone: MotionBackbone
    fingerprint: str
    change: Callable[[], AbstractContextManager[object]] = nullcontext

    @cached_property
    def settings(self) -> dict[str, object]:
        """What its motions depend on besides ``fingerprint``, which covers the edited network only."""
        backbone = self.backbone
        plain = {k: v for k, v in vars(backbone).items() if isinstance(v, str | bool) and not k.startswith("_")}
        plain.pop("training")
        text = getattr(backbone, "text", None)
        return {
            "settings": plain,  # variant …
            "sampling": repr(getattr(backbone, "sampling", None)),  # the backbone's own guidance, scheduler …
            "weights": repr(backbone.provenance()),
            "text": None if text is None else text.fingerprint,
        }


@dataclass
class Generated:
    """Of one model for one set, by repeat: motions ``(n, frames, features)`` and their embeddings ``(n, width)``."""

    motions: list[Tensor] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """How often and how every model is asked: ``repeats`` times, with seeds ``seed, seed + 1, …``.

    What ``cache`` holds is not generated again.
    """

    repeats: int
    seed: int
    batch_size: int
    guidance: float | None
    steps: int | None
    cache: Store

    def key(self, model: Model, prompts: PromptSet, repeat: int) -> str:
        """What the motions of one repeat are kept under: a hash of everything that they depend on."""
        settings: dict[str, object] = {"seed": self.seed + repeat, "guidance": self.guidance, "steps": self.steps}
        settings |= {"batch": self.batch_size, **model.settings}
        return content_key(model.fingerprint, prompts.texts, prompts.lengths.tolist(), settings, torch.__version__)

    def motions(self, model: Model, prompts: PromptSet, done: Phase) -> Iterator[Tensor]:
        """Motions ``(n, frames, features)`` of every repeat, while the model is changed."""
        condition = None
        for repeat in range(self.repeats):
            key = self.key(model, prompts, repeat)
            motion = everywhere(self.cache.load(key))
            if motion is None:
                condition = encode(model.backbone, prompts) if condition is None else condition
                motion = self.generate(model.backbone, prompts, condition, repeat, done.advance)
                if group()[0] == 0:
                    motion = self.cache.save(key, motion)
            else:
                done.skip(len(prompts))
            yield motion

    def generate(
        self,
        backbone: MotionBackbone,
        prompts: PromptSet,
        condition: TextCondition,
        repeat: int,
        done: Callable[[int], object],
    ) -> Tensor:
        """Motions in real units ``(prompts, frames, features)``, zero beyond each length, in the prompts' order.

        The noise depends on the seed, the prompts and ``batch_size`` only, so two models are compared on equal noise.
        Several processes share the batches among them and gather; each gets what one alone would, bit for bit.

        Args:
            backbone: the generator, on the device it shall run on. condition: of every prompt, see :func:`encode`.
            done: called after every batch with its number of motions.
        """
        rank, world = group()
        device = of_module(backbone)
        out = torch.zeros(len(prompts), int(prompts.lengths.max()), backbone.features)
        with torch.inference_mode():
            for number, index in enumerate(length_batches(prompts.lengths, self.batch_size)):
                if number % world == rank:
                    generator = torch.Generator().manual_seed((self.seed + repeat) * 100_003 + number)
                    lengths, rows = (
                        prompts.lengths[index].to(device),
                        condition.select(index.to(condition.tokens.device)),
                    )
                    motion = backbone.sample(
                        rows, lengths, guidance=self.guidance, generator=generator, steps=self.steps
                    )
                    out[index, : motion.shape[1]] = checked(motion, backbone)
                done(len(index))
        if world > 1:
            distributed.all_reduce(out)  # each row is zero in all processes but one
        return out

    def kept(self, models: Sequence[Model], sets: Sequence[PromptSet]) -> int:
        """How many of the motions the cache holds already."""
        asked = itertools.product(models, sets, range(self.repeats))
        return sum(len(prompts) for model, prompts, r in asked if self.key(model, prompts, r) in self.cache)

    def check_room(self, models: Sequence[Model], sets: Sequence[PromptSet]) -> None:
        """Refuse before the first forward what the disk cannot hold."""
        sizes: dict[str, int] = {}
        for model, prompts in itertools.product(models, sets):
            size = NUMBER * len(prompts) * int(prompts.lengths.max()) * model.backbone.features
            sizes |= {self.key(model, prompts, repeat): size for repeat in range(self.repeats)}
        self.cache.check_room(sizes, "generated motions")
