"""One cache: rows of one file, each checked, shared by processes, never wrong whatever happens to the file."""

from __future__ import annotations

import copy
import os
import pickle
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from hmu.checkpoints.store import ROWS, Store, content_key
from hmu.errors import DataError
from tests.conftest import REPOSITORY

KEYS = [content_key("text", number) for number in range(7)]


def row(number: int) -> dict[str, torch.Tensor]:
    return {"tokens": torch.full((number, 3), float(number)), "codes": torch.tensor([number], dtype=torch.int16)}


def equal(rows, numbers) -> bool:
    pairs = zip(rows, map(row, numbers), strict=True)
    return all(a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a) for a, b in pairs)


def test_keys_depend_on_every_fact_and_on_nothing_else():
    facts = [("a", 1), ("a", "1"), ("a", [1]), ("b", 1), ({"a": 1, "b": 2},), ({"a": 1, "b": 3},)]
    assert len({content_key(*fact) for fact in facts}) == len(facts)
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert len(content_key("\ud800")) == 32  # a text that is no text


def test_what_is_there_is_not_made_again_and_order_is_kept(tmp_path):
    store, asked = Store(tmp_path / "s"), []

    def make(missing):
        asked.append(missing)
        return [row(number) for number in missing]

    assert equal(store.get_rows(KEYS[:3], make), range(3))
    for other in (Store(tmp_path / "s"), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert equal(other.get_rows(KEYS, make), range(7))
    assert equal(store.get_rows([KEYS[5], KEYS[0], KEYS[5]], make), [5, 0, 5])
    assert asked == [[0, 1, 2], [3, 4, 5, 6]]
    assert store.load("absent") is None
    assert [path.name for path in (tmp_path / "s").iterdir()] == [ROWS]


def test_without_a_folder_everything_is_made_each_time():
    store, asked = Store(None), []
    for _ in range(2):
        assert equal(store.get_rows(KEYS[:2], lambda missing: asked.append(missing) or [row(0), row(1)]), [0, 1])
        assert torch.equal(store.get("a", lambda: asked.append("a") or torch.ones(2)), torch.ones(2))
    assert asked == [[0, 1], "a"] * 2


@pytest.mark.parametrize("length", ["flip", "cut"])
def test_no_damage_anywhere_in_the_file_gives_other_numbers(tmp_path, length):
    store = Store(tmp_path / "s")
    store.save_rows({key: row(number) for number, key in enumerate(KEYS)})
    path = tmp_path / "s" / ROWS
    sound = path.read_bytes()
    parts = [place for place in range(len(sound)) if sound[place]]  # the rest is room that nothing uses
    places = [*parts[::5], *range(0, len(sound), 997)]
    asked: list[list[int]] = []

    def make(missing):
        asked.append(missing)
        return [row(number) for number in missing]

    for place in places:
        flipped = bytes([sound[place] ^ (1 << place % 8)])
        path.write_bytes(sound[:place] + flipped + sound[place + 1 :] if length == "flip" else sound[:place])
        for _ in range(2):
            assert equal(Store(tmp_path / "s").get_rows(KEYS, make), range(7)), place
        for left in (tmp_path / "s").glob("*"):
            left.unlink()
    assert asked
    assert all(missing == list(range(7)) for missing in asked)  # together or not at all, as in the first time


def test_rows_of_another_folder_are_noticed(tmp_path, caplog):
    for name in ("a", "b"):
        Store(tmp_path / name).save_rows({KEYS[0]: row(ord(name[0]) % 9)})
    (tmp_path / "a" / ROWS).replace(tmp_path / "b" / ROWS)
    assert Store(tmp_path / "b").load_rows(KEYS) == {}
    assert "damaged (a row is not what was written), made again" in caplog.text


def test_a_disk_that_takes_no_more_says_so_and_leaves_what_was_there(tmp_path):
    store = Store(tmp_path / "s")
    store.save_rows({KEYS[1]: row(1)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(DataError, match=rf"{ROWS}: cannot be written \(.*\); free space") as caught:
            store.save_rows({KEYS[2]: {"tokens": torch.zeros(1 << 18)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert equal(store.load_rows(KEYS).values(), [1])
    store.save_rows({KEYS[2]: row(2)})
    assert equal([store.load_rows(KEYS)[key] for key in KEYS[1:3]], [1, 2])


WRITERS = """
import sys, time, torch
from pathlib import Path
from hmu.checkpoints.store import Store
store, name = Store(Path(sys.argv[1])), sys.argv[2]
while time.time() < float(sys.argv[3]):
    pass
for number in range(100):
    store.save_rows({f"{name}{number}": {"x": torch.full((500,), float(number))}})
    assert all(float(row["x"][0]) == int(key[1:]) for key, row in store.load_rows(["a0", "b0", f"c{number}"]).items())
"""


def test_three_processes_write_at_once_and_one_is_killed(tmp_path):
    def start(name: str, when: float) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", WRITERS, str(tmp_path / "s"), name, str(when)]
        return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})

    when = time.time() + 3.0
    *ending, killed = (start(name, when) for name in "abc")
    time.sleep(max(0.0, when + 0.05 - time.time()))
    killed.kill()
    assert [process.wait(60) for process in ending] == [0, 0]
    killed.wait(60)
    rows = Store(tmp_path / "s").load_rows([f"{name}{number}" for name in "ab" for number in range(100)])
    assert sorted(rows) == sorted(f"{name}{number}" for name in "ab" for number in range(100))
    assert all(torch.equal(value["x"], torch.full((500,), float(key[1:]))) for key, value in rows.items())
