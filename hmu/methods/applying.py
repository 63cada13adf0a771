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


@contextmanager
def applied(
    backbone: MotionBackbone, edits: Sequence[tuple[Edit, float]], *, strict: bool = True, base: str | None = None
) -> Iterator[None]:
    """The backbone with ``edits`` inside the block; bit-identical to before after it, as the originals are kept.

    Args:
        backbone: the base.
        edits: with their strengths; they sum, in any order.
        strict: refuse an edit that was made for other base weights; otherwise only warn.
        base: :func:`fingerprint` of the backbone, where it is known.

    Raises:
        CheckpointError: an edit does not fit; the backbone is unchanged then.
    """
    own = base or fingerprint(backbone)
    changes: dict[str, list[Tensor]] = {}
    for edit, scale in edits:
        _check_base(edit, own, strict)
        for name, delta in edit.deltas(backbone).items():
            changes.setdefault(name, []).append(scale * delta)
    weights = weights_of(backbone.network())
    originals = {name: weights[name].detach().clone() for name in changes}
    try:
        with torch.no_grad():
            for name, parts in changes.items():  # summed in double: order leaves no trace, strength 0 changes nothing
                total = originals[name].cpu().double() + torch.stack(parts).sum(0)
                weights[name].copy_(total.to(originals[name].dtype))
        yield
    finally:
        _restore(backbone, originals)


def _check_base(edit: Edit, own: str, strict: bool) -> None:
    if edit.base in ("", own):
        return
    message = f"the edit '{edit.label}' was made for other weights (base {edit.base[:12]}, here {own[:12]})"
    if strict:
        raise CheckpointError(f"{message}: load the backbone it was made for")
    log.warning("%s; applied all the same", message)


@torch.no_grad()
def _restore(backbone: MotionBackbone, originals: dict[str, Tensor]) -> None:
    weights = weights_of(backbone.network())  # asked anew: the block may have moved the backbone
    for name, original in originals.items():
        weights[name].copy_(original)


def merged(backbone: MotionBackbone, edits: Sequence[tuple[Edit, float]]) -> DeltaEdit:
    """``edits``, with their strengths, as one edit of ``backbone``.

    Raises:
        CheckpointError: an edit does not fit.
    """
    base = fingerprint(backbone)
    total: dict[str, Tensor] = {}
    for edit, scale in edits:
        _check_base(edit, base, strict=True)
        for name, delta in edit.deltas(backbone).items():
            total[name] = total.get(name, torch.zeros_like(delta)) + scale * delta
    parts = [{"method": e.method, "concept": e.concept, "scale": s, "settings": e.settings} for e, s in edits]
    concepts = "+".join(dict.fromkeys(edit.concept for edit, _ in edits))
    floats = {name: delta.float() for name, delta in total.items()}
    return DeltaEdit(floats, method="merged", concept=concepts, base=base, settings={"parts": parts})


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
