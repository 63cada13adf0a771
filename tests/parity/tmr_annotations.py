"""The authors' annotation files: which sub-clip each caption describes, and which clips a split really holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hmu.documents import read_json, read_lines
from hmu.errors import DataError, shown
from hmu.evaluators.tmr.tables import stored_array, stored_index
from hmu.text.precomputed import PrecomputedTextEncoder

SHORTEST, LONGEST = 2.0, 10.0  # seconds


@dataclass(frozen=True)
class Segment:
    """A caption and the part of the clip it describes, in seconds."""

    text: str
    start: float
    end: float

    def frames(self, fps: float) -> slice:
        """The described frames (both ends cut to whole frames, as published)."""
        return slice(int(self.start * fps), int(self.end * fps))


@dataclass(frozen=True)
class Clip:
    """One clip: feature file (without ending, relative to the motion folder), seconds, captions."""

    path: str
    duration: float
    segments: tuple[Segment, ...]


def read_annotations(folder: str | Path) -> dict[str, Clip]:
    """``annotations.json`` by key id; DataError if it is missing or broken."""
    path = Path(folder) / "annotations.json"
    stored = read_json(path)
    try:
        return {
            key: Clip(
                item["path"],
                float(item["duration"]),
                tuple(Segment(a["text"], float(a["start"]), float(a["end"])) for a in item["annotations"]),
            )
            for key, item in stored.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no annotations of TMR ({shown(error)}); download its annotations again") from error


def read_split(folder: str | Path, split: str) -> list[str]:
    """The ids of ``splits/<split>.txt``, as listed; DataError if it is missing."""
    path = Path(folder) / "splits" / f"{split}.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such split of TMR")
    return [line.strip() for line in read_lines(path) if line.strip()]


def usable(annotations: Mapping[str, Clip], ids: Sequence[str], split: str) -> dict[str, tuple[Segment, ...]]:
    """What the published data set holds: ids with an annotation, and their captions of 2 to 10 seconds.

    Splits whose name contains ``test`` are not filtered by duration.
    """
    known = {key: annotations[key].segments for key in ids if key in annotations}
    if "test" not in split:
        known = {k: tuple(s for s in found if SHORTEST <= s.end - s.start <= LONGEST) for k, found in known.items()}
    return {key: found for key, found in known.items() if found}


def sentence_table(
    folder: str | Path, model: str = "sentence-transformers/all-mpnet-base-v2"
) -> PrecomputedTextEncoder:
    """Sentence embeddings of exactly the stored texts, as ``pooled``; see :func:`token_table`."""
    stem = Path(folder) / "sent_embeddings" / model
    table, index = torch.from_numpy(stored_array(f"{stem}.npy")), stored_index(f"{stem}_index.json")
    return PrecomputedTextEncoder(
        {text: table[row][None] for text, row in index.items()}, {text: table[row] for text, row in index.items()}
    )
