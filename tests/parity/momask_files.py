"""What the MoMask parity cases share: finding the weights a case belongs to, or filling them by the stored rules.

A case does not name its checkpoint: of those beside it with fitting shapes the one is taken that reproduces the case's
first output best. A case without stored weights is of the published size (read from a manifest where one is near) and
its weights follow ``full_sine`` or ``full_hash`` of the golden vectors' README.
"""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hmu.backbones.momask.encoder import from_authors, to_authors
from hmu.backbones.tokens.authors import EMA
from hmu.checkpoints.options import read_options
from hmu.errors import CheckpointError
from tests import parity
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import Arrays

TOKENIZER, NETWORK, DOUBLE = 1e-5, 5e-5, 1e-9
M = TypeVar("M", bound=nn.Module)
CaseRunner = Callable[[Path], Iterator[Check]]
KNOWN_FILES = {"vectors.npz", "manifest_full.json", "case.json"}


class Case:
    """A case folder's arrays and settings.

    Args:
        folder: the case's folder.
        arrays: its vectors; of a full-size folder those of one part.
        part: the kind of network, ``rvq``, ``mtrans``, ``rtrans``, ``rtrans_noshare``, ``length``.
    """

    def __init__(self, folder: Path, arrays: Arrays, part: str) -> None:
        self.folder, self.arrays, self.part = folder, arrays, part

    @property
    def filled(self) -> str | None:
        """The fill rule, ``sine`` or ``hash``, of a case that is filled."""
        found = re.search(r"sine|hash", self.folder.name)
        return found.group(0) if found else None

    def settings(self, run: str) -> dict[str, Any]:
        """The entry ``run`` of ``case.json``, wherever it stands in it; empty if there is none."""
        path = self.folder / "case.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        own = content.get(self.part)
        for place in (own if isinstance(own, Mapping) else {}, content, *content.values()):
            if isinstance(place, Mapping) and isinstance(place.get(run), Mapping):
                return dict(place[run])
        return {}

    def hyper_parameters(self) -> dict[str, Any]:
        """Numbers of the published size: of this part's manifest here, else beside this case, else in another set."""
        beside = [self.folder.parent, *sorted(p for p in self.folder.parent.parent.iterdir() if p.is_dir())]
        for folder in [self.folder, *(place / self.part for place in beside)]:
            path = folder / "manifest_full.json"
            if path.is_file():
                content = json.loads(path.read_text(encoding="utf-8"))
                return dict(content.get(self.part, content).get("hyper_parameters", {}))
        return {}


def open_case(folder: Path, part: str) -> tuple[Case, list[Check]]:
    """The case, and failing checks for files of unknown kind."""
    strange = sorted(p.name for p in folder.iterdir() if p.name not in KNOWN_FILES)
    checks = [Check(f"file '{name}' of unknown kind", float("inf"), 0.0) for name in strange]
    return Case(folder, Arrays(folder / "vectors.npz"), part), checks


def folders(case: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every authors' model folder beside the case, with its options."""
    for opt in sorted((case.parent / "checkpoints").glob("*/*/opt.txt")):
        yield opt.parent, read_options(opt)


def pick(case: Path, found: Mapping[str, M], fits: Callable[[M], bool], error: Callable[[M], float]) -> M:
    """The fitting model; of several the one with the smallest ``error``.

    Raises:
        CheckpointError: none fits.
    """
    fitting = [model for model in found.values() if fits(model)]
    if not fitting:
        raise CheckpointError(f"case {case.name}: none of {', '.join(found) or 'no checkpoints'} has its shapes")
    return fitting[0] if len(fitting) == 1 else min(fitting, key=error)


def hashed(index: np.ndarray, seed: int, amplitude: float) -> np.ndarray:
    """Uniform-looking numbers in ``[-amplitude, amplitude)`` of flat indices."""
    value = 43758.5453 * np.sin(12.9898 * index + seed)
    return 2 * amplitude * (value - np.floor(value) - 0.5)


def filled_state(state: Mapping[str, Tensor], rule: str) -> dict[str, Tensor]:
    """Values for every floating tensor of ``state`` (the authors' names and shapes), by the stored rule."""
    result = {}
    for name, value in state.items():
        if name.endswith(("position_enc.pe", *EMA)) or not value.is_floating_point():
            result[name] = value
            continue
        seed, index = zlib.crc32(name.encode()) % 1000, np.arange(value.numel(), dtype=np.float64)
        book = re.fullmatch(r"quantizer\.layers\.(\d+)\.codebook", name)
        scale = 0.1 if value.dim() == 1 else 1 / math.sqrt(value.numel() / value.shape[0])
        if book:
            filling = hashed(index, seed, (0.5 if rule == "sine" else 1.7) / (int(book.group(1)) + 1))
        elif rule == "sine":
            filling = scale * np.sin(0.37 * index + seed)
        else:
            filling = hashed(index, seed, scale * math.sqrt(3))
        if value.dim() == 1 and name.endswith("weight"):  # of a norm
            filling = 1 + filling
        result[name] = torch.from_numpy(filling).view(value.shape).to(value.dtype)
    return result


def manifest(path: Path, state: Mapping[str, Tensor]) -> Iterator[Check]:
    """Names, shapes and types of a model of the published size under the authors' names, and the number of weights."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    expected = listed["state_dict"]
    ours = {n: {"shape": list(v.shape), "dtype": str(v.dtype).removeprefix("torch.")} for n, v in state.items()}
    yield exact("manifest names", sorted(ours), sorted(expected))
    for key in ("shape", "dtype"):
        yield exact(f"manifest {key}", {n: v[key] for n, v in ours.items()}, {n: v[key] for n, v in expected.items()})
    if "num_elements" in listed:
        yield exact("manifest num_elements", sum(v.numel() for v in state.values()), listed["num_elements"])


def check_all(arrays: Arrays, outputs: Mapping[str, Any], tolerance: float, prefix: str = "") -> Iterator[Check]:
    """Compare each output whose name the case stores; whole numbers and flags must be equal."""
    for name, value in outputs.items():
        full = f"{prefix}{name}"
        if full in arrays:
            yield compare_array(full, value, arrays[full], tolerance)


def compare_array(name: str, ours: Any, expected: np.ndarray, tolerance: float) -> Check:
    """:func:`exact` for whole numbers and flags, else :func:`compare`."""
    value = ours.detach().cpu().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    return exact(name, value, expected) if expected.dtype.kind in "iub" else compare(name, value, expected, tolerance)


def deviation(ours: Tensor, expected: np.ndarray) -> float:
    """How far an output is from the stored one; infinite for another shape or NaN."""
    found = compare("", ours.detach().numpy(), expected, 0.0).deviation
    return found if found == found else float("inf")


def fill_by_rule(model: M, rule: str) -> M:
    """``model`` with every weight filled by a rule, which speaks of the authors' names; in evaluation mode."""
    model.load_state_dict(from_authors(filled_state(to_authors(model.state_dict()), rule)))
    return model.eval()


def other_runner(kind: str, own: CaseRunner) -> CaseRunner | None:
    """What another module of this package offers for a kind of case: BAMM's vectors have kinds of the same name."""
    for module in pkgutil.iter_modules(parity.__path__):
        if not module.name.startswith("__"):
            found = getattr(importlib.import_module(f"{parity.__name__}.{module.name}"), "KINDS", {}).get(kind)
            if found is not None and found is not own:
                return found
    return None
