"""Edits on a backbone: applied with any strength, summed, and taken away again bit for bit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.errors import CheckpointError
from hmu.methods.edit import DeltaEdit, Edit, fingerprint, weights_of

log = logging.getLogger(__name__)


class EditStack:
    """Edits that are on a backbone now. The originals of every changed weight are kept, so reverting is exact.

    Args:
        backbone: the base; nothing changes until :meth:`apply`.
        strict: refuse an edit that was made for other base weights; otherwise only warn.
        base: :func:`fingerprint` of the backbone, where it is known.
    """

    def __init__(self, backbone: MotionBackbone, *, strict: bool = True, base: str | None = None) -> None:
        self.backbone, self.strict = backbone, strict
        self.edits: list[tuple[Edit, float]] = []
        self._base = base or fingerprint(backbone)
        self._deltas: list[dict[str, Tensor]] = []
        self._originals: dict[str, Tensor] = {}

    def apply(self, edit: Edit, scale: float = 1.0) -> EditStack:
        """Add ``scale`` times the edit to the weights, on top of the edits already there (they sum, in any order).

        Raises:
            CheckpointError: the edit does not fit the backbone; nothing has changed then.
        """
        self._check_base(edit)
        deltas = edit.deltas(self.backbone)
        self.edits.append((edit, float(scale)))
        self._deltas.append(deltas)
        self._write()
        return self

    def _check_base(self, edit: Edit) -> None:
        if edit.base in ("", self._base):
            return
        message = f"the edit '{edit.label}' was made for other weights (base {edit.base[:12]}, here {self._base[:12]})"
        if self.strict:
            raise CheckpointError(f"{message}: load the backbone it was made for")
        log.warning("%s; applied all the same", message)

    @torch.no_grad()
    def _write(self) -> None:
        weights = weights_of(self.backbone.network())
        for name in {name for deltas in self._deltas for name in deltas}:
            original = self._originals.setdefault(name, weights[name].detach().clone())
            # Summed in double from the originals each time: order leaves no trace, strength 0 changes nothing.
            parts = [scale * d[name] for (_, scale), d in zip(self.edits, self._deltas, strict=True) if name in d]
            total = original.cpu().double() + torch.stack(parts).sum(0)
            weights[name].copy_(total.to(original.dtype))

    @torch.no_grad()
    def revert(self) -> None:
        """Put the original weights back, bit for bit."""
        weights = weights_of(self.backbone.network())
        for name, original in self._originals.items():
            weights[name].copy_(original)
        self.edits, self._deltas, self._originals = [], [], {}

    def merge(self) -> DeltaEdit:
        """All applied edits, with their strengths, as one edit for the same base (the backbone stays as it is)."""
        merged: dict[str, Tensor] = {}
        for (_, scale), deltas in zip(self.edits, self._deltas, strict=True):
            for name, delta in deltas.items():
                merged[name] = merged.get(name, torch.zeros_like(delta)) + scale * delta
        parts = [{"method": e.method, "concept": e.concept, "scale": s, "settings": e.settings} for e, s in self.edits]
        concepts = "+".join(dict.fromkeys(edit.concept for edit, _ in self.edits))
        floats = {name: delta.float() for name, delta in merged.items()}
        return DeltaEdit(floats, method="merged", concept=concepts, base=self._base, settings={"parts": parts})


@contextmanager
def applied(
    backbone: MotionBackbone, edits: Sequence[tuple[Edit, float]], *, strict: bool = True, base: str | None = None
) -> Iterator[EditStack]:
    """The backbone with ``edits`` (edit, strength) inside the block; bit-identical to before after it.

    Args:
        backbone, strict, base: as of :class:`EditStack`. edits: with their strengths.

    Raises:
        CheckpointError: an edit does not fit; the backbone is unchanged then.
    """
    stack = EditStack(backbone, strict=strict, base=base)
    try:
        for edit, scale in edits:
            stack.apply(edit, scale)
        yield stack
    finally:
        stack.revert()


def difference(base: MotionBackbone, changed: MotionBackbone, **facts: Any) -> DeltaEdit:
    """The edit that turns ``base`` into ``changed`` (an unlearned checkpoint of the authors, say).

    Raises:
        CheckpointError: the two networks have other names or shapes.
    """
    before, after = weights_of(base.network()), weights_of(changed.network())
    unlike = sorted(n for n in before.keys() | after.keys() if n not in before or n not in after)
    unlike += sorted(n for n in before.keys() & after.keys() if before[n].shape != after[n].shape)
    if unlike:
        raise CheckpointError(f"the two models differ in more than their values, first in '{unlike[0]}'")
    deltas = {n: (after[n].detach().cpu().double() - before[n].detach().cpu().double()).float() for n in before}
    return DeltaEdit({n: d for n, d in deltas.items() if bool(d.any())}, base=fingerprint(base), **facts)
