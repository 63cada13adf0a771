"""What is never read is counted nowhere, and counted in one bounded line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmu.data.concepts import Concept
from hmu.data.divide import partition_by_concept, partition_from_files, published_lists
from hmu.data.soundness import counted, few, read_statistic
from hmu.errors import ConfigError, DataError
from tests.data.conftest import FEATURES, write_layout

TEXTS = {
    "a": "he kicks#he/PRON kick/VERB#0.0#0.0\n",
    "b": "she walks#she/PRON walk/VERB#0.0#0.0\n",
    "c": "he kicks, no sign\n",
    "d": "he kicks#he/PRON kick/VERB#0.0#0.0\n",
    "e": "he waves#he/PRON wave/VERB#0.0#0.0\n",
    "f": "he kicked it#he/PRON kick/VERB#0.0#0.0\n",
    "Mb": "she walks#she/PRON walk/VERB#1.0#1.5\n",
}
LENGTHS = {"a": 40, "b": 199, "c": 60, "d": 39, "e": 41, "f": 200, "Mb": 101}


@pytest.fixture
def mixed(layout: Path) -> Path:
    root = write_layout(layout, TEXTS, LENGTHS)
    (root / "train.txt").write_text("a\nb\nMb\nc\nd\nf\n")
    (root / "test.txt").write_text("")
    return root


def test_counts_are_of_clips_that_are_read(mixed: Path, make_source, caplog: pytest.LogCaptureFixture) -> None:
    source = make_source(strict=False)
    assert source.usable_ids("train") == ("a", "b")
    assert source.skipped("train") == {
        "c": "no usable caption",
        "d": "shorter than 40 frames",
        "f": "200 frames or longer",
        "Mb": "no caption for 40 to 199 frames in one piece",
    }
    assert (
        "3 of 7 clips are usable; skipped: faulty caption line (1): c line 1; no usable caption (1): c" in caplog.text
    )
    sides = partition_by_concept(source, "train", Concept("kick", ["kick"]))
    assert (sides.forget, sides.retain) == (("a",), ("b",))
    assert set(sides.skipped) == {"c", "d", "f", "Mb"}
    published = partition_by_concept(source, "train", Concept("kick", ["kick"], match="substring"))
    assert (published.forget, published.retain) == (("a",), ("b",))


def test_the_published_lists_stay_as_they_are(mixed: Path, make_source) -> None:
    rule = Concept("kick", ["kick"], match="substring")
    assert published_lists(make_source(), "train", rule) == (b"a\nc\nd\nf\n", b"b\nMb\n")


def test_a_data_set_of_long_takes_is_refused_at_once(mixed: Path, make_source) -> None:
    write_layout(mixed, TEXTS, dict.fromkeys(TEXTS, 1780))
    with pytest.raises(DataError, match=r"has no usable clip: .*200 frames or longer \(6\): "):
        make_source(strict=False).prepare()


def test_listed_clips_that_are_never_read(mixed: Path, make_source, tmp_path: Path) -> None:
    lists = [tmp_path / name for name in ("w.txt", "wo.txt")]
    lists[0].write_bytes("a\r\nd\r\n".encode("utf-16"))
    lists[1].write_bytes(b"\xef\xbb\xbfb\ne\n")  # e is of another split
    sides = partition_from_files(make_source(strict=False), "train", *lists)
    assert (sides.forget, sides.retain, sides.skipped) == (("a",), ("b",), {"d": "shorter than 40 frames"})
    lists[0].write_text("d\n")
    with pytest.raises(DataError, match=r"forget_file .*none of its 1 clips is ever read \(d: shorter than 40 frames"):
        partition_from_files(make_source(strict=False), "train", *lists)
    lists[0].write_bytes("né\n".encode("latin-1"))
    with pytest.raises(DataError, match="save it as UTF-8"):
        partition_from_files(make_source(strict=False), "train", *lists)


def test_split_lists_of_every_encoding(layout: Path, make_source) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (layout / "val.txt").write_bytes("e\r\n\r\n".encode(encoding))
        assert make_source().split_ids("val") == ("e",)
    for content in ("é\n".encode("latin-1"), "e\n".encode("utf-16-le")):
        (layout / "val.txt").write_bytes(content)
        with pytest.raises(DataError, match=r"val\.txt: .*save it as UTF-8"):
            make_source().split_ids("val")
        with pytest.raises(DataError, match="save it as UTF-8"):
            published_lists(make_source(), "val", Concept("k", ["k"], match="substring"))


@pytest.mark.parametrize("tags", ["3.0#1.0", "-1.0#2.0", "0.0#-2.0", "inf#0.0", "0.0#inf", "1.0#1.0"])
def test_times_that_no_frame_lies_between_are_told(layout: Path, make_source, tags: str) -> None:
    (layout / "texts" / "f.txt").write_text(f"he kicks#he/PRON#0.0#0.0\nhe kicks#he/PRON#{tags}\n")
    with pytest.raises(DataError, match=r"caption line with impossible times \(1\): f line 2"):
        make_source().prepare()
    assert make_source(strict=False).usable_ids("test") == ("f",)


STATISTICS = {
    "Std.npy": {
        "zero": (np.array([1, 0, 1, 1, 1.0]), "column 1 of 5 is 0"),
        "negative": (np.array([1, 1, -1, 1, 1.0]), "column 2 of 5 is -1"),
        "denormal": (np.array([1, 1, 1, 1e-310, 1.0]), "column 3 of 5 is 1e-310"),
        "NaN": (np.full(5, np.nan), r"column 0 of 5 is nan \(5 such columns\)"),
        "text": (np.array(list("abcde")), "no numbers"),
        "absurd": (np.full(5, 1e30), "column 0 of 5 is 1e"),
    },
    "Mean.npy": {
        "other width": (np.zeros(7), r"shape \(7,\); expected \(5,\)"),
        "two axes": (np.zeros((1, 5)), r"shape \(1, 5\)"),
        "infinite": (np.array([0, 0, 0, 0, np.inf]), "column 4 of 5 is inf"),
    },
}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in STATISTICS for name in STATISTICS[file]])
def test_statistics_that_cannot_be_used(layout: Path, make_source, file: str, name: str) -> None:
    value, message = STATISTICS[file][name]
    np.save(layout / file, value)
    with pytest.raises(DataError, match=message):
        _ = getattr(make_source(), file.removesuffix(".npy").lower())


def test_a_mean_may_be_zero_and_below(tmp_path: Path) -> None:
    np.save(tmp_path / "Mean.npy", np.array([0, -3, 2]))
    assert read_statistic(tmp_path / "Mean.npy", 3, divides=False).tolist() == [0, -3, 2]


def test_lists_in_messages_are_bounded() -> None:
    assert few(list("abcd")) == "a, b, c, d"
    assert few([f"{i:06d}" for i in range(30000)]).endswith("000003 and 29996 more")
    assert counted({"x": ["a\0" + "b" * 100]}) == r"x (1): a\x00" + "b" * 24 + "…"


@pytest.mark.parametrize(
    "change",
    [
        {"min_frames": 3}, {"max_frames": 30}, {"max_frames": 200}, {"unit_length": 0}, {"fps": float("nan")},
        {"fps": 1e9}, {"features": 0}, {"name": "a/b"}, {"name": ".."}, {"splits": []},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_cannot_be(make_source, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        make_source(**change)


def test_the_layout_of_these_tests_is_sound(make_source) -> None:
    assert make_source().features == FEATURES
    assert make_source().pack.problems == {}
