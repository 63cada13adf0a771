"""Packs and generated data that were damaged: met when they are read, made again under way."""

from __future__ import annotations

import pickle
import shutil
from functools import partial

import numpy as np
import pytest

from hmu.checkpoints.sealed import Damaged
from hmu.data.dataset import DatasetSource
from hmu.data.packed import MOTION
from hmu.errors import DataError
from tests.checkpoints.damage import flip
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import dataset


def test_motions_are_checked_when_they_are_read_and_mended_under_way(make_source, caplog):
    first = make_source().clips("train")
    expected = first.batch([0]).motion
    opened = make_source().clips("train")  # sound sizes: nothing is noticed yet
    flip(first.pack.folder / MOTION, 0.01)
    opened = make_source().clips("train")
    copy = pickle.loads(pickle.dumps(opened))  # as a loader's worker has it: it cannot make anything again
    with pytest.raises(Damaged, match=rf"{first.pack.folder}: damaged \({MOTION} is not what was written\); delete it"):
        copy.batch([0])
    assert "damaged" not in caplog.text
    assert opened.batch([0]).motion.equal(expected)
    assert f"{first.pack.folder}: damaged ({MOTION} is not what was written), made again" in caplog.text
    assert caplog.text.count("damaged") == 1
    assert pickle.loads(pickle.dumps(opened)).batch([0]).motion.equal(expected)
    assert first.batch([0]).motion.equal(expected)  # still mapped to the old file


def test_motions_that_changed_meanwhile_are_not_mixed_in(make_source, layout):
    opened = make_source().clips("train")
    flip(opened.pack.folder / MOTION, 0.01)
    opened = make_source().clips("train")
    np.save(layout / "new_joint_vecs" / "a.npy", np.ones((60, FEATURES), np.float32))
    with pytest.raises(DataError, match="have changed meanwhile; start again"):
        opened.batch([0])


def test_damaged_clips_of_generated_data_are_noticed_before_they_are_packed(tmp_path, caplog):
    def made() -> DatasetSource:
        generator = partial(lambda target, seed: write_layout(target), seed=1)
        return dataset("toy", cache_dir=tmp_path, features=FEATURES, generator=generator)

    expected = made().fingerprint
    flip(made().motion_file("b"), 0.9)
    assert made().fingerprint == expected
    assert "not what was written" not in caplog.text  # the pack is sound: nobody reads them
    shutil.rmtree(tmp_path / "packed")
    assert made().fingerprint == expected
    assert "damaged (new_joint_vecs/b.npy is not what was written), made again" in caplog.text


def test_reading_many_rows_checks_each_block_once(make_source):
    rows = make_source().pack.motion
    assert rows._unread.tolist() == [True]
    assert rows[np.array([], dtype=np.int64)].shape == (0, FEATURES)
    assert rows[5:5].shape == (0, FEATURES)
    assert rows._unread.tolist() == [True]
    assert np.array_equal(rows[1:4], rows[np.array([1, 2, 3])])
    assert rows._unread.tolist() == [False]
