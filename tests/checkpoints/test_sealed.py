"""Sealed folders: several processes, full disks, late damage, and places that cannot be."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from hmu.checkpoints import sealed
from hmu.checkpoints.sealed import BLOCK, DAY, SEAL, Damaged, check_place, read_seal, remove_leftovers, sealed_folder
from hmu.checkpoints.store import Store
from hmu.config import check_config
from hmu.data.dataset import DatasetSource
from hmu.data.demo import generate
from hmu.errors import DataError, HmuError
from tests.checkpoints.damage import flip
from tests.conftest import REPOSITORY
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import dataset


def fill(folder: Path, text: str = "a") -> None:
    (folder / "in").mkdir()
    (folder / "in" / "b").write_bytes(b"b" * (BLOCK + 1))
    (folder / "a").write_text(text)


# -- folders -----------------------------------------------------------------------------------------------------------
def test_a_seal_knows_sizes_blocks_and_its_own_name(tmp_path):
    seal = sealed_folder(tmp_path / "x", fill)
    assert seal.sizes == {"a": 1, "in/b": BLOCK + 1}
    assert [len(sums) for sums in seal.sums.values()] == [1, 2]
    assert sealed_folder(tmp_path / "y", fill).mark == seal.mark  # equal content, wherever
    assert sealed_folder(tmp_path / "z", partial(fill, text="c")).mark != seal.mark
    shutil.copy(tmp_path / "x" / SEAL, tmp_path / "y" / SEAL)
    with pytest.raises(Damaged, match=rf"y: damaged \({SEAL} is not what was written\); delete it"):
        read_seal(tmp_path / "y")


def test_content_is_compared_only_where_asked(tmp_path):
    sealed_folder(tmp_path / "x", fill)
    flip(tmp_path / "x" / "in" / "b")
    read_seal(tmp_path / "x").check(lambda name: name == "a")
    with pytest.raises(Damaged, match="in/b is not what was written"):
        read_seal(tmp_path / "x").check(sealed.everything)


def test_what_others_put_into_a_folder_survives_and_the_damaged_one_is_kept_for_a_day(tmp_path, caplog):
    target = tmp_path / "x"
    sealed_folder(target, fill)
    (target / "lists").mkdir()
    (target / "lists" / "mine.txt").write_text("mine")
    (target / "a").write_text("")
    os.utime(target, (0, 0))
    with caplog.at_level(logging.WARNING):
        sealed_folder(target, fill)
    assert f"{target}: damaged (a has 0 bytes, 1 were written), made again" in caplog.text
    assert (target / "a").read_text() == "a"
    assert (target / "lists" / "mine.txt").read_text() == "mine"
    assert remove_leftovers(tmp_path) == []
    (aside,) = (path for path in tmp_path.iterdir() if path != target)
    assert (aside / "in" / "b").stat().st_size == BLOCK + 1
    for path in (aside, *aside.iterdir()):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert remove_leftovers(tmp_path) == [aside]


def test_a_builder_that_fails_leaves_nothing_and_the_old_folder(tmp_path):
    target = tmp_path / "x"
    sealed_folder(target, fill)
    flip(target / "a")

    def stops(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sealed_folder(target, stops)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (target / "in" / "b").exists()


BUILDERS = """
import sys, time
from pathlib import Path
from hmu.checkpoints.sealed import sealed_folder
def fill(folder):
    for number in range(40):
        (folder / f"{number}").write_bytes(bytes([number]) * 1000)
        time.sleep(0.002)
while time.time() < float(sys.argv[2]):
    pass
for _ in range(3):
    print(sealed_folder(Path(sys.argv[1]), fill).mark)
"""


@pytest.mark.parametrize("before", ["absent", "damaged"])
def test_three_processes_that_build_at_once_end_with_one_sound_folder(tmp_path, before):
    target = tmp_path / "x"
    if before == "damaged":
        target.mkdir()
        fill(target)
    words = [sys.executable, "-c", BUILDERS, str(target), str(time.time() + 1.0)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert {mark for marks in said for mark in marks} == {read_seal(target).check(sealed.everything).mark}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("x.")]


# -- arrays ------------------------------------------------------------------------------------------------------------
def test_an_array_is_bound_to_its_key_and_stays_mapped(tmp_path, caplog):
    store, values = Store(tmp_path), torch.arange(12.0).reshape(3, 4)
    for key in ("a", "b"):
        store.save(key, values + ord(key))
    mapped = store.load("a")
    for name in ("array.npy", SEAL):
        shutil.copy(tmp_path / "b" / name, tmp_path / "new")
        os.replace(tmp_path / "new", tmp_path / "a" / name)
    assert store.load("a") is None
    assert torch.equal(store.get("a", lambda: values), values)
    assert f"a: damaged ({SEAL} is not what was written), made again" in caplog.text
    assert torch.equal(mapped, values + ord("a"))
    assert torch.equal(store.load("a"), values)
    assert store.load("none") is None


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (), (5,)])
def test_arrays_of_any_shape(tmp_path, shape):
    for stored in (Store(tmp_path).save("a", torch.ones(shape)), Store(tmp_path).load("a")):
        assert stored is not None
        assert stored.shape == shape


# -- the disk ----------------------------------------------------------------------------------------------------------
def source(cache: Path, clips: int = 60) -> DatasetSource:
    return dataset("demo", cache_dir=cache, generator=partial(generate, seed=0, clips=clips))


WRITERS = {
    "demo": lambda cache, _: source(cache).prepare(),
    "pack": lambda cache, data: dataset("x", data / "data", features=FEATURES, cache_dir=cache).prepare(),
    "array": lambda cache, _: Store(cache / "generated").save("a", torch.zeros(1000, 1000)),
    "rows": lambda cache, _: Store(cache / "codes").save_rows({"a": {"codes": torch.zeros(1 << 20)}}),
    "large": lambda cache, data: dataset("x", data / "large", cache_dir=cache).prepare(),
}


def make_sources(root: Path) -> None:
    write_layout(root / "data")
    write_layout(root / "large")
    for path in (root / "large" / "new_joint_vecs").iterdir():
        np.save(path, np.zeros((199, 263), np.float32))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_limit_of_file_sizes_ends_in_one_line(tmp_path, writer):
    make_sources(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        with pytest.raises(HmuError, match="cannot be written") as caught:
            WRITERS[writer](tmp_path / "cache", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.fixture
def small_disk():
    """A disk of 1 MB; only root may have one."""
    with tempfile.TemporaryDirectory() as folder:
        made = shutil.which("mount") and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
        )
        if not made or made.returncode:
            pytest.skip("needs the right to mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("writer", ["demo", "array", "large"])
def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half(small_disk, tmp_path, writer):
    make_sources(tmp_path)
    with pytest.raises(DataError, match=r"cannot be written \((No space left on device|no space left)\)") as caught:
        WRITERS[writer](small_disk / "cache", tmp_path)
    assert "paths.cache=" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_a_place_that_cannot_be_is_said_before_anything(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("file", "link"):
        with pytest.raises(DataError, match=rf"paths.cache=.*: {tmp_path / name} is no folder; name another"):
            check_place(tmp_path / name / "below" / "it")
    check_place(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match="may not be written"):
        check_place(tmp_path / "new")
    check_place(tmp_path / "new", written=False)


def test_the_configuration_is_checked_for_such_a_place(tmp_path):
    (tmp_path / "file").write_text("")
    asked = OmegaConf.create({"paths": {"cache": str(tmp_path / "file" / "cache")}, "dataset": {}})
    with pytest.raises(DataError, match="file is no folder"):
        check_config(asked)
    check_config(OmegaConf.create({"paths": {"cache": str(tmp_path / "file")}}))  # a command that keeps nothing
    check_config(OmegaConf.create({"paths": {"cache": str(tmp_path / "new")}, "dataset": {}}))
