"""A data set: clips that are made on first use."""

from __future__ import annotations

from pathlib import Path

from hmu.data import demo


def grow(folder: Path, seed: int, clips: int) -> None:
    """Write a folder in HumanML3D layout."""
    demo.generate(folder, seed=seed, clips=clips)
