"""Generating once, embedding once, and going on after an interruption."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hmu.checkpoints.store import Store
from hmu.errors import DataError
from hmu.evaluation.embedding import EmbeddingStore
from hmu.evaluation.generation import Model, Plan, encode, length_batches
from hmu.processes import everywhere, group
from tests.evaluation.toy import KICKS, TEXTS, Generating, Words, prompts, suite


def test_batches_hold_prompts_of_similar_length():
    batches = [index.tolist() for index in length_batches(torch.tensor([8, 16, 12, 20, 8]), 2)]
    assert batches == [[3, 1], [2, 0], [4]]


def test_each_distinct_text_is_encoded_once_for_all_repeats(tmp_path):
    backbone = Generating()
    suite(repeats=3).ask([Model("base", backbone, "b")], [prompts()], Words(), 0, Store(tmp_path / "g"))
    assert backbone.texts == [list(dict.fromkeys(TEXTS))]
    assert len(backbone.calls) == 9


def test_motions_depend_on_seed_and_batches_only_and_end_with_their_prompt():
    backbone, done = Generating(), []
    condition = encode(backbone, prompts())
    whole, again = (
        Plan(2, seed, 2, None, None, Store(None)).generate(backbone, prompts(), condition, repeat, done.append)
        for seed, repeat in ((3, 0), (2, 1))
    )
    assert torch.equal(whole, again)
    assert done == [2, 2, 1] * 2
    assert bool((whole[0, 8:] == 0).all())


def test_alone_there_is_one_process():
    assert group() == (0, 1)
    assert everywhere(None) is None


def run(folder, backbone, evaluator=None):
    cache = Store(folder / "generated")
    rows, _ = suite(bootstrap=20).run(
        [Model("base", backbone, "b")], [prompts()], evaluator or Words(), KICKS, 0, cache
    )
    return rows


@pytest.mark.parametrize("stop_at", [0, 1, 3, 5])
def test_an_interrupted_evaluation_goes_on_and_ends_with_the_same_numbers(tmp_path, stop_at):
    expected = run(tmp_path / "whole", Generating())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", Generating(stop_at))
    again = Generating()
    assert run(tmp_path / "part", again) == expected
    assert len(again.calls) == 6 - 3 * (stop_at // 3)  # whole repeats of three batches are kept


def test_a_full_disk_is_noticed_before_the_first_motion(tmp_path, monkeypatch):
    backbone, cache = Generating(), Store(tmp_path / "g")
    asked = ([Model("base", backbone, "b")], [prompts()], Words(), 0, cache)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9 - 100, 100))
    with pytest.raises(DataError, match=r"may need .* GB, 0\.0 GB are free: make room, name another place"):
        suite(repeats=3).ask(*asked)
    assert backbone.calls == []
    monkeypatch.undo()
    suite(repeats=3).ask(*asked)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 0))
    suite(repeats=3).ask(*asked)  # everything is there already


def test_motions_stay_on_disk_and_what_is_done_to_them_does_not_reach_it(tmp_path, monkeypatch):
    cache, motion, load, ways = Store(tmp_path), torch.randn(3, 4, 5), np.load, []

    def watched(file, **how):
        ways.append(how["mmap_mode"])
        return load(file, **how)

    monkeypatch.setattr(np, "load", watched)
    kept = cache.save("a", motion)
    assert torch.equal(kept, motion)
    assert ways == ["c"]
    kept += 1
    assert torch.equal(cache.load("a"), motion)


def test_a_second_evaluation_embeds_nothing_again(tmp_path):
    first, second = Words(), Words()
    expected = run(tmp_path, Generating(), first)
    assert "motion" in first.asked
    assert run(tmp_path, Generating(), second) == expected
    assert second.asked == []
    with torch.no_grad():
        second.weight += 1  # another evaluator
    assert run(tmp_path, Generating(), second) != expected
    assert "motion" in second.asked


def test_damaged_embeddings_are_made_again(tmp_path):
    motion, lengths = torch.ones(2, 8, 3), torch.tensor([8, 8])
    store, evaluator = EmbeddingStore(tmp_path), Words()
    expected = store.motion(evaluator, motion, lengths)
    (file,) = tmp_path.glob("*/array.npy")
    file.write_bytes(file.read_bytes()[:40])
    assert torch.equal(store.motion(evaluator, motion, lengths), expected)
    assert evaluator.asked == ["motion"] * 2


def test_what_is_remembered_depends_on_everything_that_was_shown(tmp_path):
    store, evaluator, captions = EmbeddingStore(tmp_path), Words(), prompts().captions
    masked, changed = store.masked(evaluator, captions, KICKS, "clean")
    assert changed.tolist() == [True, False, True, False, True]
    assert changed.dtype == torch.bool
    again, _ = store.masked(evaluator, captions, KICKS, "clean")
    assert torch.equal(masked, again)
    assert len(evaluator.asked) == 1
    store.masked(evaluator, captions, KICKS, "hmu")
    store.masked(evaluator, captions[:2], KICKS, "clean")
    store.text(evaluator, captions)
    assert len(evaluator.asked) == 4


def test_without_a_folder_nothing_is_kept():
    store, evaluator = EmbeddingStore(None), Words()
    for _ in range(2):
        store.text(evaluator, prompts().captions)
    assert evaluator.asked == ["text", "text"]


def test_a_variant_or_another_text_encoder_asks_anew(tmp_path):
    cache, calls = Store(tmp_path / "g"), []
    for variant, text in (("default", "a"), ("upstream", "a"), ("upstream", "b"), ("upstream", "b")):
        backbone = Generating()
        backbone.variant, backbone.text = variant, SimpleNamespace(fingerprint=text)
        suite(repeats=1).ask([Model("base", backbone, "b")], [prompts()], Words(), 0, cache)
        calls.append(len(backbone.calls))
    assert calls == [3, 3, 3, 0]
