"""A tiny data set in HumanML3D layout, made on the fly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import dataset

FEATURES = 5
TEXTS = {
    "a": "he kicks#he/PRON kick/VERB#0.0#0.0\nhe strikes out#he/PRON strike/VERB#0.0#0.0\n",
    "b": "she walks#she/PRON walk/VERB#0.0#0.0\nshe jumps#she/PRON jump/VERB#1.0#3.5\n",
    "Mb": "she walks#she/PRON walk/VERB#nan#nan",
    "c": "he sits#he/PRON sit/VERB#0.0#0.0\r\nhe punches#he/PRON punch/VERB#0.5#0.0\r\n",
    "d": "short#a/DET#0.0#0.0\n",
    "e": "he waves#he/PRON wave/VERB#0.0#0.0\n",
    "f": "he kicked it#he/PRON kick/VERB#0.0#0.0\n",
}
LENGTHS = {"a": 60, "b": 101, "Mb": 101, "c": 199, "d": 39, "e": 40, "f": 77}
SPLITS = {"train": ["a", "b", "Mb", "c", "d"], "val": ["e"], "test": ["f"]}


def motion_of(name: str, frames: int) -> np.ndarray:
    """Frame number and a digit of the name in known columns."""
    motion = np.zeros((frames, FEATURES), np.float32)
    motion[:, 0] = np.arange(frames)
    motion[:, 1] = sum(map(ord, name))
    motion[:, 2] = 1.0
    return motion


def write_layout(root: Path, texts: Mapping[str, str] = TEXTS, lengths: Mapping[str, int] = LENGTHS) -> Path:
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, frames in lengths.items():
        np.save(root / "new_joint_vecs" / f"{name}.npy", motion_of(name, frames))
    for name, text in texts.items():
        (root / "texts" / f"{name}.txt").write_bytes(text.encode())
    for split, ids in SPLITS.items():
        (root / f"{split}.txt").write_text("\n".join(ids) + "\n")
    np.save(root / "Mean.npy", np.zeros(FEATURES))
    np.save(root / "Std.npy", np.ones(FEATURES))
    return root


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "Tiny")


@pytest.fixture
def make_source(layout: Path, tmp_path: Path):
    def make(**change):
        return dataset(
            **({"name": "tiny", "root": layout, "features": FEATURES, "cache_dir": tmp_path / "cache"} | change)
        )

    return make
