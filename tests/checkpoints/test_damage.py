"""Every cache that the project writes, damaged in every way: noticed in one line, made again, with equal numbers."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest
import torch

from hmu.checkpoints.store import ROWS, Store
from hmu.data.dataset import DatasetSource
from hmu.evaluation.gallery import build_gallery
from hmu.evaluation.generation import Model
from hmu.gait import demo as gait_demo
from hmu.methods.codebook.encoding import encode
from hmu.text.cache import CachedTextEncoder
from tests.checkpoints.damage import CLIPS, DAMAGES, copied, files
from tests.data.conftest import FEATURES, write_layout
from tests.datasets import dataset, trials
from tests.evaluation.toy import KICKS, Generating, Words, prompts, suite
from tests.methods.fake_edits import CodeBackbone, CodeClips
from tests.text.test_cache import TEXTS, frozen


def write(target: Path, seed: int) -> None:
    write_layout(target)


def source(cache: Path) -> DatasetSource:
    return dataset("toy", cache_dir=cache, features=FEATURES, generator=partial(write, seed=0))


def of_data(cache: Path) -> list[object]:
    made = source(cache)
    clips = made.clips("train+val+test")
    batch = clips.batch(range(len(clips)), caption=1)
    return [batch.motion.numpy().tobytes(), batch.texts, clips.ids, made.fingerprint, made.mean, made.std]


def of_gait(cache: Path) -> list[object]:
    generator = partial(gait_demo.generate, subjects=3, trials=1, seconds=2.0)
    made = trials("steps", cache_dir=cache, generator=generator)
    clips = made.clips("train+val+test")
    return [clips.batch(range(len(clips))).motion.numpy().tobytes(), clips.ids, made.heights(clips), made.mean]


def of_evaluation(cache: Path) -> list[object]:
    kept = Store(cache / "generated")
    rows, _ = suite(bootstrap=20).run([Model("base", Generating(), "b")], [prompts()], Words(), KICKS, 0, kept)
    return [rows]


def of_gallery(cache: Path) -> list[object]:
    return [build_gallery(source(cache), "all", Words3(), cache / "galleries").latents]


def of_codes(cache: Path) -> list[object]:
    return [encode(CodeBackbone(), CodeClips(["kicks", "walks"], 9), folder=cache / "codes").codes.tobytes()]


def of_texts(cache: Path) -> list[object]:
    found = CachedTextEncoder(frozen(), cache / "text").encode(TEXTS)
    return [found.tokens, found.pooled, found.mask]


class Words3(Words):
    width = FEATURES


CACHES = {
    "data": of_data,
    "gait": of_gait,
    "evaluation": of_evaluation,
    "gallery": of_gallery,
    "codes": of_codes,
    "texts": of_texts,
}

SLOW = {"gait": pytest.mark.slow}  # each conversion takes a second


def same(one: list[object], other: list[object]) -> bool:
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, tuple[Path, list[object]]]:
    """Each cache, sound, and the numbers that come with it."""
    root = tmp_path_factory.mktemp("caches")
    return {name: (root / name, numbers(root / name)) for name, numbers in CACHES.items()}


def damage_said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "damaged (" in record.getMessage()]


def unread(name: Path, kind: str) -> bool:
    """Whether nothing reads what was done: a lost file is simply made again, and the clips of generated data stay
    unread while the pack that was made from them is sound. Of a file of rows only the rows are checked: no damage to
    what holds them together gives other ones (tests/checkpoints/test_store.py)."""
    alone = name.name == ROWS
    clip = (name.parent.name in CLIPS or "trials" in name.parts) and "kick" not in name.parts
    around = name.name == ROWS and kind in ("flip", "empty", "append", "swap")
    return (alone and kind == "delete") or (clip and kind.startswith(("flip", "swap"))) or around


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("cache", [pytest.param(name, marks=SLOW.get(name, ())) for name in CACHES])
def test_damage_is_noticed_and_leaves_the_numbers_alone(made, tmp_path, caplog, cache, kind):
    sound, expected = made[cache]
    assert same(CACHES[cache](copied(sound, tmp_path / "c")), expected)
    assert "damaged" not in caplog.text
    for name in files(sound / "galleries" if cache == "gallery" else sound):
        name = "galleries" / name if cache == "gallery" else name
        place = copied(sound, tmp_path / "c")
        DAMAGES[kind](place / name)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert same(CACHES[cache](place), expected), f"{name}: other numbers"
        lines = damage_said(caplog)
        assert len(lines) == 1 or unread(name, kind), (str(name), lines)
        assert not any("\n" in line for line in lines)
        caplog.clear()
        assert same(CACHES[cache](place), expected)
        assert not damage_said(caplog), f"{name}: not mended"
