"""One case: a folder's arrays and settings, read so that whatever is there is compared and nothing need be there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.opt import read_options
from hmu.errors import CheckpointError
from tests.parity.checks import Check, exact, fewest_failures, match, unchecked
from tests.parity.fills import doubled

DOUBLE, HALF = 1e-9, 1e-3
#: endings of arrays that hold the first rows or columns of an output, or halves
PARTIAL = re.compile(r"(_(first\d*|f32|f16|head|corner))+$")
#: a row of a table: ``(case, model, *groups of its name's pattern)`` -> our value, or (ours, theirs, tolerance)
Row = Callable[..., Any]
Table = Mapping[str, Row]
SILENT = {".md"}  # documentation


def read_json(path: Path) -> Any:
    """Parsed JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz``; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@dataclass
class Case:
    """Arrays and settings of one case, or of a part of it.

    Attributes:
        folder: where it lies. stored: every array. part: the kind of network that a file of several is about.
        at: what stands before the names of this view. dtype: of the floating tensors of this view.
        lent: arrays of other files that this one does not repeat.
        used: names that a comparison has read; the others are of unknown meaning.
        memory: results that several rows share.
    """

    folder: Path
    stored: Mapping[str, np.ndarray]
    part: str = ""
    at: str = ""
    dtype: torch.dtype = torch.float32
    facts: Mapping[str, Any] = field(default_factory=dict)
    lent: Mapping[str, np.ndarray] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    memory: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, part: str = "", files: tuple[str, ...] = ("vectors.npz", "*.npz")) -> Case:
        """The case of a folder: the first pattern of ``files`` that is there, and the JSON files beside."""
        found = next((paths for pattern in files if (paths := sorted(folder.glob(pattern)))), [])
        stored = {name: value for path in found for name, value in read_arrays(path).items()}
        return cls(folder, stored, part or folder.name, facts=facts_of(folder))

    # -- arrays ----------------------------------------------------------------------------------------------------
    def _key(self, name: str) -> str:
        """The stored name: inputs of full-size cases may be stored as halves under ``<name>_f16``."""
        full = self.at + name
        return full if full in self.stored or f"{full}_f16" not in self.stored else f"{full}_f16"

    def __contains__(self, name: str) -> bool:
        return self._key(name) in self.stored or self._key(name) in self.lent

    def _value(self, name: str) -> np.ndarray:
        key = self._key(name)
        return self.stored[key] if key in self.stored else self.lent[key]

    def raw(self, name: str) -> np.ndarray:
        """An array as stored.

        Raises:
            CheckpointError: the case lacks it.
        """
        if name not in self:
            raise CheckpointError(f"case {self.folder.name}: array '{self.at}{name}' is missing, which others need")
        self.used.add(self._key(name))
        return self._value(name)

    def __getitem__(self, name: str) -> Tensor:
        value = torch.from_numpy(np.ascontiguousarray(self.raw(name)))
        return value.to(self.dtype) if value.is_floating_point() else value

    def get(self, *names: str) -> Tensor | None:
        """The first of these arrays that is there."""
        return next((self[name] for name in names if name in self), None)

    def number(self, name: str, default: float) -> float:
        """A stored number, else one of the JSON settings, else ``default``."""
        if name in self:
            return float(self.raw(name))
        value = self.facts.get(name, default)
        return float(default if value is None else value)

    def names(self) -> list[str]:
        """Names in this view, without what stands before them."""
        return [name.removeprefix(self.at) for name in self.stored if name.startswith(self.at)]

    def find(self, pattern: str) -> list[re.Match[str]]:
        """Names in this view that fit a pattern."""
        return [found for name in self.names() if (found := re.fullmatch(pattern, name))]

    def last(self, *names: str) -> int | None:
        """The last dimension of the first of these arrays that is there; it counts as not read."""
        return next((self._value(name).shape[-1] for name in names if name in self), None)

    def dims(self, name: str) -> int:
        """How many dimensions an array has; 0 where it is not there. It counts as not read."""
        return self._value(name).ndim if name in self else 0

    # -- views -----------------------------------------------------------------------------------------------------
    def under(self, prefix: str) -> Case:
        """The arrays below a prefix."""
        return replace(self, at=self.at + prefix, memory={})

    def double(self) -> Case:
        """The same arrays as double precision."""
        return replace(self, dtype=torch.float64, memory={})

    def groups(self, pattern: str) -> list[str]:
        """First parts (up to a slash) of the names that fit a pattern, in order."""
        first = dict.fromkeys(name.split("/")[0] for name in self.names() if "/" in name)
        return sorted(name for name in first if re.fullmatch(pattern, name))

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """``make()``, computed once per view."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def settings(self, run: str) -> dict[str, Any]:
        """The entry ``run`` of the JSON settings, wherever it stands in them; empty if there is none."""
        own = self.facts.get(self.part)
        for place in (own if isinstance(own, Mapping) else {}, self.facts, *self.facts.values()):
            if isinstance(place, Mapping) and isinstance(place.get(run), Mapping):
                return dict(place[run])
        return {}

    # -- comparing -------------------------------------------------------------------------------------------------
    def rows(self, model: Any, table: Table, tolerance: float) -> Iterator[Check]:
        """Compare every stored array that a row of the table makes, in this view's precision only."""
        suffix = "_f64" if self.dtype == torch.float64 else ""
        for name in self.names():
            if ("_f64" in name) != bool(suffix):
                continue
            whole = name.replace("_f64", "")
            for stem in dict.fromkeys((whole, PARTIAL.sub("", whole))):
                if (fitting := row_of(table, stem)) is not None:
                    row, groups = fitting
                    yield from self._compared(name, row(self, model, *groups), tolerance, stem != whole)
                    break

    def _compared(self, name: str, ours: Any, tolerance: float, partial: bool) -> Iterator[Check]:
        """Our value of one stored array; of a partial one (``…_first2``) the first rows and columns."""
        if isinstance(ours, tuple):
            self.raw(name)
            yield match(self.at + name, ours[0], np.asarray(ours[1]), ours[2])
        elif ours is not None:
            expected = self.raw(name)
            if partial:
                ours = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours)
                ours = ours[tuple(slice(0, size) for size in expected.shape)].reshape(expected.shape)
            loose = max(tolerance, HALF) if expected.dtype == np.float16 else tolerance
            yield match(self.at + name, ours, expected, loose)

    def given(self, outputs: Mapping[str, Any], tolerance: float) -> Iterator[Check]:
        """Compare ready outputs with the arrays of their names, where stored."""
        for name, value in outputs.items():
            if name in self:
                yield match(self.at + name, value, self.raw(name), tolerance)

    def table(self, model: Any, table: Table, tolerance: float, double: float = DOUBLE) -> Iterator[Check]:
        """:meth:`rows` in single precision, then those arrays that are stored in double precision, in that."""
        yield from self.rows(model, table, tolerance)
        if any(name.endswith("_f64") for name in self.names()):
            yield from fewest_failures(list(self.double().rows(twin, table, double)) for twin in doubled(model))

    def unread(self) -> Iterator[Check]:
        """A note for every array that no comparison used."""
        for name in self.stored:
            if name not in self.used:
                yield unchecked(f"array '{name}'", "unknown meaning")


def row_of(table: Table, name: str) -> tuple[Row, tuple[str, ...]] | None:
    """The row of a name, and the groups of its pattern."""
    fits = ((row, found.groups()) for pattern, row in table.items() if (found := re.fullmatch(pattern, name)))
    return next(fits, None)


def facts_of(folder: Path) -> dict[str, Any]:
    """The settings of a folder: its JSON files joined, without manifests."""
    facts: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith("manifest") and isinstance(content := read_json(path), dict):
            facts |= content
    return facts


def strange(folder: Path, *known: str) -> Iterator[Check]:
    """A note for every file or folder that is not among ``known`` (names, suffixes or patterns)."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in {*known, *SILENT} and not any(path.match(pattern) for pattern in known):
            yield unchecked(f"'{path.name}'", "unknown kind")


def above(folder: Path, levels: int = 3) -> Iterator[Path]:
    """The folder and those above it, nearest first."""
    for _ in range(levels + 1):
        yield folder
        folder = folder.parent


def beside(folder: Path, pattern: str) -> list[Path]:
    """Files that fit a pattern in the case, beside it, or beside its set: the nearest place that has any."""
    for place in above(folder.resolve()):
        if found := sorted(place.glob(pattern)):
            return found
    return []


def checkpoints(folder: Path, file: str = "opt.txt") -> list[Path]:
    """Files of that name in the authors' model folders of the nearest ``checkpoints``."""
    for place in above(folder.resolve()):
        if (place / "checkpoints").is_dir() and (found := sorted((place / "checkpoints").glob(f"**/{file}"))):
            return found
    return []


def model_folders(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every authors' model folder beside a case, with its options."""
    for opt in checkpoints(folder):
        yield opt.parent, read_options(opt)


def published(folder: Path, *parts: str) -> dict[str, Any]:
    """Numbers of the published size from the nearest manifest of one of these parts; empty where none is near."""
    for place in above(folder.resolve(), 2):
        for pattern in ("manifest_full.json", "*/manifest_full.json", "*/*/manifest_full.json"):
            for path in sorted(place.glob(pattern)):
                content = read_json(path)
                for part in parts:
                    own = content.get(part, content if path.parent.name == part else {})
                    numbers = own.get("hyper_parameters") if isinstance(own, Mapping) else None
                    if numbers:
                        return dict(numbers)
    return {}


def manifest(path: Path, state: Mapping[str, Tensor], module: torch.nn.Module | None = None) -> Iterator[Check]:
    """Names, shapes, types (and kinds, trainability and totals where told) of a model of the published size."""
    listed = read_json(path)
    expected = listed["state_dict"]
    parameters = dict(module.named_parameters()) if module is not None else {}
    ours: dict[str, dict[str, Any]] = {
        name: {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "kind": "parameter" if name in parameters else "buffer",
            "requires_grad": name in parameters and parameters[name].requires_grad,
        }
        for name, value in state.items()
    }
    yield exact("manifest names", sorted(ours), sorted(expected))
    told: Mapping[str, Any] = next(iter(expected.values()), {})
    for key in [key for key in ("shape", "dtype") if key in told] + [
        key for key in ("kind", "requires_grad") if module and key in told
    ]:
        yield exact(f"manifest {key}", {n: v[key] for n, v in ours.items()}, {n: v[key] for n, v in expected.items()})
    totals = {
        "num_elements": sum(value.numel() for value in state.values()),
        "parameters_total": sum(p.numel() for p in parameters.values()),
        "parameters_trainable": sum(p.numel() for p in parameters.values() if p.requires_grad),
    }
    for key in totals.keys() & listed.keys():
        yield exact(f"manifest {key}", totals[key], listed[key])
