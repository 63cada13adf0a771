"""Many runs at once: find them, read what each was and measured, and put equal ones with other seeds together.

Nothing here is fatal: a run that was interrupted, or whose files are broken, is kept with the reason in words.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hmu.documents import read_json, read_yaml
from hmu.errors import DataError
from hmu.evaluation.results import Results, Row
from hmu.overrides import chosen_by, mapping, recorded_choices, split
from hmu.report.numbers import Key

CHOICES = ("dataset", "backbone", "concept", "method")
#: what a command line says about the machine or the book-keeping, not about the method
ASIDE = {"seed", "threads", "ckpt", "reference", "evaluate", "device", "job", "run_name", "resume", "subject", *CHOICES}
ASIDE_NODES = ("paths", "hydra", "trainer", "logger", "debug")
SEEDS = "seeds"  # what a row's interval comes from that is the range over runs


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        choices: dataset, backbone, concept and method by name.
        overrides: what the command line set, without book-keeping; settings: those of them in which runs differ.
        seconds: of all its stages; megabytes: of its edit.
        results: what it measured, or None, and then ``problem`` says why.
    """

    path: Path
    choices: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""
    status: str = "unknown"
    seconds: float | None = None
    megabytes: float | None = None
    results: Results | None = None
    problem: str | None = None

    @property
    def task(self) -> tuple[str, str, str]:
        """Data set, backbone, concept: runs with the same can be compared."""
        return (self.choices["dataset"], self.choices["backbone"], self.choices["concept"])

    @property
    def name(self) -> str:
        """Method and settings, ``lora rank=4 lambda_forget=0.5``."""
        return " ".join(
            [self.choices["method"], *(f"{k.removeprefix('method.')}={v}" for k, v in self.settings.items())]
        )

    @property
    def concept(self) -> str:
        """What was unlearned, as its numbers call it."""
        return str(({} if self.results is None else self.results.context).get("concept", self.choices["concept"]))

    @property
    def measured(self) -> Sequence[Row]:
        """Its numbers, none where there are none."""
        return () if self.results is None else self.results.rows

    @property
    def report(self) -> Path | None:
        """The run's own report, to be linked."""
        paths = (self.path / name for name in ("report.html", "report.md"))
        return next((path for path in paths if path.is_file()), None)


@dataclass(frozen=True)
class Line:
    """A line of a table: runs that differ in their seed only (one where seeds are kept apart)."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run that stands for all, except for numbers."""
        return self.runs[0]

    @property
    def seconds(self) -> float | None:
        """Mean over the runs that know it."""
        return mean_of(run.seconds for run in self.runs)

    def row(self, model: str, key: Key) -> Row | None:
        """A number of one model: of one run with its 95 % interval, of several as mean with the range over them.

        ``repeats`` of the row is the number of runs where there are several.
        """
        rows = [row for run in self.runs if (row := row_of(run, model, key)) is not None and math.isfinite(row.value)]
        if len(rows) < 2:
            return rows[0] if rows else None
        values = [row.value for row in rows]
        mean = math.fsum(values) / len(values)
        return replace(rows[0], value=mean, low=min(values), high=max(values), repeats=len(values), interval=SEEDS)


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of those that are known and finite; None without any."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


# -- finding and reading -----------------------------------------------------------------------------------------------
def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Run folders at or below ``folders``, in order, each once. A run has ``run.json`` or ``.hydra/``."""
    paths: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"'{folder}' is no folder: give run folders, sweep folders, or a folder above them")
        for place, below, files in os.walk(folder):
            below.sort()
            if "run.json" in files or ".hydra" in below:
                below.clear()  # what a run holds is not looked through
                paths.setdefault(Path(place).resolve(), Path(place))
    return list(paths.values())


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """All runs at or below ``folders``, with the settings in which they differ; training runs are left out.

    DataError for a folder that does not exist, and where there is no run anywhere.
    """
    folders = list(folders)
    paths = find_runs(folders)
    runs = [run for run in map(read_run, paths) if run is not None]
    if not runs:
        hint = f"{len(paths)} training runs, which measure nothing" if paths else "no run.json at any depth"
        raise DataError(f"no run of unlearn.py or evaluate.py in {', '.join(map(str, folders))}: {hint}")
    return [replace(run, settings=_settings(run, runs)) for run in runs]


def read_run(path: Path) -> Run | None:
    """What a folder says about its run; None for a training run."""
    record, problem = _json(path / "run.json")
    config = mapping(path / "config.yaml") or mapping(path / ".hydra" / "config.yaml")
    if config.get("job") == "train" or "stages" in record:
        return None
    results, status = None, str(record.get("status", "unknown"))
    if (path / "metrics.json").is_file():
        try:
            results = Results.load(path / "metrics.json")
        except DataError as error:
            problem = " ".join(str(error).split())
    elif problem is None:
        problem = _why(record, config)
    size = record.get("edit", {}).get("bytes") if isinstance(record.get("edit"), dict) else None
    timings = record.get("timings") if isinstance(record.get("timings"), dict) else {}
    times = [v for v in (timings or {}).values() if isinstance(v, (int, float))]
    return Run(
        path,
        _choices(path, config, results),
        overrides=_overrides(path),
        seed=str(record.get("seed", config.get("seed", ""))),
        status=status,
        seconds=math.fsum(times) if times else None,
        megabytes=size / 1e6 if isinstance(size, (int, float)) else None,
        results=results,
        problem=problem,
    )


def _why(record: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if not record:
        return "ended before it began: see its log"
    if record.get("problem"):  # how it ended, in its own words
        return f"{record['status']}: {record['problem']}"
    if record.get("status") == "complete":
        return "was not asked to measure (evaluate=false)" if config.get("evaluate") is False else "has no metrics.json"
    done = ", ".join(map(str, record["timings"] if isinstance(record.get("timings"), dict) else ())) or "nothing"
    return f"is unfinished (running, or interrupted after: {done})"


def _json(path: Path) -> tuple[dict[str, Any], str | None]:
    if not path.is_file():
        return {}, None
    try:
        content = read_json(path, limit=16 << 20)
    except DataError as error:
        return {}, f"{path.name} is broken: {str(error).removeprefix(f'{path}: ')}"
    return (content, None) if isinstance(content, dict) else ({}, f"{path.name} is broken: expected a mapping")


def _choices(path: Path, config: Mapping[str, Any], results: Results | None) -> dict[str, str]:
    """Names of data set, backbone, concept and method: as chosen, as configured, else as measured."""
    groups = recorded_choices(path)
    context = {} if results is None else dict(results.context)
    names = {}
    for key in ("dataset", "concept"):
        node = config.get(key) if isinstance(config.get(key), dict) else {}
        names[key] = str(context.get(key) or (node or {}).get("name") or groups.get(key) or "–")
    if config.get("ckpt") is not None:  # evaluate.py: its own choices are not those of what it measured
        measured = Path(str(config["ckpt"]))
        made_with = context.get("made_with")
        groups = chosen_by(measured) | (made_with if isinstance(made_with, dict) else {})
        alone = results is not None and all(row.model == "base" for row in results.rows)
        # kept apart by name: which method made it is not known
        names["method"] = "base" if alone else str(groups.get("method") or f"unknown ({'/'.join(measured.parts[-2:])})")
    else:
        names["method"] = str(groups.get("method") or _target_name(config.get("method")) or "–")
    names["backbone"] = str(groups.get("backbone") or context.get("backbone") or "–")
    return names


def _target_name(node: object) -> str | None:
    """``lora`` of a node with ``_target_: hmu.methods.lora.Lora``."""
    target = node.get("_target_") if isinstance(node, dict) else None
    return str(target).split(".")[-2] if target and "." in str(target) else None


def _overrides(path: Path) -> dict[str, str]:
    try:
        listed = read_yaml(path / ".hydra" / "overrides.yaml", limit=2 << 20)
    except DataError:
        return {}
    pairs = (split(str(item)) for item in (listed if isinstance(listed, list) else ()))
    return {key: value for key, value in pairs if key not in ASIDE and key.split(".")[0] not in ASIDE_NODES}


def _settings(run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """Overrides of the method, and others that vary among runs of the same kind."""
    alike = [other.overrides for other in runs if other.choices == run.choices]
    return {
        key: value
        for key, value in run.overrides.items()
        if key.startswith("method.") or any(other.get(key) != value for other in alike)
    }


# -- numbers -----------------------------------------------------------------------------------------------------------
def lines_of(runs: Sequence[Run], *, seeds: bool = True) -> list[Line]:
    """Measured runs as lines of a table; ``seeds``: those that differ in nothing but their seed share one.

    The same settings with the same seed twice (measured again, with another suite) stay apart.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.results is None:
            continue
        key: tuple[object, ...] = (*run.task, run.name) if seeds else (run.path,)
        while any(other.seed == run.seed for other in groups.get(key, ())):
            key = (*key, "again")
        groups.setdefault(key, []).append(run)
    return [Line(tuple(group)) for group in groups.values()]


def row_of(run: Run, model: str, key: Key) -> Row | None:
    """One row of a run; the label ``*`` stands for the run's concept."""
    if run.results is None:
        return None
    set_, metric, label = key
    return run.results.get(model, set_, metric, run.concept if label == "*" else label)
