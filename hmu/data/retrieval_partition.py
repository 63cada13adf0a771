"""Keyword clips that do not look like the concept move to the retain side (HMU's refinement by motion retrieval)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hmu.data.concepts import Concept
from hmu.data.partition import Partition
from hmu.errors import DataError


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
