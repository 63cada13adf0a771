"""A step of ESD with cached targets and prompts, against encoding both in every step.

``python -m benchmarks.unlearning``
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from hmu.backbones.salad import Salad, build
from hmu.compose import configured
from hmu.data.clips import MotionClips
from hmu.data.dataset import DatasetSource
from hmu.data.demo import generate
from hmu.methods.base import Side, TrainedMethod
from hmu.training.batches import SideCache, plan
from hmu.training.unlearning import restored


def demo(folder: Path, clips: int) -> DatasetSource:
    """The demo set, ``clips`` of it, generated and packed."""
    generate(folder / "data", seed=0, clips=clips)
    source: DatasetSource = configured("dataset", "demo", root=folder / "data", cache_dir=folder / "cache")
    return source.prepare()


class Steps:
    """The same steps from cached or from freshly encoded minibatches.

    Args:
        model: the base, in evaluation mode.
        sides: clips of both sides.
        batch: clips of each side per step.
        steps: how many.
    """

    def __init__(self, model: Salad, sides: Sequence[MotionClips], batch: int, steps: int) -> None:
        self.model, self.sides, self.steps = model, sides, steps
        self.plans = [plan(len(clips), batch, steps, seed) for seed, clips in enumerate(sides)]
        begin = time.perf_counter()
        self.caches = [SideCache(model, clips, chosen) for clips, chosen in zip(sides, self.plans, strict=True)]
        for step in range(steps):
            self.cached(step)  # prompts are encoded when they are first asked for
        self.seconds_caching = time.perf_counter() - begin

    def cached(self, step: int) -> list[Side]:
        """As hmu does it."""
        return [cache[step] for cache in self.caches]

    def fresh(self, step: int) -> list[Side]:
        """Read, normalise and encode the clips of this step, and its prompts."""
        assert self.model.text is not None
        found = []
        for clips, chosen in zip(self.sides, self.plans, strict=True):
            rows, which = chosen[0, step].tolist(), chosen[1, step].tolist()
            with torch.no_grad():
                target = self.model.encode_target(clips.batch(rows))
                texts = [clips.caption(i, k).text for i, k in zip(rows, which, strict=True)]
                found.append(Side(target, self.model.text.encode(texts)))
        return found

    def losses(self, method: TrainedMethod, sides: Callable[[int], list[Side]]) -> list[Tensor]:
        """Loss and gradients of every step (no optimiser step: both ways must see the same weights)."""
        generator, losses = torch.Generator().manual_seed(0), []
        for step in range(self.steps):
            forget, retain = sides(step)
            loss = method.loss(self.model, forget, retain, generator)["loss"]
            loss.backward()
            losses.append(loss.detach())
        return losses


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point."""
    parser = arguments(__doc__ or "", checkpoint="asset:demo/salad", batch=16, steps=4, clips=228)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    model = build(checkpoint=options.checkpoint).eval()
    with tempfile.TemporaryDirectory() as folder:
        clips = demo(Path(folder), options.clips).clips("train")
        third = len(clips) // 3
        sides = [clips.subset(range(third)), clips.subset(range(third, len(clips)))]
        method = configured("method", "esd", steps=options.steps, batch_size=options.batch, train="cross_kv")
        with restored(model, method):
            model.requires_grad_(False)
            work = Steps(model, sides, options.batch, options.steps)
            method.setup(model)
            pair = Pair(
                "targets and text encoded in every step",
                lambda: work.losses(method, work.cached),
                lambda: work.losses(method, work.fresh),
                tolerance=1e-3,
            )
            timings = measure([pair], options.repeats)
    saved = sum(p[0] - o[0] for o, p in zip(timings[0].ours, timings[0].plain, strict=True))
    saved /= options.repeats * options.steps
    even = f"{work.seconds_caching / saved:.0f} steps" if saved > 0 else "never"
    report("ESD step", timings, batch=options.batch, caching_pays_after=even)
    return timings


if __name__ == "__main__":
    main()
