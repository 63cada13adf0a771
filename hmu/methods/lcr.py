"""Latent code replacement (De Matteis et al., "Human Motion Unlearning", 2025): codebooks forget a concept's codes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from hmu.backbones.base import MotionBackbone
from hmu.checks import require_time
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.documents import write_bytes, write_json
from hmu.durations import DAY
from hmu.errors import ConfigError, DataError, shown
from hmu.methods.base import offers
from hmu.methods.codebook.encoding import encode
from hmu.methods.codebook.ranking import Scores, Usage, best, log_odds, published_choice, usage
from hmu.methods.codebook.rows import Choice, Rewriting, joined_lists, report
from hmu.methods.codebook.table import NONE, CodeTable
from hmu.methods.edit import DeltaEdit, fingerprint
from hmu.values import Count, Positive, Share, Whole

log = logging.getLogger(__name__)
WINDOW_SECONDS = 0.0001  # no window is encoded faster
MIN_ROWS = 2  # a code seen in fewer forget clips is chance


@dataclass(kw_only=True)
class Lcr(Rewriting):
    """Replace the codes that tell forget clips from the rest: the transformers still ask for them, and get others.

    Args:
        codes: how many codes of each layer.
        layers: quantiser layers, 0 is the base layer.
        ranking: ``log_odds`` (smoothed log-odds ratio of a clip containing the code) or ``z_score`` (divided by its
            standard error: prefers codes that are frequent).
        prior: strength of the smoothing, in clips.
        min_support: least share of forget clips that must contain a code (and at least 2 clips).
        lists: files with lists of codes (``codes.yaml`` of earlier runs) to join, instead of ranking.
        table: codes in the published layout (``.csv`` or ``.parquet``) in place of encoding the clips.
        crops: 0: each clip is encoded once, whole. Above: so many random windows of each, as published (20).
        cache: folder for codes, None = encode anew.
        batch_size: windows encoded at a time.
    """

    name: ClassVar[str] = "lcr"

    codes: Count
    layers: Sequence[int]
    ranking: Literal["log_odds", "z_score"]
    prior: Positive
    min_support: Share
    lists: Sequence[str] | None
    table: str | None
    crops: Whole
    cache: str | None
    batch_size: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        self._choices: dict[int, Choice] = {}
        self._report: dict[str, Any] = {}
        self.layers = [int(layer) for layer in self.layers]
        if not self.layers or min(self.layers) < 0 or len(set(self.layers)) != len(self.layers):
            raise ConfigError(f"method.layers={self.layers}: expected different layers from 0 on, e.g. [0,1]")
        require_time("method.crops", self.crops, self.crops, WINDOW_SECONDS, "windows of each clip", limit=DAY)
        if self.lists is not None and not list(self.lists):
            raise ConfigError(f"method.lists={shown(self.lists)}: expected a list of files, [a.yaml,b.yaml], or null")

    def fits(self, backbone: type[MotionBackbone] | MotionBackbone) -> str | None:
        """It needs codebooks; for noise per sample, a backbone that draws it."""
        if not offers(backbone, "codebooks"):
            return "it has no codebook, its latents are continuous"
        if self.noise == "sample" and not offers(backbone, "codebook_noise"):
            return "it draws no noise per decoded token (noise=sample): choose noise=edit or none"
        return None

    def check(self, backbone: MotionBackbone) -> None:
        """Codes, layers, lists and table must be such as the backbone's codebooks have."""
        books = list(backbone.codebooks().values())
        size = min(len(book) for book in books)
        if self.codes >= size:
            raise ConfigError(
                f"method.codes={self.codes}: there are {size} codes, and others must be left to replace them"
            )
        if self.target_code is not None and self.target_code >= size:
            raise ConfigError(f"method.target_code={self.target_code}: there are the codes 0 to {size - 1}")
        if len(books) > 1 and max(self.layers) >= len(books):
            raise ConfigError(f"method.layers={list(self.layers)}: there are the layers 0 to {len(books) - 1}")
        if self.lists is not None:
            self._given_lists(size)
        if self.table is not None:
            CodeTable.load(self.table)

    def _given_lists(self, size: int) -> list[list[int]]:
        given = joined_lists(self.lists or (), keep_duplicates=self.variant == "upstream")
        if len(given) != len(self.layers):
            raise ConfigError(
                f"method.lists: the files hold codes of {len(given)} layers, method.layers={list(self.layers)}"
            )
        for layer, codes in zip(self.layers, given, strict=True):
            if max(codes, default=0) >= size:
                raise ConfigError(f"method.lists: code {max(codes)} of layer {layer}: there are {size} codes")
        return given

    def edit(
        self,
        backbone: MotionBackbone,
        forget: MotionClips,
        retain: MotionClips,
        concept: Concept,
        generator: torch.Generator | None = None,
    ) -> DeltaEdit:
        """Choose the codes and rewrite their rows."""
        begin = time.perf_counter()
        table, mask = self.statistics(backbone, forget, retain)
        choices = self.select(backbone, table, mask)
        deltas = self.rewritten(backbone, choices, generator)
        self._report["seconds"] = round(time.perf_counter() - begin, 3)
        settings = self.settings | {"codes_found": self._report}
        return DeltaEdit(deltas, method=self.name, concept=concept.name, base=fingerprint(backbone), settings=settings)

    # -- choosing ------------------------------------------------------------------------------------------------------
    def statistics(
        self, backbone: MotionBackbone, forget: MotionClips, retain: MotionClips, all_layers: bool = False
    ) -> tuple[CodeTable, NDArray[np.bool_]]:
        """Codes of both sides, and which rows are of the forget side, bool ``(n,)``.

        Layers behind the last of :attr:`layers` are left out where clips are encoded, unless ``all_layers``.

        Raises:
            DataError: the given table lacks one side, or has fewer layers than asked for.
        """
        if self.table is None:
            folder = None if self.cache is None else Path(self.cache)
            count = None if all_layers else max(self.layers) + 1
            parts = [
                encode(backbone, clips, self.batch_size, layers=count, crops=self.crops, folder=folder)
                for clips in (forget, retain)
            ]
            table = parts[0].joined(parts[1])
            return table, np.arange(len(table)) < len(parts[0])
        table = CodeTable.load(self.table)
        masks = {}
        for side, clips in (("forget", forget), ("retain", retain)):
            masks[side] = table.rows_of({*clips.ids, *clips.clip_ids})
            if not masks[side].any():
                raise DataError(f"method.table={self.table}: holds no clip of the {side} side of this data set")
        used = masks["forget"] | masks["retain"]
        log.info("%s: %d of %d rows belong to the two sides", self.table, int(used.sum()), len(table))
        return table.select(used), masks["forget"][used]

    def select(self, backbone: MotionBackbone, table: CodeTable, forget: NDArray[np.bool_]) -> dict[int, Choice]:
        """Choose codes in every layer, and say what they carry; ``forget`` is bool ``(n,)``, a row of the table each.

        Raises:
            ConfigError: a layer that the table does not have, lists that do not fit, or nothing to choose.
        """
        if max(self.layers) >= table.layers:
            raise ConfigError(f"method.layers={list(self.layers)}: there are the layers 0 to {table.layers - 1}")
        size = {len(book) for book in backbone.codebooks().values()}.pop()
        given = None if self.lists is None else self._given_lists(size)
        if int(table.codes.max(initial=NONE)) >= size:
            raise DataError(f"method.table={self.table}: holds code {int(table.codes.max())}; there are {size} codes")
        choices = {}
        for position, layer in enumerate(self.layers):
            counts = usage(table.codes[:, layer], forget, size)
            scores = dict(zip(("log_odds", "z_score"), log_odds(counts, self.prior), strict=True))
            listed = self._ranked(counts, scores[self.ranking]) if given is None else given[position]
            choices[layer] = Choice(listed, scores["log_odds"], counts)
        self._choices, self._report = choices, report(choices)
        for name, facts in self._report["layers"].items():
            shares = [100 * facts[f"{side}_token_share"] for side in ("forget", "retain")]
            line = "layer %s: %d codes carry %.1f%% of the forget and %.1f%% of the retain tokens"
            log.info(line, name, len(set(facts["codes"])), *shares)
        return choices

    def _ranked(self, counts: Usage, scores: Scores) -> list[int]:
        if self.variant == "upstream":
            return published_choice(counts, self.codes)
        least = max(MIN_ROWS, math.ceil(self.min_support * counts.forget_rows))
        listed = best(scores, self.codes, (counts.forget >= least) & (scores > 0))
        if not listed:
            raise ConfigError(
                f"method.min_support={self.min_support}: no code occurs in {least} or more forget clips and more often "
                "there than elsewhere; lower it"
            )
        if len(listed) < self.codes:
            log.warning("only %d codes tell the concept from the rest (asked: %d)", len(listed), self.codes)
        return listed

    def save_findings(self, folder: Path) -> list[Path]:
        """``codes.yaml``, a list per layer as the authors write it, and ``codes.json`` with what the codes carry."""
        lists = [sorted(set(choice.listed)) for choice in self._choices.values()]
        write_bytes(folder / "codes.yaml", yaml.safe_dump(lists, default_flow_style=False).encode())
        write_json(folder / "codes.json", self._report)
        return [folder / "codes.yaml", folder / "codes.json"]
