"""BVH files and captions to a HumanML3D data set.

``python -m hmu.tools.import_bvh source=<folder or .tar.xz> captions=<csv> target=<folder> [mapping=bandai_pelvis44]``

The target holds ``new_joint_vecs/`` (features), ``new_joints/`` (the resized joints those features decode to, as
published), ``joints/`` (every file's joints before resizing, uncut: source bone lengths, metres, y up, 20 fps),
``texts/``, the split lists, ``Mean.npy``, ``Std.npy`` and ``import.json`` (what was done, and every file left out with
its reason). It appears complete or not at all: the work happens in a folder beside it that is renamed at the end. An
import that is replaced (``overwrite=true``) gives up the files that it wrote; others that lie in its folder stay
(:mod:`hmu.outputs`).
``docs/data/bvh.md`` says what is found out about the files and how to say otherwise.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.errors import ConfigError, DataError
from hmu.motion.mapping import load_mapping, mapping_file
from hmu.outputs import beside, claim_folder
from hmu.tools.importing.sources import Collection, hashed_splits, read_splits, write_splits
from hmu.tools.importing.summary import Summary
from hmu.values import Count, Place, Positive, declared
from hmu.values import Keys as Declared

log = logging.getLogger(__name__)


class Keys(Declared):
    """What ``configs/import_bvh.yaml`` holds."""

    source: Place
    captions: Place | None
    texts: Place | None
    mapping: Place
    splits: Place | None
    fps: Annotated[float, ">= 0.1, <= 1000"]
    source_fps: Annotated[float, ">= 0.1, <= 10000"] | None
    first_frame: Literal["auto", "keep", "drop"]
    up: Literal["auto", "y", "z", "x", "-y", "-z", "-x"]
    unit: Literal["auto"] | Positive
    windows: Literal["sliding", "none"]
    stride: Annotated[int, ">= 1, <= 196"] | None
    target_skeleton: str | None
    facing: Literal["upstream", "true", True]
    statistics: Literal["train", "all"]
    target: Place
    workers: Count
    overwrite: bool


def run(config: DictConfig) -> Summary:
    """Import one collection; returns what was written and what was left out.

    Raises:
        ConfigError: unknown mapping, captions and texts both missing, or an existing target.
        DataError: unreadable source, captions, texts or splits, or nothing that could be imported.
    """
    source, target = Path(config.source), Path(config.target)
    if target.resolve() == source.resolve() or target.resolve() in source.resolve().parents:
        raise ConfigError(f"target '{target}' holds the source: choose another folder")
    place = claim_folder(target, "target", "import_bvh", overwrite=config.overwrite)
    _check(config)
    collection = Collection.read(config)
    mapping = load_mapping(config.mapping)
    from hmu.tools.importing.collection import Conversion  # imports torch

    with beside(target) as work:
        summary = Conversion(config, collection, mapping, work).run()
        _finish(config, work, summary)
        place.replace_with(work)
    for line in [f"{target}:", *summary.lines(cut=config.windows == "sliding")]:
        sys.stdout.write(line + "\n")
    return summary


def _check(config: DictConfig) -> None:
    """What can be said before anything is read."""
    if config.captions is None and config.texts is None:
        raise ConfigError("give captions=<csv>, or texts=<folder or archive of ready-made text files>")
    mapping_file(config.mapping)
    if config.splits is not None:
        read_splits(Path(config.splits), {})  # said now, needed at the end


def _finish(config: DictConfig, work: Path, summary: Summary) -> None:
    """Split lists, statistics and the import record."""
    import numpy as np

    from hmu.motion.statistics import motion_statistics

    if not summary.clips:
        (reason, count), *_ = Counter(summary.skipped.values()).most_common(1)
        example = next(name for name, why in summary.skipped.items() if why == reason)
        raise DataError(f"nothing could be imported; {count} of {len(summary.skipped)} files ({example}, …): {reason}")
    everything = sorted(summary.written)
    lists = _splits(config, summary)
    write_splits(work, lists, everything)
    used = lists["train"] if config.statistics == "train" and lists["train"] else everything
    mean, std = motion_statistics(np.load(work / "new_joint_vecs" / f"{name}.npy") for name in used)
    np.save(work / "Mean.npy", mean.astype(np.float32))
    np.save(work / "Std.npy", std.astype(np.float32))
    settings = [key for key in declared(Keys) if key not in ("target", "workers", "overwrite")]
    record = {key: config[key] for key in settings} | summary.record()
    record["split_sizes"] = {name: len(ids) for name, ids in lists.items()}
    (work / "import.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8", newline="\n")


def _splits(config: DictConfig, summary: Summary) -> dict[str, list[str]]:
    """The split lists. The windows of a take stay together: they are no independent samples."""
    clips = summary.clips
    if config.splits is None:
        return {split: [c for take in ids for c in clips[take]] for split, ids in hashed_splits(sorted(clips)).items()}
    known = {clip: [clip] for clip in summary.written} | clips
    lists, missing = read_splits(Path(config.splits), known)
    unlisted = len(summary.written) - sum(len(ids) for ids in lists.values())
    if missing or unlisted:
        log.warning("splits: %d listed clips were not imported, %d imported clips are in no list", missing, unlisted)
    return lists


if __name__ == "__main__":
    main("import_bvh", run, Keys, sweeps=False)
