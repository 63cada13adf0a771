"""Who forgets and who is kept: dividing a data set by a concept, or by existing lists."""

from __future__ import annotations

import difflib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.published_split import id_list, keyword_split
from hmu.data.sides import Partition
from hmu.errors import DataError

__all__ = ["Partition", "partition_by_concept", "partition_from_files", "published_lists"]

log = logging.getLogger(__name__)
COMMON = frozenset("a an the and then with his her their its of to in on at is are as he she they from by".split())  # noqa: SIM905


def partition_by_concept(
    source: DatasetSource,
    split: str | Sequence[str],
    concept: Concept,
    *,
    neighbours: Mapping[str, Concept] | None = None,
) -> Partition:
    """Divide ``split`` by the captions.

    Args:
        source: the data set.
        split: a split, ``a+b``, or several.
        concept: overrides for this data set are applied here.
        neighbours: full concepts for neighbour names, where known; other names are taken as keywords.

    Raises:
        DataError: if one side is empty.
    """
    split = split if isinstance(split, str) else "+".join(split)
    concept = concept.for_dataset(source.name)
    ids = [clip for clip in source.split_ids(split) if clip in source.clip_number]
    forget, lines, reasons = _find(source, ids, concept)
    if concept.match == "substring" and "+" not in split and source.split_file(split).is_file():
        forget, retain = _published_sides(source, split, concept)
    else:
        members = set(forget)
        retain = [clip for clip in ids if clip not in members]
    near = _neighbours(source, retain, concept, neighbours or {})
    partition = Partition(
        concept.name, source.name, split, tuple(forget), tuple(retain),
        {clip: reasons[clip] for clip in forget if clip in reasons} | near,
        f"{concept.match}, {concept.min_occurrence} line(s): {', '.join(concept.keywords)}",
        tuple(clip for clip in retain if clip in near), {clip: lines[clip] for clip in forget if clip in lines},
    )  # fmt: skip
    _refuse_empty(partition, source, concept)
    log.info("'%s' on %s: %d forget, %d retain, %d near", concept.name, split, len(forget), len(retain), len(near))
    return partition


def _find(
    source: DatasetSource, ids: Iterable[str], concept: Concept
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Clips that match often enough, the first matching line of each, and the reason in words."""
    found: list[str] = []
    lines: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for clip in ids:
        hits = [
            (word, n, line) for n, line in enumerate(source.caption_lines(clip)) if (word := concept.find_line(line))
        ]
        if len(hits) < concept.min_occurrence:
            continue
        word, number, line = hits[0]
        found.append(clip)
        lines[clip] = line.strip()
        more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
        reasons[clip] = f"'{word}' in line {number + 1}{more}"
    return found, lines, reasons


def _published_sides(source: DatasetSource, split: str, concept: Concept) -> tuple[list[str], list[str]]:
    """The published lists, without the ids this data set does not hold (there they would be counted and never read)."""

    def read(clip: str) -> bytes | None:
        number = source.clip_number.get(clip)
        return None if number is None else source.pack.raw_text(number)

    listing = source.split_file(split).read_bytes()
    sides = keyword_split(listing, read, concept.substring_pattern, concept.min_occurrence)
    forget, retain = ([c for c in dict.fromkeys(side) if c in source.clip_number] for side in sides)
    return forget, retain


def published_lists(source: DatasetSource, split: str, concept: Concept) -> tuple[bytes, bytes]:
    """The two published files for ``split``, byte for byte, straight from the files on disk (no clip is checked).

    Raises:
        DataError: if the split file is missing or the concept does not use the published rule.
    """
    concept = concept.for_dataset(source.name)
    if concept.match != "substring":
        raise DataError(
            f"concept '{concept.name}' uses match: {concept.match}; the published lists need match: substring"
        )
    path = source.split_root() / f"{split}.txt"
    if not path.is_file():
        raise DataError(f"data set '{source.name}': no split file {path}")

    def read(clip: str) -> bytes | None:
        try:
            return source.text_file(clip).read_bytes()
        except (OSError, ValueError):
            return None

    forget, retain = keyword_split(path.read_bytes(), read, concept.substring_pattern, concept.min_occurrence)
    return id_list(forget), id_list(retain)


def _neighbours(
    source: DatasetSource, retain: Sequence[str], concept: Concept, known: Mapping[str, Concept]
) -> dict[str, str]:
    """Retain clips that match a neighbour, with the reason."""
    found: dict[str, str] = {}
    for name in concept.neighbours:
        near = known[name].for_dataset(source.name) if name in known else Concept("neighbour", [name])
        ids, _, reasons = _find(source, (clip for clip in retain if clip not in found), replace(near, min_occurrence=1))
        found |= {clip: f"neighbour {name}: {reasons[clip]}" for clip in ids}
    return found


def _refuse_empty(partition: Partition, source: DatasetSource, concept: Concept) -> None:
    where = f"concept '{concept.name}' on {source.name}, split '{partition.split}'"
    if not partition.forget:
        close = _nearest_words(source, partition.retain, concept)
        hint = f"; words in its captions that come close: {', '.join(close)}" if close else ""
        raise DataError(f"{where}: no clip matches the keywords {', '.join(concept.keywords)}{hint}")
    if not partition.retain:
        raise DataError(f"{where}: every one of the {len(partition.forget)} clips matches; use narrower keywords")


def _nearest_words(source: DatasetSource, ids: Sequence[str], concept: Concept, count: int = 6) -> list[str]:
    """Frequent caption words that look like the keywords, else simply the most frequent ones."""
    words: Counter[str] = Counter()
    for clip in ids[:5000]:
        for line in source.caption_lines(clip):
            words.update(re.findall(r"[a-z]{3,}", line.split("#")[0].lower()))
    frequent = [word for word, _ in words.most_common(3000) if word not in COMMON]
    wanted = [word for key in concept.keywords for word in re.findall(r"[a-z]{3,}", key.lower())]
    close = [match for word in wanted for match in difflib.get_close_matches(word, frequent, n=3, cutoff=0.6)]
    return list(dict.fromkeys(close or frequent))[:count]


def partition_from_files(
    source: DatasetSource, split: str | Sequence[str], forget_file: Path, retain_file: Path, name: str = "files"
) -> Partition:
    """Take both sides from existing lists of ids.

    Raises:
        DataError: a file is missing or empty, a clip is on both sides, or an id is not part of ``split``.
    """
    split = split if isinstance(split, str) else "+".join(split)
    sides = [_read_ids(Path(path), key) for path, key in ((forget_file, "forget_file"), (retain_file, "retain_file"))]
    both = sorted(set(sides[0]) & set(sides[1]))
    if both:
        raise DataError(f"{forget_file} and {retain_file} share {len(both)} id(s): {', '.join(both[:6])}")
    known = set(source.split_ids(split))
    unknown = [clip for side in sides for clip in side if clip not in known]
    if unknown:
        raise DataError(
            f"{len(unknown)} id(s) of forget_file and retain_file are not in split '{split}' of {source.name}: "
            f"{', '.join(unknown[:6])}"
        )
    forget, retain = (tuple(clip for clip in side if clip in source.clip_number) for side in sides)
    if not forget or not retain:
        raise DataError(f"{forget_file if not forget else retain_file}: none of its clips can be read in {source.name}")
    reasons = dict.fromkeys(forget, f"listed in {Path(forget_file).name}")
    return Partition(name, source.name, split, forget, retain, reasons, "files")


def _read_ids(path: Path, key: str) -> list[str]:
    if not path.is_file():
        raise DataError(f"{key}: no file {path}; expected one clip id a line")
    ids = list(
        dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    )
    if not ids:
        raise DataError(f"{key}: {path} is empty; expected one clip id a line")
    return ids
