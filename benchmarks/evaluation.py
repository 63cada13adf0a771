"""A whole ``suite=hmu`` evaluation of MoMask: what sharing and batching save. ``python -m benchmarks.evaluation``."""

from __future__ import annotations

import itertools
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from benchmarks.paired import Pair, Timing, arguments, measure, report
from hmu.checkpoints.store import Store
from hmu.compose import configured, register_resolvers
from hmu.config import CONFIGS
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.counting import Resampling, Tally
from hmu.evaluation.generation import Model
from hmu.evaluation.sets import PromptSet
from hmu.evaluation.suite import Suite
from hmu.metrics.base import EvalSamples, MotionMetric
from hmu.motion.representation import HUMANML3D
from hmu.text.base import TextCondition, TextEncoder

PEOPLE = ("a person", "someone", "a man", "a woman", "the figure")
ACTIONS = ("walks forward", "kicks with the left leg", "waves", "jumps", "sits down", "turns", "bows", "punches")
ENDS = ("", "slowly", "quickly", "twice", "three times", "again", "carefully")
STAGES = ("text", "generating", "embedding", "metrics and files")  # the last is what the others leave
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
            pooled = torch.cat([self.tower(input_ids=part).text_embeds for part in ids.split(256)])  # as ours does
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
        self.stages: dict[str, dict[str, tuple[float, float]]] = {"ours": {}, "plain": {}}
        self.side, self.inside = "ours", False
        tower = RandomTower(512, 12) if published else RandomTower(16, 1)
        sizes = {} if published else {"rvq": {"codes": 8, "code_dim": 16, "width": 16}, "masked": TOY, "residual": TOY}

        changes = {"checkpoint": None, "text": tower, "sampling": {"steps": steps}, **sizes}
        self.model = configured("backbone", "momask", **changes).eval()
        small = {} if published else {"word": 8, "text_hidden": 8, "motion_hidden": 8, "movement_hidden": 8, "width": 8}
        self.evaluator = configured("evaluator", "guo", checkpoint=None, **small).eval()
        lengths = torch.randint(10, 50, (prompts,), generator=torch.Generator().manual_seed(1)) * 4  # 40 to 196 frames
        real = torch.randn(prompts, int(lengths.max()), 263) * 0.1
        texts = tuple(Caption(text) for text in captions(prompts))
        ids = tuple(map(str, range(prompts)))
        self.prompts = PromptSet("forget", texts, lengths, MotionBatch(real, lengths, texts, ids), {}, HUMANML3D)
        self.metrics = hmu_metrics()

    def watch(self) -> None:
        """Note how long both sides spend in each stage; what is not noted is metrics and files."""
        watched = ((self.model.text, "encode", "text"), (self.model, "sample", "generating"))
        watched += tuple((self.evaluator, f"embed_{what}", "embedding") for what in ("motion", "text", "text_masked"))
        for thing, name, stage in watched:
            setattr(thing, name, self._noted(getattr(thing, name), stage))

    def _noted(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def noted(*given: Any, **more: Any) -> Any:
            if self.inside:  # masked texts are embedded as texts: count them once
                return call(*given, **more)
            self.inside = True
            try:
                with self._clock(stage):
                    return call(*given, **more)
            finally:
                self.inside = False

        return noted

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        before = self.stages[self.side].get(stage, (0.0, 0.0))
        passed = time.perf_counter() - wall, time.process_time() - processor
        self.stages[self.side][stage] = before[0] + passed[0], before[1] + passed[1]

    def ours(self) -> list[Tensor]:
        """As ``evaluate.py`` does it, from an empty cache."""
        self.side = "ours"
        asked = {"repeats": self.generations, "batch_size": self.batch, "split": "test", "bootstrap": 200}
        suite = Suite(self.metrics, {"forget": len(self.prompts)}, **asked, gallery=None, pages=None)
        self.model._reader[0]._memory.clear()  # no prompt is known yet
        narrow = torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()
        with self._clock("whole"), tempfile.TemporaryDirectory() as folder, narrow:
            cache = Store(Path(folder) / "generated")
            model = [Model("base", self.model, "base")]
            suite.run(model, [self.prompts], self.evaluator, KICK, 0, cache)
        return []

    def plain(self) -> list[Tensor]:
        """Batch by batch in the captions' order, everything anew in every generation."""
        self.side = "plain"
        batches = torch.arange(len(self.prompts)).split(self.batch)
        ids = tuple(map(str, range(len(self.prompts))))
        with self._clock("whole"):
            everything = []
            for generation in range(self.generations):
                parts = [self._plain_batch(index, generation) for index in batches]
                everything.append({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
            every = torch.stack([one["generated"] for one in everything], 1)
            batch = torch.arange(len(ids)) // 32
            samples = [EvalSamples(**one, repeats=every, ids=ids, batch=batch) for one in everything]
            list(Tally("base", "forget", Resampling(len(ids), 0)).metrics(self.metrics, samples))
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


def hmu_metrics() -> dict[str, MotionMetric]:
    """The metrics of ``configs/suite/hmu.yaml``."""
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return dict(instantiate(compose("suite/hmu").suite.metrics))


def main(argv: Sequence[str] | None = None) -> list[Timing]:
    """Entry point. ``--sides ours`` leaves the plain loop out: 2,000 captions are hours of it on a CPU."""
    sizes = {"prompts": 2000, "generations": 10, "batch": 32, "steps": 10, "size": "published", "precision": "float32"}
    parser = arguments(__doc__ or "", **sizes, sides="both")
    parser.set_defaults(repeats=1)  # at the published size a run of either side is long
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    sort = {"published": options.size == "published", "bf16": options.precision == "bfloat16"}
    warm = Job(options.batch, 1, options.batch, options.steps, **sort)
    warm.ours(), warm.plain()
    job = Job(options.prompts, options.generations, options.batch, options.steps, **sort)
    job.watch()
    names = ("prompts", "generations", "batch", "steps", "size", "precision")
    facts = {n: getattr(options, n) for n in names}
    timings: list[Timing] = []
    if options.sides == "both":
        pair = Pair("plain loop in float32, everything anew", job.ours, job.plain, None)
        timings = measure([pair], options.repeats, warm_up=False)
        report("Evaluation of MoMask, suite=hmu", timings, **facts)
    else:
        job.ours()
        print(f"Evaluation of MoMask, suite=hmu, without the plain loop ({facts})")
    print("\n" + stages(job))
    return timings


def stages(job: Job) -> str:
    """Wall and processor seconds of each stage and side, and the ratio of processor time, as a table."""
    lines = ["| stage | ours, wall s | processor s | plain, wall s | processor s | plain / ours |"]
    lines.append("|---|--:|--:|--:|--:|--:|")
    for name in (*STAGES, "whole"):
        (wall, ours), (wall_plain, plain) = (_seconds(job.stages[side], name) for side in ("ours", "plain"))
        ratio = f"{plain / ours:.2f}" if ours > 0 and plain > 0 else "–"
        lines.append(f"| {name} | {wall:.1f} | {ours:.1f} | {wall_plain:.1f} | {plain:.1f} | {ratio} |")
    return "\n".join(lines)


def _seconds(times: Mapping[str, tuple[float, float]], name: str) -> tuple[float, float]:
    if name != STAGES[-1]:
        return times.get(name, (0.0, 0.0))
    noted = [times.get(stage, (0.0, 0.0)) for stage in STAGES[:-1]]
    whole = times.get("whole", (0.0, 0.0))
    return whole[0] - sum(n[0] for n in noted), whole[1] - sum(n[1] for n in noted)


if __name__ == "__main__":
    main()
