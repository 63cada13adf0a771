"""Reading, packing, and gathering batches."""

from __future__ import annotations

import pickle
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hmu.checkpoints import sealed
from hmu.data.dataset import DatasetSource
from hmu.data.packed import open_pack
from hmu.errors import ConfigError, DataError
from tests.data.conftest import FEATURES, motion_of, write_layout
from tests.datasets import dataset


def test_entries_by_the_clean_rule(make_source) -> None:
    clips = make_source().clips("train")
    assert clips.ids == ("a", "b#1", "b", "Mb", "c#1", "c")
    assert clips.lengths.tolist() == [60, 50, 101, 101, 189, 199]  # c#1: open end, from 0.5 s to the clip's end
    assert [c.text for c in clips.captions[0]] == ["he kicks", "he strikes out"]
    assert clips.captions[5][0].tokens == ("he/PRON", "sit/VERB")
    assert clips.texts[1] == "she jumps"


@pytest.mark.parametrize(
    ("rule", "ids"),
    [
        ("original", ["b#1", "a", "b", "Mb", "c"]),
        ("hmu_train", ["a", "b#1", "b", "Mb", "c"]),
        ("hmu_eval", ["b#1", "a#0", "a#1", "b#0", "Mb#0", "c#1", "c#0"]),
    ],
)
def test_published_rules_differ_as_measured(make_source, rule: str, ids: list[str]) -> None:
    assert list(make_source(rule=rule).clips("train").ids) == ids


def test_batch_is_gathered_in_real_units_and_zero_padded(make_source) -> None:
    clips = make_source().clips("train")
    batch = clips.batch([1, 0, 5])
    assert batch.lengths.tolist() == [48, 60, 196]
    assert batch.motion.shape == (3, 196, FEATURES)
    for row, (name, start, n) in enumerate([("b", 20, 48), ("a", 0, 60), ("c", 0, 196)]):
        frames = {"a": 60, "b": 101, "c": 199}[name]
        np.testing.assert_array_equal(batch.motion[row, :n], motion_of(name, frames)[start : start + n])
        assert (batch.motion[row, n:] == 0).all()
    assert batch.texts == ["she jumps", "he kicks", "he sits"]
    assert clips.batch([0], caption=1).texts == ["he strikes out"]


def test_random_crops_follow_the_published_coin_and_the_generator(make_source) -> None:
    clips = make_source().clips("train")
    rows = [0] * 600
    batch = clips.batch(rows, crop="random", caption="random", generator=torch.Generator().manual_seed(1))
    share = (batch.lengths == 56).float().mean()
    assert set(batch.lengths.tolist()) == {56, 60}
    assert 0.25 < share < 0.42  # one third
    starts = batch.motion[:, 0, 0][batch.lengths == 56]
    assert set(starts.tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert 0.4 < np.mean([t == "he kicks" for t in batch.texts]) < 0.6
    again = clips.batch(rows, crop="random", caption="random", generator=torch.Generator().manual_seed(1))
    assert torch.equal(batch.motion, again.motion)
    assert batch.texts == again.texts


def test_windows(make_source) -> None:
    clips = make_source().clips("train")
    batch = clips.batch([2] * 50, crop=64, generator=torch.Generator().manual_seed(0))
    assert batch.lengths.tolist() == [64] * 50
    assert (batch.motion[:, 63, 0] - batch.motion[:, 0, 0] == 63).all()
    with pytest.raises(DataError, match="does not fit clip 'b#1'"):
        clips.batch([1, 2], crop=64)


def test_selection_by_ids_and_unions(make_source) -> None:
    source = make_source()
    assert source.clips("train", {"c", "a"}).clip_ids == ("a", "c", "c")
    assert source.split_ids("train_val") == ("a", "b", "Mb", "c", "d", "e")
    assert source.clips("val+test").ids == ("e", "f")
    with pytest.raises(DataError, match="no entry within the limits"):
        source.clips("train", {"d"})
    with pytest.raises(DataError, match=r"no split file .*there are test, train, val"):
        source.clips("tset")


def test_pack_is_reused_changes_with_the_files_and_pickles_by_path(make_source, layout: Path) -> None:
    first = make_source()
    folder, mark = first.pack.folder, first.fingerprint
    stamp = (folder / "motion.f32").stat().st_mtime_ns
    assert make_source().pack.folder == folder
    assert (folder / "motion.f32").stat().st_mtime_ns == stamp
    clips = pickle.loads(pickle.dumps(first.clips("train")))
    assert len(pickle.dumps(first.clips("train"))) < 5000
    assert torch.equal(clips.batch([0]).motion, first.clips("train").batch([0]).motion)
    np.save(layout / "new_joint_vecs" / "a.npy", motion_of("x", 60))
    assert make_source().fingerprint != mark
    assert first.fingerprint == mark
    assert open_pack(folder).fingerprint == first.pack.fingerprint
    assert not list((folder.parent).glob("*.tmp"))


def test_two_builders_at_once_leave_one_finished_pack(make_source, monkeypatch) -> None:
    original = sealed._publish

    def race(building: Path, target: Path, contents) -> None:
        if not target.exists():
            shutil.copytree(building, target)  # the other process was faster
        original(building, target, contents)

    monkeypatch.setattr(sealed, "_publish", race)
    source = make_source()
    assert len(source.clips("train")) == 6
    assert not list(source.pack.folder.parent.glob("*.tmp"))


def test_all_problems_are_listed_at_once(make_source, layout: Path) -> None:
    vectors, texts = layout / "new_joint_vecs", layout / "texts"
    (vectors / "a.npy").unlink()
    (texts / "b.txt").unlink()
    (vectors / "e.npy").write_bytes(b"junk")
    np.save(vectors / "c.npy", np.full((60, FEATURES), np.nan, np.float32))
    np.save(vectors / "d.npy", np.zeros((60, FEATURES + 1), np.float32))
    (texts / "f.txt").write_text("he kicks#he/PRON#0#0\nbroken line\n\nhe kicks#he/PRON#x#0\n")
    with pytest.raises(DataError) as caught:
        make_source().prepare()
    for piece in ("no motion file (1): a", "no caption file (1): b", "unreadable motion file (1): e", "NaN", "(1): d",
                  "faulty caption line (2): f line 2, f line 4", "strict=false"):  # fmt: skip
        assert piece in str(caught.value)
    source = make_source(strict=False).prepare()
    assert source.pack.ids == ("Mb", "f")
    assert source.clips("test").captions[0][0].text == "he kicks"


def test_missing_folders_and_leaks(make_source, layout: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make_source(root=tmp_path / "nowhere").prepare()
    (layout / "val.txt").unlink()
    with pytest.raises(DataError, match=r"lacks val\.txt"):
        make_source().prepare()
    (layout / "val.txt").write_text("f\n")
    with pytest.raises(DataError, match="listed in test and in another split"):
        make_source().prepare()


def test_crlf_and_bom_in_split_files(make_source, layout: Path) -> None:
    (layout / "val.txt").write_bytes(b"\xef\xbb\xbfe\r\n\r\n")
    assert make_source().split_ids("val") == ("e",)


def test_statistics(make_source, layout: Path) -> None:
    assert make_source().std.tolist() == [1.0] * FEATURES
    np.save(layout / "Std.npy", np.ones(3))
    with pytest.raises(DataError, match=r"Std\.npy has shape"):
        _ = make_source().std


def test_generated_data_take_the_same_path(tmp_path: Path) -> None:
    calls = []

    def generate(target: Path, seed: int) -> None:
        calls.append(seed)
        write_layout(target)

    def source(seed: int) -> DatasetSource:
        return dataset("demo", cache_dir=tmp_path, features=FEATURES, generator=partial(generate, seed=seed))

    assert len(source(1).clips("train")) == 6
    assert source(1).clips("test").ids == ("f",)
    assert calls == [1]
    assert source(2).root != source(1).root


def test_impossible_values() -> None:
    for change in ({"root": None}, {"min_frames": 200}, {"rule": "x"}, {"fps": 0}):
        with pytest.raises(ConfigError):
            dataset(**({"name": "x", "root": "y"} | change))
