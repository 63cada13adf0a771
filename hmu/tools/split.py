"""Divide a data set into forget and retain:  ``python -m hmu.tools.split dataset=demo concept=kick``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.documents import write_bytes
from hmu.errors import ConfigError
from hmu.outputs import beside, check_place, claim_files
from hmu.values import Common, Count, Node, Place

if TYPE_CHECKING:
    from hmu.data.concepts import Concept
    from hmu.data.dataset import DatasetSource


class Keys(Common):
    """What ``configs/split.yaml`` holds."""

    concept: Node
    splits: Sequence[str]
    match: Literal["word", "substring"] | None
    min_occurrence: Count | None
    output: Place | None
    audit: bool
    overwrite: bool


def run(config: DictConfig) -> list[Path]:
    """Write lists (and partition and audit) for every split of ``config.splits``; returns the files."""
    from hmu.build import instantiate
    from hmu.workflows.settling import settle_concept

    source: DatasetSource = instantiate(config.dataset)
    concept: Concept = instantiate(settle_concept(config).concept)
    changes = {key: config[key] for key in ("match", "min_occurrence") if config[key] is not None}
    concept = replace(concept, overrides={}, **_without_exceptions(changes))  # those of this data set are settled
    if not len(config.splits):
        raise ConfigError("splits=[]: expected at least one split, [train_val,test]")
    folder = Path(config.output) if config.output else source.split_root() / "kw_splits"
    check_place(folder / "x", "output")
    with beside(folder) as work:
        lines = [
            line for split in config.splits for line in divide(source, split, concept, work, folder, audit=config.audit)
        ]
        files = publish(work, folder, overwrite=config.overwrite)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return files


def publish(work: Path, folder: Path, *, overwrite: bool) -> list[Path]:
    """Move the files of ``work`` into ``folder``, all or none; those that are equal there already stay."""
    names = sorted(path.name for path in work.iterdir())
    differ = [n for n in names if not (folder / n).is_file() or (folder / n).read_bytes() != (work / n).read_bytes()]
    place = claim_files([folder / name for name in differ], "output", "split", overwrite=overwrite) if differ else None
    if place is not None:
        place.begin(differ)
        for name in differ:
            os.replace(work / name, folder / name)
        place.finish()
    return [folder / name for name in names]


def _without_exceptions(changes: dict[str, Any]) -> dict[str, Any]:
    """The published rule knows no exceptions."""
    return changes | {"exceptions": ()} if changes.get("match") == "substring" else changes


def divide(
    source: DatasetSource, split: str, concept: Concept, work: Path, folder: Path, *, audit: bool = True
) -> list[str]:
    """Write the lists of one split into the empty folder ``work``, with partition and audit.

    Returns a line about each file for a person, by its later place in ``folder``.
    """
    from hmu.data.divide import partition_by_concept, published_lists
    from hmu.data.partition import list_paths
    from hmu.data.published_split import id_list
    from hmu.data.soundness import by_kind, counted

    stem = f"{split.replace('+', '_')}-{concept.name}"
    lines: list[str] = []
    partition = partition_by_concept(source, split, concept) if audit or concept.match == "word" else None
    if partition is None or concept.match == "substring":
        sides = published_lists(source, split, concept)
    else:
        sides = id_list(partition.forget), id_list(partition.retain)
    for path, content in zip(list_paths(work, split, concept.name), sides, strict=True):
        write_bytes(path, content)
        lines.append(f"{folder / path.name}: {content.count(10)} ids")
    if partition is not None and partition.skipped:
        lines.append(f"{split}: never read, so on neither side: {counted(by_kind(partition.skipped))}")
    if audit and partition is not None:
        partition.save(work / f"partition-{stem}.json")
        name = partition.save_audit(work / f"audit-{stem}.csv").name
        lines.append(f"{folder / name}: why, clip by clip ({len(partition.neighbours)} near ones are marked)")
    return lines


if __name__ == "__main__":
    main("split", run, Keys, sweeps=False)
