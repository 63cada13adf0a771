"""The codes of an LCR case: its codebooks, counts, ratios and choices against ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.safe import load_tensors
from hmu.methods.codebook.ranking import Scores, best, published_choice, published_ratios, usage
from hmu.methods.codebook.table import CodeTable
from tests.parity.case import Case, checkpoints
from tests.parity.checks import Check, compare, exact, nearest, unchecked
from tests.parity.fills import CODEBOOK, fills

ROWS = 2e-6  # float32 of the authors against float64
RATIOS = ("raw", "normalised")


class World:
    """A case's codes and codebooks, from whichever files and arrays hold them.

    Attributes:
        case: with its arrays. table: of the codes, if it was stored as such.
        codes: ``(rows, layers, tokens)``. forget: True for the rows of the concept. codebooks: of every stored layer.
    """

    def __init__(self, folder: Path) -> None:
        self.case = Case.read(folder, files=("vectors.npz", "*.npz"))
        self.table = CodeTable.load(folder / "codes.csv") if (folder / "codes.csv").is_file() else None
        ids = folder / "forget_ids.txt"
        self.forget: np.ndarray | None = self.case.raw("positive") if "positive" in self.case else None
        if self.table is not None and ids.is_file():
            self.forget = self.table.rows_of(set(ids.read_text(encoding="utf-8").split()))
        stored = self.case.raw("codes").transpose(1, 0, 2) if "codes" in self.case else None
        self.codes = stored if self.table is None else self.table.codes
        self.codebooks = self._codebooks()

    def _codebooks(self) -> list[Tensor]:
        """The base file's, else the case's own, else filled by the rule that fits the stored spreads."""
        for path in checkpoints(self.case.folder, "base.tar"):
            content = load_tensors(path)
            state = content.get("vq_model", content.get("net"))
            if state is not None:
                names = sorted(filter(CODEBOOK.fullmatch, state), key=lambda name: int(name.split(".")[-2]))
                books = [state[name] for name in names]
                if self._belong(books):
                    return books
        if "codebooks_before" in self.case:
            return list(self.case["codebooks_before"])
        return self._filled()

    def _belong(self, books: Sequence[Tensor]) -> bool:
        """Whether codebooks are those that the case was run with: their spread is stored."""
        if "std_per_layer" not in self.case or not books:
            return bool(books)
        told = self.case.raw("std_per_layer")
        return all(abs(float(b.double().std()) - s) < 1e-4 * s for b, s in zip(books, told, strict=False))

    def _filled(self) -> list[Tensor]:
        width = self.case.last(*(m[0] for m in self.case.find(r".+__new_rows"))) or 512
        codes = len(next((self.case.raw(m[0]) for m in self.case.find(r"L\d+_forget_counts")), range(512)))
        layers = len(self.case.raw("std_per_layer")) if "std_per_layer" in self.case else 6
        name = "quantizer.layers.{}.codebook"
        found = ([torch.from_numpy(fill.values(name.format(q), (codes, width))).float() for q in range(layers)]
                 for fill in fills(self.case.folder.name))  # fmt: skip
        return nearest(found, lambda books: 0.0 if self._belong(books) else 1.0) or []

    def tar(self, name: str) -> Path | None:
        """A tokenizer's file beside the case, if it was stored."""
        return next(iter(checkpoints(self.case.folder, name)), None)


def ranking(world: World) -> Iterator[Check]:
    """Counts, both ratios, and the best by each; where ratios are equal any of their codes is as good."""
    a, books = world.case, world.codebooks
    for layer in sorted(int(m[1]) for m in a.find(r"L(\d+)_forget_counts")):
        if world.codes is None or world.forget is None:
            yield unchecked(f"counts of layer {layer}", "no codes, or not whose they are")
            continue
        found = usage(world.codes[:, layer], world.forget, len(books[0]) if books else 512)
        yield exact(f"L{layer}_forget_counts", found.forget, a.raw(f"L{layer}_forget_counts"))
        yield exact(f"L{layer}_rest_counts", found.rest, a.raw(f"L{layer}_rest_counts"))
        ratios = dict(zip(RATIOS, published_ratios(found), strict=True))
        free = {}
        for name, ratio in ratios.items():
            yield compare(f"L{layer}_ratio_{name}", ratio, a.raw(f"L{layer}_ratio_{name}"), 1e-12)
            free[name] = int(a.raw(f"L{layer}_tie_free_up_to_{name}"))
            yield exact(f"L{layer}_tie_free_up_to_{name}", tie_free(ratio), free[name])
            for key in (key for key in a.names() if key.startswith(f"L{layer}_top") and key.endswith(f"_by_{name}")):
                yield _same_best(key, ratio, a.raw(key), free[name])
        for key in (key for key in a.names() if key.startswith(f"L{layer}_selected_")):
            k = int(key.rpartition("_")[2])
            if k <= min(free.values()):
                yield exact(key, published_choice(found, k), a.raw(key).tolist())
            else:
                yield _same_best(key, ratios["raw"], a.raw(key), min(free.values()))


def tie_free(ratio: Scores) -> int:
    """How many of the best have no equal in the ranking."""
    ordered = np.sort(ratio)[::-1]
    equal = np.flatnonzero(ordered[:-1] == ordered[1:])
    return int(equal[0]) if len(equal) else len(ordered)


def _same_best(name: str, ratio: Scores, theirs: np.ndarray, free: int) -> Check:
    """The same codes while no two are equal, then codes of the same ratios."""
    ours = best(ratio, len(theirs))
    certain = set(ours[:free]) <= set(theirs.tolist())
    alike = np.array_equal(np.sort(ratio[ours]), np.sort(ratio[theirs]))
    return exact(name, certain and alike, True)


def deviations(world: World) -> Iterator[Check]:
    stored = {name: world.case.raw(name) for name in ("codebooks_before", "std_per_layer") if name in world.case}
    for layer, book in enumerate(world.codebooks):
        if layer < len(stored.get("codebooks_before", ())):
            yield compare(f"codebooks_before {layer}", book, stored["codebooks_before"][layer], 0.0)
        if layer < len(stored.get("std_per_layer", ())):
            yield compare(f"std_per_layer {layer}", book.double().std(), stored["std_per_layer"][layer], ROWS)
