"""Who forgets and who is kept: dividing a data set by a concept, or by existing lists."""

from __future__ import annotations

import difflib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.files import clip_id, composed, id_problem
from hmu.data.partition import Partition
from hmu.data.published_split import id_list, keyword_split
from hmu.data.soundness import by_kind, counted, few
from hmu.documents import read_bytes, read_lines, read_text
from hmu.errors import DataError, shown

log = logging.getLogger(__name__)
COMMON = frozenset("a an the and then with his her their its of to in on at is are as he she they from by".split())  # noqa: SIM905
LONG_WORD = r"[^\W\d_]{3,}"


def partition_by_concept(
    source: DatasetSource, split: str, concept: Concept, *, neighbours: Mapping[str, Concept] | None = None
) -> Partition:
    """Divide ``split`` (or several, ``a+b``) by the captions; DataError if one side is empty.

    Args:
        concept: as it is on this data set (:meth:`Concept.for_dataset`).
        neighbours: full concepts for neighbour names, where known; other names are taken as keywords.
    """
    ids = source.usable_ids(split)
    lines, reasons = _find(source, ids, concept)
    forget = list(lines)
    if concept.match == "substring" and "+" not in split and source.split_file(split).is_file():
        forget, retain = _published_sides(source, split, concept)
    else:
        retain = [clip for clip in ids if clip not in lines]
    near = _neighbours(source, retain, concept, neighbours or {})
    partition = Partition(
        concept.name, source.name, split, tuple(forget), tuple(retain),
        {clip: reasons[clip] for clip in forget if clip in reasons} | near,
        f"{concept.match}, {concept.min_occurrence} line(s): {', '.join(concept.keywords)}",
        tuple(clip for clip in retain if clip in near), {clip: lines[clip] for clip in forget if clip in lines},
        source.skipped(split),
    )  # fmt: skip
    _refuse_empty(partition, source, concept)
    log.info("'%s' on %s: %s, %d near", concept.name, split, partition.counts, len(near))
    return partition


def _find(source: DatasetSource, ids: Iterable[str], concept: Concept) -> tuple[dict[str, str], dict[str, str]]:
    """Of the clips that match often enough, in order: the first matching line, and the reason in words."""
    lines: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for clip in ids:
        hits = [
            (word, n, line) for n, line in enumerate(source.caption_lines(clip)) if (word := concept.find_line(line))
        ]
        if len(hits) < concept.min_occurrence:
            continue
        word, number, line = hits[0]
        lines[clip] = line.strip()
        more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
        reasons[clip] = f"'{word}' in line {number + 1}{more}"
    return lines, reasons


def _published_sides(source: DatasetSource, split: str, concept: Concept) -> tuple[list[str], list[str]]:
    """The published lists, without the ids that are never read here."""

    def read(clip: str) -> bytes | None:
        number = source.clip_number.get(composed(clip))
        return None if number is None else source.pack.raw_text(number)

    listing = read_bytes(source.split_file(split))
    sides = keyword_split(listing, read, concept.substring_pattern, concept.min_occurrence)
    forget, retain = ([c for c in dict.fromkeys(map(composed, side)) if c in source.used_ids] for side in sides)
    return forget, retain


def published_lists(source: DatasetSource, split: str, concept: Concept) -> tuple[bytes, bytes]:
    """The two published files for ``split``, byte for byte, straight from the files on disk (no clip is checked).

    DataError if the split file is missing or no text, or the concept does not use the published rule.
    """
    if concept.match != "substring":
        raise DataError(
            f"concept '{concept.name}' uses match: {concept.match}; the published lists need match: substring"
        )
    path = source.split_root() / f"{split}.txt"
    if not path.is_file():
        raise DataError(f"data set '{source.name}': no split file {path}")
    read_text(path)  # a list in another encoding names nothing, and would make all of it retain

    def read(clip: str) -> bytes | None:
        try:
            return None if id_problem(clip.strip()) else read_bytes(source.text_file(clip))
        except DataError:
            return None

    forget, retain = keyword_split(read_bytes(path), read, concept.substring_pattern, concept.min_occurrence)
    return id_list(forget), id_list(retain)


def _neighbours(
    source: DatasetSource, retain: Sequence[str], concept: Concept, known: Mapping[str, Concept]
) -> dict[str, str]:
    """Retain clips that match a neighbour, with the reason."""
    near: dict[str, str] = {}
    for name in concept.neighbours:
        neighbour = replace(known.get(name, Concept("neighbour", [name])), min_occurrence=1)
        _, reasons = _find(source, (clip for clip in retain if clip not in near), neighbour)
        near |= {clip: f"neighbour {name}: {reason}" for clip, reason in reasons.items()}
    return near


def _refuse_empty(partition: Partition, source: DatasetSource, concept: Concept) -> None:
    where = f"concept '{concept.name}' on {source.name}, split '{partition.split}'"
    unread = f"; never read: {counted(by_kind(partition.skipped))}" if partition.skipped else ""
    if not partition.forget:
        close = _nearest_words(source, partition.retain, concept)
        hint = f"; words in its captions that come close: {', '.join(close)}" if close else ""
        raise DataError(f"{where}: no clip matches the keywords {few(concept.keywords)}{hint}{unread}")
    if not partition.retain:
        raise DataError(
            f"{where}: every one of the {len(partition.forget)} clips matches; use narrower keywords{unread}"
        )


def _nearest_words(source: DatasetSource, ids: Sequence[str], concept: Concept) -> list[str]:
    """Frequent caption words that look like the keywords, else simply the most frequent ones."""
    words: Counter[str] = Counter()
    for clip in ids[:5000]:
        for line in source.caption_lines(clip):
            words.update(re.findall(LONG_WORD, line.split("#")[0].lower()))
    frequent = [word for word, _ in words.most_common(3000) if word not in COMMON]
    keywords = re.findall(LONG_WORD, " ".join(concept.keywords).lower())
    close = [match for word in keywords for match in difflib.get_close_matches(word, frequent, n=3, cutoff=0.6)]
    return list(dict.fromkeys(close or frequent))[:6]


def partition_from_files(
    source: DatasetSource, split: str, forget_file: Path, retain_file: Path, name: str = "files"
) -> Partition:
    """Take both sides of ``split`` from existing lists of ids, which may hold those of other splits too.

    DataError as :func:`listed_sides`, or where a side has no clip of ``split`` that is read.
    """
    sides = listed_sides(source, forget_file, retain_file)
    members, skipped = set(source.split_ids(split)), source.skipped(split)
    here = [[clip for clip in side if clip in members] for side in sides]
    left_out = {clip: skipped[clip] for side in here for clip in side if clip in skipped}
    forget, retain = (tuple(clip for clip in side if clip not in left_out) for side in here)
    for key, side, listed, used in zip(("forget_file", "retain_file"), sides, here, (forget, retain), strict=True):
        if not used:
            why = "is in it" if not listed else f"is ever read ({shown(listed[0], 30)}: {left_out[listed[0]]})"
            raise DataError(f"{key} on {source.name}, split '{split}': none of its {len(side)} clips {why}")
    if left_out:
        log.warning("of the listed clips %d are never read: %s", len(left_out), counted(by_kind(left_out)))
    reasons = dict.fromkeys(forget, f"listed in {Path(forget_file).name}")
    return Partition(name, source.name, split, forget, retain, reasons, "files", skipped=left_out)


def listed_sides(source: DatasetSource, forget_file: Path, retain_file: Path) -> tuple[list[str], list[str]]:
    """The ids of both lists, of whatever split; DataError for no list, or a clip on both sides or in no split."""
    forget, retain = _read_ids(Path(forget_file), "forget_file"), _read_ids(Path(retain_file), "retain_file")
    both = sorted(set(forget) & set(retain))
    if both:
        raise DataError(f"{forget_file} and {retain_file} share {len(both)} id(s): {few(both)}")
    unknown = [clip for clip in (*forget, *retain) if clip not in source.all_ids]
    if unknown:
        raise DataError(
            f"{len(unknown)} id(s) of forget_file and retain_file are in no split of {source.name} "
            f"({', '.join(source.splits)}): {few(unknown)}"
        )
    return forget, retain


def _read_ids(path: Path, key: str) -> list[str]:
    if not path.exists():
        raise DataError(f"{key}: no file {path}; expected one clip id a line")
    ids = list(dict.fromkeys(map(clip_id, read_lines(path))))
    if not ids:
        raise DataError(f"{key}: {path} is empty; expected one clip id a line")
    return ids


# -- keyword clips that do not look like the concept move to the retain side (HMU's refinement by motion retrieval) ---
def namer(concept: Concept) -> Callable[[str], object]:
    """Whether a retrieved caption names the concept: its words, or the published pattern, which here ignores case."""
    if concept.match == "substring":
        return re.compile(concept.substring_pattern.pattern, re.IGNORECASE).search
    return concept.find


def refine_by_retrieval(
    partition: Partition, records: Sequence[Mapping[str, Any]], names: Callable[[str], object], least: int = 8
) -> Partition:
    """Keep on the forget side clips of which at least ``least`` motions are answered with the concept (published 8).

    A motion counts if any description retrieved for it is named. The other keyword clips are appended to the retain
    side, those without any counting motion too (the published script loses them); the reasons tell the counts.

    Args:
        records: each with ``name`` (a clip of the forget side) and ``retrieval`` (``[{"description": ...}, ...]``).
        names: see :func:`namer`.

    Raises:
        DataError: a record of a clip that is not on the forget side, or no clip is left there.
    """
    total, counting = dict.fromkeys(partition.forget, 0), dict.fromkeys(partition.forget, 0)
    for record in records:
        name = str(record["name"])
        if name not in total:
            raise DataError(f"retrieval record of '{name}', which is not on the forget side of '{partition.concept}'")
        total[name] += 1
        counting[name] += any(names(str(match["description"])) for match in record["retrieval"])
    forget = tuple(clip for clip in partition.forget if counting[clip] >= least)
    moved = tuple(clip for clip in partition.forget if counting[clip] < least)
    if not forget:
        most = max(counting.values(), default=0)
        raise DataError(
            f"refine: no keyword clip of '{partition.concept}' has {least} motions that look like it (the most is "
            f"{most}); lower refine.least, or raise refine.top or refine.repeats"
        )
    reasons = dict(partition.reasons)
    for clip in partition.forget:
        share = f"{counting[clip]} of {total[clip]} motions look like it"
        verdict = share if clip in forget else f"kept: only {share}, {least} needed"
        reasons[clip] = f"{reasons.get(clip, 'keyword')}; {verdict}"
    rule = f"{partition.rule}; retrieval: at least {least}"
    return replace(partition, forget=forget, retain=partition.retain + moved, reasons=reasons, rule=rule)
