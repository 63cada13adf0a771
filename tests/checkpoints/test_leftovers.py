import os
import time
from pathlib import Path

import numpy as np

from hmu.checkpoints.sealed import DAY, remove_leftovers
from hmu.checkpoints.store import Store
from hmu.data.packed import pack
from hmu.text.cache import CachedTextEncoder
from tests.datasets import dataset
from tests.text.test_cache import TEXTS, frozen


def age(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    for part in [*(path.rglob("*") if path.is_dir() else []), path]:
        os.utime(part, (then, then))
    return path


def leftover(folder: Path, name: str = "tmpab12.tmp", seconds: float = 2 * DAY, tree: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if tree:
        path.mkdir()
        (path / "motion.f32").write_bytes(b"half")
    else:
        path.write_bytes(b"half")
    return age(path, seconds)


def test_only_old_temporary_names_of_the_right_prefix_go(tmp_path):
    old, tree = leftover(tmp_path, ".demo-1.tmp"), leftover(tmp_path, "demo-2.tmp", tree=True)
    stay = [leftover(tmp_path, "demo-3.tmp", 60), leftover(tmp_path, "other.tmp"), leftover(tmp_path, "demo.npy")]
    busy = leftover(tmp_path, "demo-4.tmp", tree=True)
    (busy / "motion.f32").write_bytes(b"still being written")
    assert remove_leftovers(tmp_path, "demo") == [old, tree]
    assert all(path.exists() for path in [*stay, busy])
    assert not old.exists()
    assert not tree.exists()
    assert remove_leftovers(tmp_path / "absent") == []


def test_every_cache_cleans_up_when_it_is_opened(tmp_path):
    texts = tmp_path / "text" / frozen().fingerprint
    gone = [leftover(tmp_path / "generated"), leftover(texts, ".x.safetensors.ab.tmp")]
    Store(tmp_path / "generated")
    CachedTextEncoder(frozen(), tmp_path / "text").encode(TEXTS)
    gone.append(leftover(tmp_path / "packed", "set-1.0123abcd.tmp", tree=True))
    source = tmp_path / "a.npy"
    np.save(source, np.zeros((50, 3), np.float32))
    (tmp_path / "a.txt").write_text("walks#walk/VERB#0.0#0.0")
    pack(tmp_path / "packed" / "set-2", ["a"], lambda _: source, lambda _: tmp_path / "a.txt", 3)
    assert not any(path.exists() for path in gone)


def test_a_generated_data_set_cleans_up_beside_itself_and_a_named_one_does_not(tmp_path):
    def make(folder: Path) -> None:
        for part in ("new_joint_vecs", "texts"):
            (folder / part).mkdir()
        np.save(folder / "new_joint_vecs" / "a.npy", np.zeros((60, 263), np.float32))
        (folder / "texts" / "a.txt").write_text("walks#walk/VERB#0.0#0.0\n")
        (folder / "train.txt").write_text("a\n")
        for name in ("Mean", "Std"):
            np.save(folder / f"{name}.npy", np.ones(263, np.float32))

    cache = tmp_path / "cache"
    made = dataset("toy", cache_dir=cache, generator=make, splits=("train",))
    mine = leftover(cache, f".{made.root.name}.0123abcd.tmp", tree=True)
    others = leftover(cache, "precious.tmp")
    made.prepare()
    assert not mine.exists()
    assert others.exists()
    named = leftover(cache, f"{made.root.name}.0123abcd.tmp")
    dataset("toy", root=made.root, cache_dir=cache, splits=("train",)).prepare()
    assert named.exists()
