"""Divide a data set into forget and retain:  ``python -m hmu.tools.split dataset=demo concept=kick``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hmu.app import main

if TYPE_CHECKING:
    from hmu.data.concepts import Concept
    from hmu.data.dataset import DatasetSource


def run(config: DictConfig) -> list[Path]:
    """Write lists (and partition and audit) for every split of ``config.splits``; returns the files."""
    from hydra.utils import instantiate

    source: DatasetSource = instantiate(config.dataset)
    concept: Concept = instantiate(config.concept).for_dataset(source.name)
    changes = {key: config[key] for key in ("match", "min_occurrence") if config[key] is not None}
    concept = replace(concept, **_without_exceptions(changes))
    written: list[Path] = []
    for split in config.splits:
        folder = Path(config.output) if config.output else source.split_root() / "kw_splits"
        written += divide(source, split, concept, folder, audit=config.audit, overwrite=config.overwrite)
    return written


def _without_exceptions(changes: dict[str, Any]) -> dict[str, Any]:
    """The published rule knows no exceptions."""
    return changes | {"exceptions": ()} if changes.get("match") == "substring" else changes


def divide(
    source: DatasetSource, split: str, concept: Concept, folder: Path, *, audit: bool = True, overwrite: bool = False
) -> list[Path]:
    """Write the lists of one split into ``folder``, with partition and audit beside them; returns the files.

    Raises:
        DataError: an empty side, a broken data set, or lists that exist and differ.
    """
    from hmu.data.partition import partition_by_concept, published_lists
    from hmu.data.sides import list_paths, save_list
    from hmu.data.soundness import by_kind, told

    files: list[Path] = []
    stem = f"{split.replace('+', '_')}-{concept.name}"
    partition = partition_by_concept(source, split, concept) if audit or concept.match == "word" else None
    if concept.match == "substring":
        sides = published_lists(source, split, concept)
        for path, content in zip(list_paths(folder, split, concept.name), sides, strict=True):
            files.append(save_list(path, content, overwrite=overwrite))
            sys.stdout.write(f"{path}: {content.count(10)} ids\n")
    elif partition is not None:
        files += partition.save_lists(folder, overwrite=overwrite)
        for path, ids in zip(files, (partition.forget, partition.retain), strict=True):
            sys.stdout.write(f"{path}: {len(ids)} ids\n")
    if partition is not None and partition.skipped:
        sys.stdout.write(f"{split}: never read, so on neither side: {told(by_kind(partition.skipped))}\n")
    if audit and partition is not None:
        files += [partition.save(folder / f"partition-{stem}.json"), partition.save_audit(folder / f"audit-{stem}.csv")]
        sys.stdout.write(f"{files[-1]}: why, clip by clip ({len(partition.neighbours)} near ones are marked)\n")
    return files


if __name__ == "__main__":
    main("split", run)
