"""The refinement of a keyword partition by what retrieval answers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hmu.data.concepts import Concept
from hmu.data.divide import namer, refine_by_retrieval
from hmu.data.partition import Partition
from hmu.errors import DataError
from tests.parity.splits import retrieval_split

KICK = Concept("kick", ("kick",))


def sides() -> Partition:
    return Partition("kick", "demo", "train", ("a", "b", "c"), ("x", "y"), {"a": "'kicks' in line 1"}, "word")


def records(**counts: int) -> list[dict]:
    """Four motions per clip, so many of which look like a kick (in capitals: ours and theirs ignore case)."""
    told = [("He KICKS" if i < n else "he walks", name) for name, n in counts.items() for i in range(4)]
    return [{"name": name, "retrieval": [{"description": "sits"}, {"description": text}]} for text, name in told]


def test_nobody_is_lost_and_the_audit_tells_why(tmp_path: Path) -> None:
    refined = refine_by_retrieval(sides(), records(a=4, b=1, c=0), namer(KICK), least=2)
    assert refined.forget == ("a",)
    assert refined.retain == ("x", "y", "b", "c")
    assert refined.hash != sides().hash
    rows = {r["id"]: r for r in csv.DictReader(refined.save_audit(tmp_path / "audit.csv").open(encoding="utf-8"))}
    assert set(rows) == {"a", "b", "c", "x", "y"}
    assert rows["a"]["reason"] == "'kicks' in line 1; 4 of 4 motions look like it"
    assert rows["c"]["reason"] == "keyword; kept: only 0 of 4 motions look like it, 2 needed"
    assert Partition.load(refined.save(tmp_path / "partition.json")).forget == ("a",)


def test_agrees_with_the_published_script_but_for_the_names_it_loses() -> None:
    given = records(a=4, b=1, c=0)
    forget, retain = retrieval_split(given, ["x", "y"], "kick", 2)
    substring = Concept("kick", ("kick",), match="substring")
    refined = refine_by_retrieval(sides(), given, namer(substring), least=2)
    assert list(refined.forget) == forget
    assert set(refined.retain) - set(retain) == {"c"}


def test_an_empty_side_and_foreign_records_are_refused() -> None:
    with pytest.raises(DataError, match=r"the most is 3.*refine\.least"):
        refine_by_retrieval(sides(), records(a=3), namer(KICK), least=4)
    with pytest.raises(DataError, match="'z'"):
        refine_by_retrieval(sides(), records(z=3), namer(KICK), least=1)
