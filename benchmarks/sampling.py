"""Guided sampling of SALAD: what each saving is worth. ``python -m benchmarks.sampling``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from hmu.backbones.draws import clip_noise
from hmu.backbones.salad import Salad, build
from hmu.backbones.salad.topology import BODY_PARTS
from hmu.data.batch import length_mask

PUBLISHED_FRAMES = 196  # what the published sampler pads every clip to
ACTIONS = ("walks forward", "kicks with the left leg", "waves", "jumps", "sits down", "turns around", "bows", "punches")
PEOPLE = ("a person", "someone", "a man", "a woman", "the figure")


def prompts(count: int) -> list[str]:
    """``count`` prompts, most of them different."""
    return [f"{PEOPLE[i % len(PEOPLE)]} {ACTIONS[i % len(ACTIONS)]}" for i in range(count)]


class Job:
    """So many batches of prompts, sampled with the same noise whichever way.

    Args:
        model: in evaluation mode.
        batch, batches: prompts per batch, and batches that show the same prompts (repeats of an evaluation).
        steps: of the solver.
    """

    def __init__(self, model: Salad, batch: int, batches: int, steps: int) -> None:
        self.model, self.batches, self.steps = model, batches, steps
        self.texts = prompts(batch)
        drawn = torch.randint(10, 31, (batch,), generator=torch.Generator().manual_seed(0))
        self.lengths = drawn * 4  # 40 to 120 frames, as the demo clips are

    def run(self, one: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """``one`` on the noise of every batch."""
        small, width = self.model.latent_lengths(self.lengths), self.model.vae.options.latent_dim
        noises = [
            clip_noise(small.tolist(), (len(BODY_PARTS), width), torch.Generator().manual_seed(seed), torch.empty(0))
            for seed in range(self.batches)
        ]
        with torch.inference_mode():
            return [one(noise) for noise in noises]

    def sample(self, noise: Tensor, *, two: bool = False, fresh: bool = False, padded: bool = False) -> Tensor:
        """Motions ``(batch, longest, features)``: as hmu samples, or with plain ways switched on.

        Args:
            noise: ``(batch, latent frames, 7, width)``.
            two: a forward pass for each branch of the guidance.
            fresh: encode the prompts (and the empty one) anew.
            padded: pad every clip to the published length.
        """
        model, longest = self.model, int(self.lengths.max())
        frames = PUBLISHED_FRAMES // model.unit_length if padded else noise.shape[1]
        noise = torch.nn.functional.pad(noise, (0, 0, 0, 0, 0, frames - noise.shape[1]))
        assert model.text is not None
        condition = model.text.encode(self.texts) if fresh else model.encode_text(self.texts)
        small = model.latent_lengths(self.lengths)
        if two:
            latent = self._two_passes(noise, condition.tokens, condition.mask, small, fresh)
        else:
            latent = model.denoise(noise, condition, small, steps=self.steps)
        motion = model.vae.decode(latent / model.scale, self.lengths)[:, :longest]
        return model.statistics.denormalise(motion, self.lengths)

    def _two_passes(self, x: Tensor, tokens: Tensor, mask: Tensor, small: Tensor, fresh: bool) -> Tensor:
        model, valid = self.model, length_mask(small, x.shape[1])
        assert model.text is not None
        empty = model.text.encode([""] * len(tokens)) if fresh else model.empty_condition().expand(len(tokens))
        scheduler = model.diffusion.scheduler(model.sampling.scheduler, model.sampling.options)
        scheduler.set_timesteps(self.steps)
        noisy = {"generator": None} if "generator" in inspect.signature(scheduler.step).parameters else {}
        x = x * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            given = scheduler.scale_model_input(x, time)
            without = model.denoiser(given, time, empty.tokens, empty.mask, valid)
            with_text = model.denoiser(given, time, tokens, mask, valid)
            answer = without + model.sampling.guidance * (with_text - without)
            x = scheduler.step(answer, time, x, **noisy).prev_sample * valid[:, :, None, None]
        return x


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point."""
    options = arguments(__doc__ or "", checkpoint="asset:demo/salad", batch=16, batches=2, steps=10).parse_args(argv)
    torch.set_num_threads(options.threads)
    job = Job(build(checkpoint=options.checkpoint).eval(), options.batch, options.batches, options.steps)

    def pair(name: str, **ways: bool) -> Pair:
        return Pair(name, lambda: job.run(job.sample), lambda: job.run(lambda x: job.sample(x, **ways)), 1e-3)

    pairs = [
        pair("all three plain", two=True, fresh=True, padded=True),
        pair("two passes per step instead of one", two=True),
        pair("text encoded in every batch", fresh=True),
        pair("padded to 196 frames", padded=True),
    ]
    timings = measure(pairs, options.repeats)
    report("SALAD sampling", timings, batch=options.batch, steps=options.steps)
    return timings


if __name__ == "__main__":
    main()
