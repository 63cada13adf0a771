import os
import pickle

import pytest

from hmu.checkpoints.words import read_plain_pickle, read_word_index
from hmu.errors import CheckpointError
from tests.conftest import shared


def test_reads_plain_word_files(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(["sos", "eos"]))
    (tmp_path / "i.pkl").write_bytes(pickle.dumps({"sos": 0, "eos": 1}))
    assert read_plain_pickle(tmp_path / "w.pkl") == ["sos", "eos"]
    assert read_word_index(tmp_path / "i.pkl") == {"sos": 0, "eos": 1}


class _Attack:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("content", [_Attack(), [_Attack()], {"a": os.getcwd}, [os.PathLike]])
def test_any_reference_is_refused(tmp_path, content):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="refused"):
        read_plain_pickle(tmp_path / "w.pkl")


@pytest.mark.parametrize(
    ("read", "content"),
    [(read_word_index, ["a"]), (read_word_index, {"a": 1.5}), (read_word_index, {1: 1})],
)
def test_wrong_content_is_named(tmp_path, read, content):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="expected a pickled"):
        read(tmp_path / "w.pkl")


def test_truncated_and_missing(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(["walk"] * 10)[:-4])
    with pytest.raises(CheckpointError, match=r"w\.pkl"):
        read_plain_pickle(tmp_path / "w.pkl")
    with pytest.raises(CheckpointError, match="no such file"):
        read_plain_pickle(tmp_path / "none.pkl")


def test_shared_vocabulary():
    folder = shared("checkpoints/evaluator/glove")
    words, index = read_plain_pickle(folder / "our_vab_words.pkl"), read_word_index(folder / "our_vab_idx.pkl")
    assert words[:3] == ["sos", "eos", "unk"]
    assert [index[word] for word in words] == list(range(len(words)))
