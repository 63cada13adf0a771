"""One case: a folder's arrays and settings, read so that whatever is there is compared and nothing need be there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from hmu.errors import CheckpointError
from tests.parity.checks import Checks, deviation, exact, fewest_failures, match, unchecked
from tests.parity.fills import doubled

T = TypeVar("T")
P = ParamSpec("P")
DOUBLE, HALF = 1e-9, 1e-3
#: endings of arrays that hold the first rows or columns of an output, or halves
PARTIAL = re.compile(r"(_(first\d*|f32|f16|head|corner))+$")
#: ``(case, model, *groups of its name's pattern)`` -> our value; with a tolerance of its own where it has one
Row = Callable[..., Any]
Table = Mapping[str, Row | tuple[Row, float]]
SILENT = {".md"}  # documentation


def read_json(path: Path) -> Any:
    """Parsed JSON; empty where there is no such file.

    Raises:
        CheckpointError: it is broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise CheckpointError(f"{path.name}: no JSON ({error})") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz``; nothing is unpickled.

    Raises:
        CheckpointError: it is broken.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path.name}: no archive of arrays ({error})") from error


@dataclass
class Case:
    """Arrays and settings of one case, or of a part of it.

    Attributes:
        folder: where it lies. stored: every array. part: the kind of network that a file of several is about.
        at: what stands before the names of this view. dtype: of the floating tensors of this view.
        lent: arrays of other files that this one does not repeat.
        used: names that a comparison has read; the others are of unknown meaning.
        memory: results that several rows share (:func:`once`).
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
    def read(cls, folder: Path, *files: str) -> Case:
        """The case of a folder: the first pattern of ``files`` that is there, and the JSON files beside."""
        paths = next((paths for pattern in files if (paths := sorted(folder.glob(pattern)))), [])
        stored = {name: value for path in paths for name, value in read_arrays(path).items()}
        return cls(folder, stored, folder.name, facts=facts_of(folder))

    @classmethod
    def each(cls, folder: Path, facts: Mapping[str, Any] | None = None) -> Iterator[Case]:
        """Every ``.npz`` of a folder as a part, with these settings, else those of the JSON of its name."""
        for path in sorted(folder.glob("*.npz")):
            own = read_json(path.with_suffix(".json")) if facts is None else facts
            yield cls(folder, read_arrays(path), path.stem, facts=own)

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

    def first(self, *names: str) -> str:
        """The first of these names whose array is there; empty where none is."""
        return next((name for name in names if name in self), "")

    def get(self, *names: str) -> Tensor | None:
        """The first of these arrays that is there."""
        return self[name] if (name := self.first(*names)) else None

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
        return [fit for name in self.names() if (fit := re.fullmatch(pattern, name))]

    def last(self, *names: str) -> int | None:
        """The last dimension of the first of these arrays that is there; it counts as not read."""
        return self._value(name).shape[-1] if (name := self.first(*names)) else None

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
        starts = {name.split("/")[0] for name in self.names() if "/" in name}
        return sorted(name for name in starts if re.fullmatch(pattern, name))

    def settings(self, run: str) -> dict[str, Any]:
        """The entry ``run`` of the JSON settings, wherever it stands, first under the case's kind; else empty."""
        own = sorted((name for name in self.facts if self.part.startswith(name)), key=len, reverse=True)
        for place in (*(self.facts[name] for name in own), self.facts, *self.facts.values()):
            if isinstance(place, Mapping) and isinstance(place.get(run), Mapping):
                return dict(place[run])
        return {}

    # -- comparing -------------------------------------------------------------------------------------------------
    def rows(self, model: Any, table: Table, tolerance: float) -> Checks:
        """Compare every stored array that a row of the table makes, in this view's precision only."""
        for name in self.names():
            whole = name.replace("_f64", "")
            if (whole == name) != (self.dtype == torch.float64) and (row := row_of(table, whole)) is not None:
                ours = row.value(self, model)
                if ours is None:
                    continue
                expected = self.raw(name)
                if row.partial:
                    ours = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours)
                    ours = ours[tuple(slice(0, size) for size in expected.shape)].reshape(expected.shape)
                loose = max(tolerance, HALF) if expected.dtype == np.float16 else tolerance
                yield match(self.at + name, ours, expected, loose if row.tolerance is None else row.tolerance)

    def off(self, model: Any, table: Table, name: str) -> float:
        """How far our value of one stored array is from it."""
        row = row_of(table, name.replace("_f64", ""))
        return float("inf") if row is None else deviation(row.value(self, model), self.raw(name))

    def given(self, outputs: Mapping[str, Any], tolerance: float, *, absolute: bool = False) -> Checks:
        """Compare ready outputs with the arrays of their names, where stored."""
        for name, value in outputs.items():
            if name in self:
                yield match(self.at + name, value, self.raw(name), tolerance, absolute=absolute)

    def recorded(self, outputs: Mapping[str, Any], before: str = "") -> Checks:
        """Compare ready values with the JSON settings of their names, where there are such."""
        for name, value in outputs.items():
            if name in self.facts:
                yield exact(f"{before}{name}", value, self.facts[name])

    def table(
        self,
        model: Any,
        table: Table,
        tolerance: float,
        double: float = DOUBLE,
        twins: Callable[[Any], Iterable[Any]] = doubled,
    ) -> Checks:
        """:meth:`rows` in single precision, then those arrays that are stored in double precision, in that."""
        yield from self.rows(model, table, tolerance)
        if any(name.endswith("_f64") for name in self.names()):
            yield from fewest_failures(self.double().rows(twin, table, double) for twin in twins(model))

    def unread(self) -> Checks:
        """A note for every array that no comparison used."""
        for name in self.stored:
            if name not in self.used:
                yield unchecked(f"array '{name}'", "unknown meaning")


def once(make: Callable[Concatenate[Case, P], T]) -> Callable[Concatenate[Case, P], T]:
    """``make(case, …)``, whose results rows share: computed once per view and arguments."""

    @wraps(make)
    def shared(case: Case, /, *arguments: P.args, **named: P.kwargs) -> T:
        key = (make, arguments, tuple(named.items()))
        if key not in case.memory:
            case.memory[key] = make(case, *arguments, **named)
        return case.memory[key]

    return shared


@dataclass(frozen=True)
class Fitting:
    """The row of one name; ``partial``: the name is that of a part of what the row makes."""

    row: Row
    groups: tuple[str, ...]
    tolerance: float | None
    partial: bool

    def value(self, case: Case, model: Any) -> Any:
        """What is ours."""
        return self.row(case, model, *self.groups)


def row_of(table: Table, name: str) -> Fitting | None:
    """The row of a name, else of the output that it is the first part of."""
    for stem in dict.fromkeys((name, PARTIAL.sub("", name))):
        for pattern, row in table.items():
            if (fit := re.fullmatch(pattern, stem)) is not None:
                function, tolerance = row if isinstance(row, tuple) else (row, None)
                return Fitting(function, fit.groups(), tolerance, stem != name)
    return None


def facts_of(folder: Path) -> dict[str, Any]:
    """The settings of a folder: its JSON files joined, without manifests."""
    facts: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith("manifest") and isinstance(content := read_json(path), dict):
            facts |= content
    return facts


def above(folder: Path, levels: int = 3) -> Iterator[Path]:
    """The folder and those above it, nearest first."""
    for _ in range(levels + 1):
        yield folder
        folder = folder.parent


def checkpoints(folder: Path, file: str = "opt.txt") -> list[Path]:
    """Files of that name in the authors' model folders of the nearest ``checkpoints``."""
    return next(
        (paths for place in above(folder.resolve()) if (paths := sorted(place.glob(f"checkpoints/**/{file}")))), []
    )
