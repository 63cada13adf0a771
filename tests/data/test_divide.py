"""Forget and retain sides, their files, and the refusals."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from hmu.data.concepts import Concept
from hmu.data.divide import partition_by_concept, partition_from_files, published_lists
from hmu.data.partition import Partition
from hmu.data.published_split import keyword_split
from hmu.errors import DataError
from tests.parity.splits import retrieval_split

KICK = Concept("kick", ["kick"], neighbours=["punch"])


def test_by_words_with_reasons_and_neighbours(make_source, tmp_path: Path) -> None:
    partition = partition_by_concept(make_source(), "train", KICK)
    assert partition.forget == ("a",)
    assert partition.retain == ("b", "Mb", "c")
    assert partition.skipped == {"d": "shorter than 40 frames"}
    assert partition.counts == "1 forget, 3 retain, 1 skipped"
    assert partition.neighbours == ("c",)
    assert partition.reasons["a"] == "'kicks' in line 1"
    assert "neighbour punch: 'punches' in line 2" in partition.reasons["c"]
    partition.save_audit(tmp_path / "audit.csv")
    with open(tmp_path / "audit.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"id": "a", "side": "forget", "neighbour": "0", "reason": "'kicks' in line 1",
                       "line": "he kicks#he/PRON kick/VERB#0.0#0.0"}  # fmt: skip
    assert [r["reason"] for r in rows if r["id"] == "Mb"] == ["no match"]
    assert [(r["side"], r["reason"]) for r in rows if r["id"] == "d"] == [("skipped", "shorter than 40 frames")]


def test_min_occurrence_counts_lines(make_source) -> None:
    strike = Concept("s", ["kick", "strike"], min_occurrence=2)
    assert partition_by_concept(make_source(), "train", strike).forget == ("a",)
    with pytest.raises(DataError, match="no clip matches"):
        partition_by_concept(make_source(), "test", strike)


def test_overrides_apply(make_source) -> None:
    concept = Concept("k", ["kick"], overrides={"tiny": {"keywords": ["walk"]}})
    assert partition_by_concept(make_source(), "train", concept.for_dataset("tiny")).forget == ("b", "Mb")


def test_an_empty_side_is_refused_and_names_near_words(make_source, layout: Path) -> None:
    with pytest.raises(DataError, match=r"'kock' on tiny, split 'train'.*kicks"):
        partition_by_concept(make_source(), "train", Concept("kock", ["kicka"]))
    (layout / "texts" / "b.txt").write_text("sie schlägt zu#sie/PRON#0.0#0.0\n")
    with pytest.raises(DataError, match=r"come close: schlägt.*; never read: shorter than 40 frames \(1\): d"):
        partition_by_concept(make_source(), "train", Concept("schlagen", ["schlagt"]))
    with pytest.raises(DataError, match="every one of the 1 clips matches"):
        partition_by_concept(make_source(), "test", KICK)


def test_saved_and_loaded_with_its_hash(make_source, tmp_path: Path) -> None:
    partition = partition_by_concept(make_source(), "train", KICK)
    path = partition.save(tmp_path / "run" / "partition.json")
    assert replace(Partition.load(path), lines=partition.lines) == partition
    assert partition.hash != partition_by_concept(make_source(), "train", Concept("w", ["walk"])).hash
    path.write_text(path.read_text().replace('"Mb"', '"Mx"'))
    with pytest.raises(DataError, match="hash"):
        Partition.load(path)


def test_from_files(make_source, tmp_path: Path) -> None:
    forget, retain = tmp_path / "w.txt", tmp_path / "wo.txt"
    forget.write_bytes(b"c\r\n\r\na")
    retain.write_text("b\nMb\n")
    partition = partition_from_files(make_source(), "train", forget, retain)
    assert (partition.forget, partition.retain) == (("c", "a"), ("b", "Mb"))
    refusals = {"c\n": "share 1 id", "ghost\n": "in no split of tiny", "\n": "is empty"}
    refusals |= {"e\n": "retain_file on tiny, split 'train': none of its 1 clips is in it", "d\n": "d: shorter than 40"}
    for bad, text in refusals.items():
        retain.write_text(bad)
        with pytest.raises(DataError, match=text):
            partition_from_files(make_source(), "train", forget, retain)
    with pytest.raises(DataError, match="retain_file: no file"):
        partition_from_files(make_source(), "train", forget, tmp_path / "x.txt")


def test_substring_partition_carries_the_published_traps(make_source, layout: Path) -> None:
    rule = Concept("x", ["kick|jump"], match="substring")
    (layout / "train.txt").write_text("a\nb\nMb\nc")  # c, without line end, is lost
    partition = partition_by_concept(make_source(), "train", rule)
    assert (partition.forget, partition.retain) == (("a", "b"), ("Mb",))
    assert published_lists(make_source(), "train", rule) == (b"a\nb\n", b"Mb\n")
    (layout / "train.txt").write_bytes(b"a\r\nb\r\n")
    assert published_lists(make_source(), "train", rule) == (b"", b"a\r\nb\r\n")
    with pytest.raises(DataError, match="substring"):
        published_lists(make_source(), "train", KICK)


def test_keyword_split_on_missing_files_and_unfinished_lines() -> None:
    texts = {"a": b"kick\nkick", "b": b"", "c": b"no\n\n"}
    pattern = Concept("k", ["kick"], match="substring").substring_pattern
    assert keyword_split(b"a\n\nb\nghost\na\n", texts.get, pattern, 2) == (["a", "a"], ["b", "ghost"])


def test_retrieval_split_loses_names_that_never_match() -> None:
    def record(name: str, text: str) -> dict:
        return {"name": name, "retrieval": [{"description": "walks"}, {"description": text}]}

    records = [record("b", "KICK"), record("b", "kicks"), record("a", "kick"), record("z", "sits")]
    assert retrieval_split(records, ["r"], "kick", 2) == (["b"], ["r", "a"])
