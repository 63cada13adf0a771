"""The two sides of a data set, and the files that record them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hmu.documents import read_json, write_bytes
from hmu.errors import DataError, shown
from hmu.escaping import csv_cell


@dataclass(frozen=True)
class Partition:
    """The two sides of a data set for one concept.

    Attributes:
        split: which split(s) were divided, e.g. ``train`` or ``train+val``.
        forget, retain: clip ids in the order of the split file; disjoint.
        reasons: why a clip is on its side; retain clips without an entry simply do not match.
        rule: ``word``, ``substring`` or ``files``, with its settings.
        neighbours: retain clips that match one of the concept's neighbours.
        lines: for the audit: the caption line that matched, per forget clip.
        skipped: clips of the split that are never read, with the reason; they are on neither side.
    """

    concept: str
    dataset: str
    split: str
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    rule: str = "word"
    neighbours: tuple[str, ...] = ()
    lines: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of who is on which side; every number computed with this partition carries it."""
        digest = hashlib.sha256()
        for side in (self.forget, self.retain):
            digest.update(json.dumps(sorted(side)).encode())
        return digest.hexdigest()

    @property
    def counts(self) -> str:
        """``7 forget, 20 retain`` and, where there are any, ``, 3 skipped``."""
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{len(self.forget)} forget, {len(self.retain)} retain{skipped}"

    def to_json(self) -> dict[str, Any]:
        """Everything but the audit lines, with the hash."""
        return {
            "concept": self.concept, "dataset": self.dataset, "split": self.split, "rule": self.rule, "hash": self.hash,
            "forget": list(self.forget), "retain": list(self.retain), "neighbours": list(self.neighbours),
            "reasons": dict(self.reasons), "skipped": dict(self.skipped),
        }  # fmt: skip

    def save(self, path: Path) -> Path:
        """Write ``partition.json``."""
        write_bytes(path, json.dumps(self.to_json(), indent=1).encode())
        return path

    @classmethod
    def load(cls, path: Path) -> Partition:
        """Read ``partition.json``; DataError if it is missing, broken, or its hash does not fit its ids."""
        try:
            content = read_json(path)
            partition = cls(
                content["concept"], content["dataset"], content["split"], tuple(content["forget"]),
                tuple(content["retain"]), content["reasons"], content["rule"], tuple(content["neighbours"]),
                skipped=content.get("skipped", {}),  # older files have none
            )  # fmt: skip
            intact = content.get("hash") == partition.hash  # cannot be sorted where ids are no texts
            if not isinstance(partition.reasons, dict) or not isinstance(partition.skipped, dict):
                raise TypeError("reasons and skipped must be mappings")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is no partition: {type(error).__name__}: {shown(error, 120)}") from error
        if not intact:
            raise DataError(f"{path}: the hash does not fit the ids; the file was changed by hand")
        return partition

    def save_audit(self, path: Path) -> Path:
        """Write the audit: one row per clip, ``id, side, reason, caption line``."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["id", "side", "neighbour", "reason", "line"])
        near = set(self.neighbours)
        for side, ids in (("forget", self.forget), ("retain", self.retain)):
            for clip in ids:
                row = [clip, side, int(clip in near), self.reasons.get(clip, "no match"), self.lines.get(clip, "")]
                writer.writerow(map(csv_cell, row))
        writer.writerows([csv_cell(clip), "skipped", 0, csv_cell(why), ""] for clip, why in self.skipped.items())
        write_bytes(path, buffer.getvalue().encode("utf-8", errors="replace"))
        return path


def list_paths(folder: Path, split: str, concept: str) -> tuple[Path, Path]:
    """Published file names of the forget (``-w-``) and retain (``-wo-``) lists."""
    split = split.replace("+", "_")
    return folder / f"{split}-w-{concept}.txt", folder / f"{split}-wo-{concept}.txt"
