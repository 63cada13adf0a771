"""Unified concept editing (Gandikota et al., WACV 2024) of the layers through which text enters a motion generator."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checks import check_variant
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.errors import ConfigError
from hmu.methods.base import EditMethod, offers
from hmu.methods.closed_form import Group, Scales, collect, solve
from hmu.methods.edit import DeltaEdit, fingerprint
from hmu.methods.upstream import closed_form as upstream_edits
from hmu.values import Count, Positive, Variant, Weight

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Uce(EditMethod):
    """Re-solve the text projections: the concept's words become the anchor, all others as before.

    ``W'`` minimises ``regulariser ||W' - W||^2 + erase_weight mean ||W' c + b - v||^2 + preserve_weight mean
    ||W' r - W r||^2`` over rows ``c`` of the forget and ``r`` of the retain captions; ``b`` is the layer's bias.

    Args:
        target: what ``v`` is. ``anchor``: the anchor's output; ``projection``: that without its part along the
            concept's own output; ``direction``: no regression, the mean difference between both sides is projected out.
        anchor: prompt that the concept becomes; empty = the unconditional prompt.
        concept_tokens: rows of a forget caption: ``all`` its tokens, its words (``content``), their mean per caption
            (``pooled``), or one mean of all captions (``averaged``). No difference where a model reads one vector per
            prompt, but for ``averaged``.
        preserve_tokens: the same for retain captions.
        forget_texts, retain_texts: prompts in place of the captions of both sides.
        retain_limit: at most so many retain captions, drawn at random; None = all.
        erase_weight, preserve_weight, regulariser: see the formula.
        weighting: ``mean``: as in the formula, and ``regulariser`` counts in mean squares of the concept's rows, so
            that the weights mean the same for any number of captions; ``sum``: sums and plain numbers, as published.
        strength: ``direction`` only: 1 projects the direction out, above 1 turns it round.
        layers: edit only layers whose name contains one of these; None = all.
        variant: ``default``, or ``upstream`` = as the published port (of SALAD: the fork) computes it, see
            :mod:`hmu.methods.upstream.closed_form`; the fork's lambda is ``strength``.
    """

    name: ClassVar[str] = "uce"

    target: Literal["anchor", "projection", "direction"]
    anchor: str | None
    concept_tokens: Literal["all", "content", "pooled", "averaged"]
    preserve_tokens: Literal["all", "content", "pooled", "averaged"]
    forget_texts: Sequence[str] | None
    retain_texts: Sequence[str] | None
    retain_limit: Count | None
    erase_weight: Positive
    preserve_weight: Weight
    regulariser: Positive
    weighting: Literal["mean", "sum"]
    strength: float
    layers: Sequence[str] | None
    variant: Variant

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variant = check_variant("method.variant", self.variant)
        self.anchor = self.anchor or ""
        self.forget_texts = prompt_list("forget_texts", self.forget_texts)
        self.retain_texts = prompt_list("retain_texts", self.retain_texts)
        self.layers = None if self.layers is None else [str(part) for part in self.layers]

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """It needs linear layers through which text enters, and to know what enters them."""
        kind = backbone if isinstance(backbone, type) else type(backbone)
        if not offers(backbone, "text_projections") or not offers(kind, "projection_inputs"):
            return "it offers no linear layers through which text enters"
        return None

    def check(self, backbone: MotionBackbone) -> None:
        """``layers`` must name text projections that the backbone has."""
        pick_layers(backbone, self.layers)

    def edit(
        self,
        backbone: MotionBackbone,
        forget: MotionClips,
        retain: MotionClips,
        concept: Concept,
        generator: torch.Generator | None = None,
    ) -> DeltaEdit:
        """Solve for every layer."""
        begin = time.perf_counter()
        forget_texts = self.forget_texts or captions_of(forget)
        retain_texts = self.retain_texts or captions_of(retain)
        if self.retain_limit is not None and self.retain_limit < len(retain_texts):
            rows = torch.randperm(len(retain_texts), generator=generator)[: self.retain_limit]
            retain_texts = [retain_texts[i] for i in rows]
        deltas, facts = self.deltas(backbone, forget_texts, retain_texts)
        seconds = round(time.perf_counter() - begin, 3)
        counts = len(forget_texts), len(retain_texts)
        log.info("%s: %d layers solved for %d against %d prompts in %.1f s", self.name, len(deltas), *counts, seconds)
        facts = {"forget_texts": counts[0], "retain_texts": counts[1], **facts, "seconds": seconds}
        stored = {f"{name}.weight": delta.float().cpu() for name, delta in deltas.items()}
        settings = self.settings | {"solved": facts}
        return DeltaEdit(stored, method=self.name, concept=concept.name, base=fingerprint(backbone), settings=settings)

    def deltas(
        self, backbone: MotionBackbone, forget_texts: Sequence[str], retain_texts: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Changes of weight ``(out, in)`` by layer, float64, and facts for the record."""
        layers = pick_layers(backbone, self.layers)
        if self.variant == "upstream" and upstream_edits.reads_words(backbone):
            changes = upstream_edits.fork_deltas(backbone, forget_texts, retain_texts, self.strength)
            return {name: changes[name] for name in layers}, {}
        deltas: dict[str, Tensor] = {}
        facts: dict[str, Any] = {}
        tokens = (self.concept_tokens, self.preserve_tokens)
        for group in collect(backbone, layers, forget_texts, retain_texts, self.anchor or "", tokens):
            solved, notes = self.solve_group(group)
            deltas |= {name: weight - group.layers[name][0] for name, weight in solved.items()}
            facts |= {f"{next(iter(group.layers))}: {key}": value for key, value in notes.items()}
        return deltas, facts

    def solve_group(self, group: Group) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """New weights ``(out, in)`` of layers that read the same, and facts for the record."""
        if self.target == "direction":
            return without_direction(group, self.strength), {}
        scales, solver = self.scales(group), upstream_edits.solve if self.variant == "upstream" else solve
        return {name: solver(group, name, scales, self.target) for name in group.layers}, {}

    def scales(self, group: Group) -> Scales:
        """The weights of the terms, per row."""
        if self.weighting == "sum":
            return Scales(self.erase_weight, self.preserve_weight, self.regulariser)
        square = float(group.concept.square().mean())
        return Scales(
            self.erase_weight / len(group.concept), self.preserve_weight / group.retain_rows, self.regulariser * square
        )


def without_direction(group: Group, strength: float) -> dict[str, Tensor]:
    """``W (I - strength d d^T / ||d||^2)`` of each layer ``(out, in)``; ``d``: mean concept less mean retain row."""
    direction = group.concept.mean(0) - group.total / group.retain_rows
    outer = strength * torch.outer(direction, direction) / direction.square().sum()
    return {name: weight - weight @ outer for name, (weight, _) in group.layers.items()}


def captions_of(clips: MotionClips) -> list[str]:
    """All distinct captions, in the order of their first occurrence."""
    return list(dict.fromkeys(caption.text for own in clips.captions for caption in own))


def prompt_list(key: str, texts: Sequence[str] | None) -> list[str] | None:
    """A list of prompts from the configuration; an empty one is refused."""
    if texts is not None and not list(texts):
        raise ConfigError(f"method.{key}={texts}: expected a list of prompts, or null for the captions of that side")
    return None if texts is None else [str(text) for text in texts]


def pick_layers(backbone: MotionBackbone, parts: Sequence[str] | None) -> list[str]:
    """Names of the layers to edit: all text projections, or those whose name contains one of ``parts``.

    Raises:
        ConfigError: one of ``parts`` is in no name.
    """
    names = list(backbone.text_projections())
    lost = [part for part in parts or [] if not any(part in name for name in names)]
    if lost or parts == []:
        raise ConfigError(
            f"method.layers: no text projection of {backbone.name} has '{', '.join(lost)}' in its name; "
            f"there are {', '.join(names)}"
        )
    return names if parts is None else [name for name in names if any(part in name for part in parts)]
