"""A whole ``suite=hmu`` evaluation of MoMask: what sharing and batching save. ``python -m benchmarks.evaluation``."""

from __future__ import annotations

import itertools
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from hmu.app import CONFIGS, register_resolvers
from hmu.backbones.momask import MoMask
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.counting import Resampling, count
from hmu.evaluation.generation import GenerationCache
from hmu.evaluation.results import Row, summarise
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Model, Suite
from hmu.evaluators.guo import GuoEvaluator
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.text.base import TextCondition, TextEncoder

PEOPLE = ("a person", "someone", "a man", "a woman", "the figure")
ACTIONS = ("walks forward", "kicks with the left leg", "waves", "jumps", "sits down", "turns", "bows", "punches")
ENDS = ("", "slowly", "quickly", "twice", "three times", "again", "carefully")
KICK = Concept(name="kick", keywords=("kick",))
TOY = {"latent_dim": 16, "n_heads": 2, "n_layers": 1, "ff_size": 16}


def captions(number: int) -> list[str]:
    """``number`` captions, the first 2,240 of them different."""
    made = (f"{p} {a} and {b} {e}".strip() for e, p, a, b in itertools.product(ENDS, PEOPLE, ACTIONS, ACTIONS))
    return list(itertools.islice(itertools.cycle(made), number))


class RandomTower(TextEncoder):
    """CLIP's text tower with random weights over its full context; words are numbered by a hash of their letters."""

    def __init__(self, width: int, layers: int, context: int = 77) -> None:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        super().__init__()
        heads = max(1, width // 64)
        sizes = {"hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width}
        self.tower = CLIPTextModelWithProjection(
            CLIPTextConfig(
                num_hidden_layers=layers, num_attention_heads=heads, max_position_embeddings=context, **sizes
            )
        ).requires_grad_(False)
        self.width, self.context = width, context

    @property
    def fingerprint(self) -> str:
        """Random weights are never stored."""
        return "random"

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """One vector per prompt."""
        end = self.tower.config.vocab_size - 1
        ids = torch.full((len(texts), self.context), end)
        for row, text in enumerate(texts):
            words = [zlib.crc32(word.encode()) % (end - 1) for word in text.split()[: self.context - 1]]
            ids[row, : len(words)] = torch.tensor(words)
        with torch.no_grad():
            pooled = self.tower(input_ids=ids).text_embeds
        return TextCondition(pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool), pooled)


class Job:
    """One model, one set of synthetic captions with random real motions, so many generations of each.

    Args:
        prompts, generations, batch: how many; steps: of the masked transformer.
        published: sizes of MoMask, CLIP ViT-B/32's text tower and the evaluator as published; else toys.
        bf16: our side computes in bfloat16 where torch's autocast does.
    """

    def __init__(self, prompts: int, generations: int, batch: int, steps: int, published: bool, bf16: bool) -> None:
        torch.manual_seed(0)
        self.generations, self.batch, self.bf16 = generations, batch, bf16
        self.stages: dict[str, dict[str, float]] = {side: defaultdict(float) for side in ("ours", "plain")}
        self.side, self.inside = "ours", 0
        tower = RandomTower(512, 12) if published else RandomTower(16, 1)
        sizes = {} if published else {"rvq": {"codes": 8, "code_dim": 16, "width": 16}, "masked": TOY, "residual": TOY}
        self.model = MoMask(text=tower, sampling={"steps": steps}, **sizes).eval()
        small = {} if published else {"word": 8, "text_hidden": 8, "motion_hidden": 8, "movement_hidden": 8, "width": 8}
        self.evaluator = GuoEvaluator(**small).eval()
        lengths = torch.randint(10, 50, (prompts,), generator=torch.Generator().manual_seed(1)) * 4  # 40 to 196 frames
        real = torch.randn(prompts, int(lengths.max()), 263) * 0.1
        texts = tuple(Caption(text) for text in captions(prompts))
        ids = tuple(map(str, range(prompts)))
        self.prompts = PromptSet("forget", texts, lengths, MotionBatch(real, lengths, texts, ids), {})
        self.metrics = hmu_metrics()

    def watch(self) -> None:
        """Note how long both sides spend in each stage; what is not noted is metrics and files."""
        watched = ((self.model.text, "encode", "text"), (self.model, "sample", "generating"))
        watched += tuple((self.evaluator, f"embed_{what}", "embedding") for what in ("motion", "text", "text_masked"))
        for thing, name, stage in watched:
            setattr(thing, name, self._noted(getattr(thing, name), stage))

    def _noted(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def noted(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            self.inside += 1
            try:
                return call(*given, **more)
            finally:
                self.inside -= 1
                if not self.inside:  # masked texts are embedded as texts: count them once
                    self.stages[self.side][stage] += time.perf_counter() - start

        return noted

    def ours(self) -> list[Tensor]:
        """As ``evaluate.py`` does it, from an empty cache."""
        start, self.side = time.perf_counter(), "ours"
        suite = Suite(self.metrics, {"forget": len(self.prompts)}, self.generations, batch_size=self.batch)
        self.model._prompts.clear()
        narrow = torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()
        with tempfile.TemporaryDirectory() as folder, narrow:
            cache = GenerationCache(Path(folder) / "generated")
            model = [Model("base", self.model, "base")]
            suite.run(model, [self.prompts], self.evaluator, KICK, 0, cache)
        self.stages[self.side]["whole"] += time.perf_counter() - start
        return []

    def plain(self) -> list[Tensor]:
        """Batch by batch in the captions' order, everything anew in every generation."""
        start, self.side = time.perf_counter(), "plain"
        everything = []
        for generation in range(self.generations):
            parts = [
                self._plain_batch(index, generation) for index in torch.arange(len(self.prompts)).split(self.batch)
            ]
            everything.append({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        every = torch.stack([one["generated"] for one in everything], 1)
        ids = tuple(map(str, range(len(self.prompts))))
        batch = torch.arange(len(ids)) // 32
        samples = [EvalSamples(**one, repeats=every, ids=ids, batch=batch) for one in everything]
        list(count(self.metrics, samples, Resampling(len(ids), self.generations, 0), _row, "forget"))
        self.stages[self.side]["whole"] += time.perf_counter() - start
        return []

    @torch.inference_mode()
    def _plain_batch(self, index: Tensor, generation: int) -> dict[str, Tensor]:
        texts = [self.prompts.captions[i] for i in index.tolist()]
        lengths, evaluator = self.prompts.lengths[index], self.evaluator
        assert self.model.text is not None
        assert self.prompts.real is not None
        condition = self.model.text.encode([caption.text for caption in texts])
        generator = torch.Generator().manual_seed(generation * 1000 + int(index[0]))
        made = self.model.sample(condition, lengths, generator=generator)
        longest = int(lengths.max())
        masked, changed = evaluator.embed_text_masked(texts, KICK, "hmu")
        return {
            "generated": evaluator.embed_motion(made, lengths),
            "real": evaluator.embed_motion(self.prompts.real.motion[index][:, :longest], lengths),
            "text": evaluator.embed_text(texts),
            "masked_hmu": masked,
            "changed_hmu": changed,
        }


def _row(name: str, values: Sequence[float]) -> Row:
    return summarise("base", "forget", name, values, 0)


def hmu_metrics() -> dict[str, MotionMetric]:
    """The metrics of ``configs/suite/hmu.yaml``."""
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return dict(instantiate(compose("suite/hmu").suite.metrics))


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point."""
    sizes = {"prompts": 2000, "generations": 10, "batch": 32, "steps": 10, "size": "published", "precision": "float32"}
    parser = arguments(__doc__ or "", **sizes)
    parser.set_defaults(repeats=1)  # and one for warming up: at the published size a run of either side is long
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    chosen = options.prompts, options.generations, options.batch, options.steps
    job = Job(*chosen, published=options.size == "published", bf16=options.precision == "bfloat16")
    pair = Pair("plain loop in float32, everything anew", job.ours, job.plain, None)
    job.watch()
    timings = measure([pair], options.repeats)
    names = ("prompts", "generations", "batch", "steps", "size", "precision")
    report("Evaluation of MoMask, suite=hmu", timings, **{n: getattr(options, n) for n in names})
    print("\n" + stages(job))
    return timings


def stages(job: Job) -> str:
    """Share of each side's wall time per stage, and how much more of it the plain loop takes, as a table."""
    lines = ["| stage | ours | plain | plain / ours |", "|---|--:|--:|--:|"]
    ours, plain = (dict(job.stages[side]) for side in ("ours", "plain"))
    for times in (ours, plain):
        times["metrics and files"] = times["whole"] - sum(v for k, v in times.items() if k != "whole")
    for name in ("text", "generating", "embedding", "metrics and files"):
        mine, theirs = ours.get(name, 0.0), plain.get(name, 0.0)
        ratio = f"{theirs / mine:.2f}" if mine > 0 else "–"
        lines.append(f"| {name} | {mine / ours['whole']:.0%} | {theirs / plain['whole']:.0%} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
