"""Which captions does a retrieval gallery name for a motion? (HMU's ``m2m_retrieval`` step, in-process.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.errors import DataError


@dataclass(frozen=True)
class Hit:
    """One retrieved clip: its row in the gallery, id, caption, and cosine to the query."""

    row: int
    keyid: str
    description: str
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """An entry of ``retrieval`` in ``records.json``; ``score`` is the cosine in 0 .. 1."""
        told = asdict(self)
        del told["row"]
        return {**told, "score": self.cosine / 2 + 0.5}


@dataclass(frozen=True)
class Gallery:
    """Real clips that answer a query.

    Attributes:
        ids: one clip id per row; descriptions: one caption per row.
        latents: motion embeddings ``(rows, width)``, of any length (cosines are compared).

    Raises:
        DataError: rows do not fit.
    """

    ids: tuple[str, ...]
    descriptions: tuple[str, ...]
    latents: Tensor

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.descriptions) == len(self.latents) or not self.ids:
            counts = f"{len(self.ids)} ids, {len(self.descriptions)} captions, {len(self.latents)} embeddings"
            raise DataError(f"a retrieval gallery needs equally many of each, and at least one: {counts}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Sequence[int]) -> Gallery:
        """The rows ``rows`` in that order."""
        picked = tuple(self.ids[i] for i in rows), tuple(self.descriptions[i] for i in rows)
        return Gallery(*picked, self.latents[list(rows)])

    def cosines(self, queries: Tensor) -> Tensor:
        """``(queries, rows)``."""
        return F.normalize(queries, dim=-1) @ F.normalize(self.latents.to(queries), dim=-1).mT


def search(
    queries: Tensor, gallery: Gallery, top: int, own: Sequence[str] | None = None, chunk: int = 4096
) -> list[list[Hit]]:
    """The ``top`` nearest rows of each query, best first; equal cosines keep the gallery's order.

    Args:
        queries: motion embeddings ``(queries, width)``.
        gallery: what answers.
        top: hits per query; all rows where the gallery has fewer.
        own: the clip each query was asked for: that clip is left out of its own answer. None leaves nothing out.
        chunk: queries per matrix product; bounds memory, changes no result.
    """
    found: list[list[Hit]] = []
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(gallery.ids):
        rows.setdefault(name.partition("#")[0], []).append(row)
    for start in range(0, len(queries), chunk):
        cosines = gallery.cosines(queries[start : start + chunk])
        names = [] if own is None else [n.partition("#")[0] for n in own[start : start + chunk]]
        for line, name in enumerate(names):
            cosines[line, rows.get(name, [])] = -torch.inf
        best, index = torch.sort(cosines, dim=1, descending=True, stable=True)
        for values, order in zip(best[:, :top].tolist(), index[:, :top].tolist(), strict=True):
            hits = [Hit(i, gallery.ids[i], gallery.descriptions[i], v) for v, i in zip(values, order, strict=True)]
            found.append([hit for hit in hits if hit.cosine > -torch.inf])
    return found
