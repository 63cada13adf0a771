"""Search a gallery for generated motions and score the concept:  ``python -m hmu.tools.retrieve records=…``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.errors import DataError
from hmu.outputs import claim_files, refresh
from hmu.values import Common, Count, Node, Place

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class Keys(Common):
    """What ``configs/retrieve.yaml`` holds."""

    concept: Node
    evaluator: Node
    records: Place
    out: Place | None
    overwrite: bool
    gallery: str
    top: Count
    exclude_self: bool
    match: Literal["word", "substring"] | None
    batch_size: Count


def run(config: DictConfig) -> dict[str, float]:
    """Add ``retrieval`` to every record, write them in the published form, and return the NCS table."""
    from hmu.evaluation.embedding import embed
    from hmu.evaluation.gallery import build_gallery, searched_by
    from hmu.metrics.motion_search import search
    from hmu.metrics.ncs import ncs_compute, read_records, write_records
    from hmu.workflows.job import Job

    path = Path(config.records)
    out = path if config.out is None else Path(config.out)
    place = None if out == path else claim_files([out], "out", "retrieve", overwrite=config.overwrite)
    heading, records = read_records(path)
    job = Job(config)
    source, concept = job.source, job.concept
    evaluator = searched_by(job.evaluator)
    gallery = build_gallery(source, str(config.gallery), evaluator, job.cache / "galleries")
    motion, lengths = read_motions(records, path.parent, source.features)
    own = [str(record["name"]) for record in records] if config.exclude_self else None
    retrieved = search(embed(evaluator, motion, lengths, int(config.batch_size)), gallery, int(config.top), own)
    for record, hits in zip(records, retrieved, strict=True):
        record["retrieval"] = [hit.to_json() for hit in hits]
    named = {"dataset_name": source.name, "ckpt": "", "split": "", **heading, "gallery": str(config.gallery)}
    if place is None:  # adding to the records is what was asked for
        write_records(out, records, **named)
        refresh(out)
    else:
        place.begin([out.name])
        write_records(out, records, **named)
        place.finish()
    substring = (concept.match if config.match is None else config.match) == "substring"
    scores = ncs_compute(records, tuple(concept.keywords) if substring else concept.find)
    sys.stdout.write("".join(f"{name:18s} {value:8.3f}\n" for name, value in scores.items()))
    log.info("wrote %d records with %d answers each to %s", len(records), int(config.top), out)
    return scores


def read_motions(records: Sequence[Mapping[str, Any]], folder: Path, features: int) -> tuple[Tensor, Tensor]:
    """Features of all records ``(records, frames, features)``, zero padded, and their lengths ``(records,)``.

    Files are named by ``feats_path`` (published) or ``files.features`` (ours), relative to ``folder``; DataError where
    one is missing, of another shape, or not of finite numbers.
    """
    import numpy as np
    import torch

    from hmu.checkpoints.arrays import load_array

    parts = []
    for number, record in enumerate(records):
        name = record.get("feats_path") or dict(record.get("files") or {}).get("features")
        if not name:
            raise DataError(f"record {number} names no motion: expected feats_path, or files.features")
        path = folder / str(name)
        try:
            motion = load_array(path).astype(np.float32)
        except (FileNotFoundError, ValueError) as error:
            raise DataError(f"{path}: missing or no plain .npy array of features ({error})") from error
        if motion.ndim != 2 or motion.shape[1] != features or not len(motion):
            raise DataError(f"{path}: shape {motion.shape}, expected (frames, {features})")
        if not np.isfinite(motion).all():
            raise DataError(f"{path}: holds NaN or infinite values, which no clip is like; generate the motion again")
        parts.append(torch.from_numpy(motion))
    lengths = torch.tensor([len(part) for part in parts])
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True), lengths


if __name__ == "__main__":
    main("retrieve", run, Keys, sweeps=False)
