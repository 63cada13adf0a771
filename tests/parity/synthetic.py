"""Writes golden cases of kinds that the shared set lacks, with hmu's own numbers, so that the reader meets them.

Everything that may vary does: sizes, seeds, fills, names, which settings are told. A writer takes the folder of a
system and whether the networks are to be of the published size; it returns the case. Small networks are told by
manifests beside, as in the shared set; what a network answers comes from the tables that the golden cases hold true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.data.batch import length_mask
from tests.parity.case import Case, Table, row_of
from tests.parity.fills import doubled
from tests.parity.manifests import MANIFEST

Arrays = dict[str, np.ndarray]
#: (folder of a system, published size) -> case
Writer = Callable[[Path, bool], Path]


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Inputs on a coarse grid, as the shared ones."""
    return (np.round(np.random.default_rng(seed).standard_normal(shape) * 16) / 16).astype(np.float32)


def whole(seed: int, high: int, *shape: int) -> np.ndarray:
    """Whole numbers below ``high``."""
    return np.random.default_rng(seed).integers(0, high, shape)


def array(value: Any) -> np.ndarray:
    """What is stored of a value."""
    return np.asarray(value.detach() if isinstance(value, Tensor) else value)


def manifest(system: Path, part: str, sizes: Mapping[str, Any]) -> None:
    """The sizes of a kind of network, in another set of the system."""
    folder = system / "dev" / part
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps({"hyper_parameters": dict(sizes)}))


def store(folder: Path, arrays: Mapping[str, Any], name: str = "vectors") -> Path:
    """Write arrays of a case; returns the case."""
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Any] = {key: array(value) for key, value in arrays.items()}
    np.savez(folder / f"{name}.npz", **stored)
    return folder


def answers(inputs: Arrays, model: Any, table: Table, names: str, at: str = "") -> Arrays:
    """What a model makes of inputs, under names of a table: ``_f64`` in double, ``_first2`` two rows of each."""
    views = {False: (Case(Path(), inputs, at=at), model)}
    if "_f64" in names:
        views[True] = (Case(Path(), inputs, at=at).double(), model and next(doubled(model)))
    outputs: Arrays = {}
    for name in names.split():
        case, net = views["_f64" in name]
        stem = name.replace("_f64", "")
        row = row_of(table, stem)
        assert row is not None, f"no row for {name}"
        with torch.no_grad():
            value = array(row.value(case, net))
        outputs[at + name] = value[:, :2] if name.endswith("_first2") else value
    return outputs


def prompts(seed: int, rows: int, words: int, width: int) -> Arrays:
    """Word features with their mask; row 0 is the empty prompt of two tokens."""
    lengths = torch.from_numpy(np.concatenate([[2], 3 + whole(seed, words - 2, rows - 1)]))
    return {"text_emb": numbers(seed, rows, words, width), "text_mask": length_mask(lengths, words).numpy()}
