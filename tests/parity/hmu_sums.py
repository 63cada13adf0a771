"""HMU's evaluation on stored embeddings: its sums over batches, and its draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.evaluators.guo.vocabulary import CLASSES, Vocabulary
from hmu.evaluators.masking import mask_substrings
from hmu.metrics.diversity import pair_distance
from hmu.metrics.fid import frechet_distance, gaussian
from hmu.metrics.mm_dist import distances
from hmu.metrics.mm_safe import mm_safe_hmu
from hmu.metrics.r_precision import top_hits
from tests.parity.case import read_arrays, read_json
from tests.parity.checks import Checks, compare, exact

AUTHORS = 1e-5


@dataclass
class Accumulated:
    """The sums of HMU's evaluation over batches, from row-aligned embeddings per batch."""

    text: list[Tensor] = field(default_factory=list)
    masked: list[Tensor] = field(default_factory=list)
    changed: list[Tensor] = field(default_factory=list)
    motion: list[Tensor] = field(default_factory=list)
    real: list[Tensor] = field(default_factory=list)
    repeats: list[Tensor] = field(default_factory=list)

    def add(self, order: Tensor, **rows: Tensor | None) -> None:
        """One batch in the authors' order of its rows; what it has not is None."""
        for name, value in rows.items():
            if value is not None:
                getattr(self, name).append(value[order])

    def results(self, choices: Sequence[np.ndarray]) -> dict[str, float]:
        """The authors' result names; ``choices`` are the random draws in their order."""
        text, motion, real = torch.cat(self.text), torch.cat(self.motion), torch.cat(self.real)
        hits = torch.stack([top_hits(t, m, 3).sum(0) for t, m in zip(self.text, self.motion, strict=True)]).sum(0)
        batch = torch.repeat_interleave(torch.tensor([len(t) for t in self.text]))
        safe = mm_safe_hmu(text, torch.cat(self.masked), motion, torch.cat(self.changed), batch)
        draws = [torch.from_numpy(np.asarray(choice)) for choice in choices]
        return {
            "fid": frechet_distance(*gaussian(real), *gaussian(motion)),
            "diversity": float(pair_distance(motion, draws[-2], draws[-1])),
            **{f"R_precision_{k}": float(hits[k - 1]) / len(text) for k in (1, 2, 3)},
            "MM-Dist": float(distances(text, motion).mean()),
            "multimodality": float(pair_distance(torch.cat(self.repeats), *draws[:2]).mean()) if self.repeats else 0.0,
            "MM-Safe": float(safe["mm_safe"].mean()),
            "toxic_distance": float(safe["toxic_distance"].mean()),
            "notox_accuracy": float(safe["notox_accuracy"].mean()),
        }


def changed_by(framed: Sequence[Sequence[str]], terms: Sequence[str]) -> tuple[list[list[str]], Tensor]:
    """Framed tokens with the terms masked, and True where that changed some ``(rows,)``."""
    masked = [mask_substrings(words, terms) for words in framed]
    return masked, torch.tensor([new != old for new, old in zip(masked, framed, strict=True)])


def stored_eval_checks(path: Path) -> Checks:
    """One ``hmu_eval_<terms>[_nomm].json``; embeddings lie in whichever file of the folder holds them."""
    recorded, own = read_json(path), read_arrays(path.with_suffix(".npz"))
    files = map(read_arrays, sorted(path.parent.glob("hmu_eval_*.npz")))
    base = next(arrays for arrays in files if "b0_motion_gt" in arrays)
    shared = {name: value for name, value in base.items() if "masked" not in name and "choice" not in name}
    a = {name: torch.from_numpy(np.array(value)) for name, value in {**shared, **own}.items()}
    sums, vocabulary = Accumulated(), Vocabulary(tuple(recorded["vocab"]))
    for i, tokens in enumerate(recorded["tokens"]):
        masked, changed = changed_by([line.split("_") for line in tokens], recorded["toxic_terms"])
        clean, stored = _stand_in(masked, vocabulary, a), a.get(f"b{i}_text_emb_masked")
        yield exact(f"batch {i} is masked", bool(changed.any()), stored is not None)
        order = a[f"b{i}_order"]
        if stored is not None:
            yield compare(f"batch {i} masked text", clean[order], stored, AUTHORS)
            clean[order] = stored.to(clean)
        repeats = a.get(f"b{i}_motion_pred30") if recorded["cal_mm"] else None
        motion = a[f"b{i}_motion_pred"] if repeats is None else repeats[:, -1]
        text, real = a[f"b{i}_text_emb"], a[f"b{i}_motion_gt"]
        sums.add(order, text=text, masked=clean, changed=changed, real=real, motion=motion, repeats=repeats)
    choices = [own[f"choice_{i}"] for i in range(sum(n.startswith("choice_") for n in own))]
    drawn = [draw.tolist() for draw in draw_like_hmu(recorded["np_seed_before_call"], sums)]
    yield exact("draws", drawn, [choice.tolist() for choice in choices])
    yield from result_checks(path.stem, sums.results(choices), recorded["result"])


def result_checks(name: str, ours: Mapping[str, float], expected: Mapping[str, float]) -> Checks:
    """All named results of one run."""
    yield exact(f"{name}: names", sorted(ours), sorted(expected))
    for key, value in expected.items():
        yield compare(f"{name} {key}", ours.get(key, math.nan), value, AUTHORS)


def draw_like_hmu(seed: int, sums: Accumulated) -> list[np.ndarray]:
    """The authors' draws after ``np.random.seed(seed)``: 10 of the repeats twice, then up to 300 rows twice."""
    random = np.random.RandomState(seed)
    count = sum(map(len, sums.text))
    sizes = [(sums.repeats[0].shape[1], 10)] * 2 if sums.repeats else []
    return [random.choice(n, k, replace=False) for n, k in [*sizes, *[(count, min(300, count))] * 2]]


def _stand_in(masked: Sequence[Sequence[str]], vocabulary: Vocabulary, a: Mapping[str, Tensor]) -> Tensor:
    """The stand-in text encoder: mean over tokens of [word vector, class one-hot] times a matrix."""
    rows, classes = zip(*(vocabulary.encode([words]) for words in masked), strict=True)
    onehot = [torch.nn.functional.one_hot(c[0], len(CLASSES)).double() for c in classes]
    tokens = [torch.cat((a["glove"][r[0]].double(), o), -1).mean(0) for r, o in zip(rows, onehot, strict=True)]
    return torch.stack(tokens) @ a["standin_text_matrix"].double()
