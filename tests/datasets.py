"""Data sets of tests, with what ``configs/dataset`` says of everything that a test does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hmu.compose import composed
from hmu.data.dataset import DatasetSource
from hmu.gait.source import GaitSource


def settings(option: str) -> dict[str, Any]:
    """The arguments that ``configs/dataset/<option>.yaml`` gives."""
    node: Any = OmegaConf.to_container(composed("dataset", option))
    return {key: value for key, value in node.items() if key != "_target_"}


def dataset(name: str, root: Path | str | None = None, **changes: Any) -> DatasetSource:
    """A folder in HumanML3D layout, or what ``generator`` makes."""
    return DatasetSource(**(settings("demo") | {"name": name, "root": root, "generator": None} | changes))


def trials(name: str, folder: Path | None = None, **changes: Any) -> GaitSource:
    """A folder of gait trials, or what ``generator`` makes."""
    return GaitSource(**(settings("gait") | {"name": name, "trials": folder} | changes))
