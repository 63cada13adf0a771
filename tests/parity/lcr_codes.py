"""The codes of an LCR case: its codebooks, counts, ratios and choices against ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.safe import load_tensors
from hmu.methods.codebook.ranking import Scores, Usage, best, published_choice, published_ratios, usage
from hmu.methods.codebook.table import CodeTable
from tests.parity.case import Case, checkpoints
from tests.parity.checks import Check, Checks, compare, exact, nearest, unchecked
from tests.parity.fills import CODEBOOK, fills

ROWS = 2e-6  # float32 of the authors against float64
RATIOS = ("raw", "normalised")


class World:
    """A case's codes and codebooks, from whichever files and arrays hold them.

    Attributes:
        case: with its arrays. table: of the codes, if it was stored as such.
        codes: ``(rows, layers, tokens)``. forget: True for the rows of the concept. codebooks: of every stored layer.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        table, ids = case.folder / "codes.csv", case.folder / "forget_ids.txt"
        self.table = CodeTable.load(table) if table.is_file() else None
        self.forget: np.ndarray | None = case.raw("positive") if "positive" in case else None
        if self.table is not None and ids.is_file():
            self.forget = self.table.rows_of(set(ids.read_text(encoding="utf-8").split()))
        stored = case.raw("codes").transpose(1, 0, 2) if "codes" in case else None
        self.codes = stored if self.table is None else self.table.codes
        self.codebooks = self._codebooks()

    def _codebooks(self) -> list[Tensor]:
        """The base file's, else the case's own, else filled by the rule that fits the stored spreads."""
        for path in checkpoints(self.case.folder, "base.tar"):
            content = load_tensors(path)
            state = content.get("vq_model") or content.get("net") or {}
            names = sorted(filter(CODEBOOK.fullmatch, state), key=lambda name: int(name.split(".")[-2]))
            if names and self._belong(books := [state[name] for name in names]):
                return books
        if "codebooks_before" in self.case:
            return list(self.case["codebooks_before"])
        return self._filled()

    def _belong(self, books: Sequence[Tensor]) -> bool:
        """Whether codebooks are those that the case was run with: their spread is stored."""
        if "std_per_layer" not in self.case:
            return True
        spreads = self.case.raw("std_per_layer")
        return all(abs(float(b.double().std()) - s) < 1e-4 * s for b, s in zip(books, spreads, strict=False))

    def _filled(self) -> list[Tensor]:
        width = self.case.last(*(m[0] for m in self.case.find(r".+__new_rows"))) or 512
        codes = len(next((self.case.raw(m[0]) for m in self.case.find(r"L\d+_forget_counts")), range(512)))
        layers = len(self.case.raw("std_per_layer")) if "std_per_layer" in self.case else 6
        names = [f"quantizer.layers.{layer}.codebook" for layer in range(layers)]
        guesses = ([torch.from_numpy(fill.values(name, (codes, width))).float() for name in names]
                   for fill in fills(self.case.folder.name))  # fmt: skip
        return nearest(guesses, lambda books: 0.0 if self._belong(books) else 1.0)

    def tar(self, name: str) -> Path | None:
        """A tokenizer's file beside the case, if it was stored."""
        return next(iter(checkpoints(self.case.folder, name)), None)


def ranking(world: World) -> Checks:
    """Counts, both ratios, and the best by each; where ratios are equal any of their codes is as good."""
    for layer in sorted(int(m[1]) for m in world.case.find(r"L(\d+)_forget_counts")):
        if world.codes is None or world.forget is None:
            yield unchecked(f"counts of layer {layer}", "no codes, or not whose they are")
        else:
            counts = usage(world.codes[:, layer], world.forget, len(world.codebooks[0]) if world.codebooks else 512)
            yield from _ranked(world.case.under(f"L{layer}_"), counts)


def _ranked(case: Case, counts: Usage) -> Checks:
    """One layer."""
    yield from case.given({"forget_counts": counts.forget, "rest_counts": counts.rest}, 0.0)
    ratios = dict(zip(RATIOS, published_ratios(counts), strict=True))
    free = {name: int(case.raw(f"tie_free_up_to_{name}")) for name in ratios}
    for name, ratio in ratios.items():
        yield from case.given({f"ratio_{name}": ratio}, 1e-12)
        yield exact(f"{case.at}tie_free_up_to_{name}", tie_free(ratio), free[name])
        for fit in case.find(rf"top.*_by_{name}"):
            yield _same_best(case.at + fit[0], ratio, case.raw(fit[0]), free[name])
    for fit in case.find(r"selected_.*?(\d+)"):
        key, k = case.at + fit[0], int(fit[1])
        if k <= min(free.values()):
            yield exact(key, published_choice(counts, k), case.raw(fit[0]).tolist())
        else:
            yield _same_best(key, ratios["raw"], case.raw(fit[0]), min(free.values()))


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


def spreads(world: World) -> Checks:
    """The stored codebooks and their standard deviations."""
    case = world.case
    stored = {name: case.raw(name) for name in ("codebooks_before", "std_per_layer") if name in case}
    for layer, book in enumerate(world.codebooks):
        for name, (ours, tolerance) in {
            "codebooks_before": (book, 0.0),
            "std_per_layer": (book.double().std(), ROWS),
        }.items():
            if layer < len(stored.get(name, ())):
                yield compare(f"{name} {layer}", ours, stored[name][layer], tolerance)
