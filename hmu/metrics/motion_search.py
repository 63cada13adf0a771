"""Which captions does a retrieval gallery name for a motion? (HMU's ``m2m_retrieval`` step, in-process.)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.errors import DataError

CHUNK = 1024  #: queries that are compared with the gallery at once


@dataclass(frozen=True)
class Hit:
    """One retrieved clip: its row in the gallery, id, caption, and how near it is (cosine, or minus a distance)."""

    row: int
    keyid: str
    description: str
    nearness: float
    cosine: bool = True

    def to_json(self) -> dict[str, Any]:
        """An entry of ``retrieval`` in ``records.json``; ``score`` is the cosine in 0 .. 1."""
        entry: dict[str, Any] = {"keyid": self.keyid, "description": self.description}
        if not self.cosine:
            return {**entry, "distance": -self.nearness}
        return {**entry, "cosine": self.nearness, "score": self.nearness / 2 + 0.5}


@dataclass(frozen=True)
class Gallery:
    """Real clips that answer a query.

    Attributes:
        ids, descriptions: one clip id and one caption per row.
        latents: motion embeddings ``(rows, width)``.
        cosine: whether nearness is the cosine (TMR), or minus the Euclidean distance (Guo et al.).
    """

    ids: tuple[str, ...]
    descriptions: tuple[str, ...]
    latents: Tensor
    cosine: bool = True
    rows_of: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.descriptions) == len(self.latents) or not self.ids:
            counts = f"{len(self.ids)} ids, {len(self.descriptions)} captions, {len(self.latents)} embeddings"
            raise DataError(f"a retrieval gallery needs equally many of each, and at least one: {counts}")
        for row, name in enumerate(self.ids):
            self.rows_of.setdefault(recording(name), []).append(row)

    def __len__(self) -> int:
        return len(self.ids)

    def nearness(self, queries: Tensor, own: Sequence[str] | None = None) -> Tensor:
        """``(queries, rows)``, larger is nearer.

        Args:
            queries: motion embeddings ``(queries, width)``.
            own: the clip each query was asked for: what was cut from it (and its mirror image) gets ``-inf``; None: no.
        """
        latents = self.latents.to(queries)
        if self.cosine:
            near = F.normalize(queries, dim=-1) @ F.normalize(latents, dim=-1).mT
        else:
            near = -torch.cdist(queries, latents, compute_mode="donot_use_mm_for_euclid_dist")
        for line, name in enumerate(own or ()):
            near[line, self.rows_of.get(recording(name), [])] = -torch.inf
        return near

    def nearest(self, queries: Tensor, own: Sequence[str] | None) -> Iterator[Tensor]:
        """:meth:`nearness` of some queries ``(queries, width)`` at a time: bounds memory, changes no result."""
        for start in range(0, len(queries), CHUNK):
            rows = slice(start, start + CHUNK)
            yield self.nearness(queries[rows], None if own is None else own[rows])


def recording(name: str) -> str:
    """The recording that a clip was cut from: without ``#k`` and without the ``M`` of a mirrored clip."""
    return name.partition("#")[0].removeprefix("M")


def search(queries: Tensor, gallery: Gallery, top: int, own: Sequence[str] | None = None) -> list[list[Hit]]:
    """The ``top`` nearest rows of each query, best first; equal ones keep the gallery's order.

    Queries ``(queries, width)`` and ``own`` as in :meth:`Gallery.nearness`; fewer hits where the gallery has fewer.
    """
    hits: list[list[Hit]] = []
    for near in gallery.nearest(queries, own):
        best, index = torch.sort(near, dim=1, descending=True, stable=True)
        for values, order in zip(best[:, :top].tolist(), index[:, :top].tolist(), strict=True):
            pairs = [(i, v) for v, i in zip(values, order, strict=True) if v > -torch.inf]
            hits.append([Hit(i, gallery.ids[i], gallery.descriptions[i], v, gallery.cosine) for i, v in pairs])
    return hits


def first_ranks(queries: Tensor, gallery: Gallery, named: Tensor, top: int, own: Sequence[str] | None = None) -> Tensor:
    """1-based rank of the first row of ``named`` for each query, ``top + 1`` where it comes later or never, int64.

    ``named``: which captions of the gallery name the concept, bool ``(rows,)``; the others as for :func:`search`. Equal
    ones that do not name it come first, which never flatters a model that should name it no more.
    """
    ranks = []
    for near in gallery.nearest(queries, own):
        best = near.masked_fill(~named.to(near.device), -torch.inf).amax(1, keepdim=True)
        before = ((near >= best) & ~named.to(near.device)).sum(1)
        before[best[:, 0] == -torch.inf] = top
        ranks.append((1 + before).clamp(max=top + 1))
    return torch.cat(ranks).cpu()
