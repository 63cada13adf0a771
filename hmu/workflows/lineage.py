"""Which runs of ``train.py`` have made a model: each began with fresh weights, or with those of a run before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmu.documents import read_json
from hmu.errors import CheckpointError
from hmu.run import load_config

#: what BAMM's ``rvq_from`` takes over from another model
BORROWED = ("rvq", "residual")


@dataclass(frozen=True)
class Ancestor:
    """A run whose weights a model holds.

    Attributes:
        folder: of the run; stages: what it has trained and the model still holds.
        partition, concept: the side of the data that it has seen.
        borrowed: whether only its tokenizer and residual transformer were taken over (``backbone.rvq_from``).
    """

    folder: Path
    stages: tuple[str, ...]
    partition: str
    concept: str
    borrowed: bool


def run_of(folder: Path) -> Path | None:
    """The run folder that ``folder`` is, or whose model it is; None where no run has left its record."""
    return next(
        (p for p in (folder, folder.parent) if (p / "config.yaml").is_file() and (p / "run.json").is_file()), None
    )


def read_record(home: Path) -> dict[str, Any]:
    """``run.json`` of a run folder; a damaged one is refused."""
    path = home / "run.json"
    record = read_json(path, CheckpointError)
    if not isinstance(record, dict):
        raise CheckpointError(f"'{path}' is no record of a run; train that run again")
    return record


def ancestors(home: Path) -> tuple[list[Ancestor], str | None]:
    """The runs behind the model of run folder ``home``, itself first, and where their trace is lost (None: nowhere)."""
    runs, known, borrowed = list[Ancestor](), set[Path](), False
    while True:
        ran = load_config(home)
        timings = read_record(home).get("timings") or {}  # noted stage by stage, in interrupted runs too
        stages = [str(name).removeprefix("train_") for name in timings if str(name).startswith("train_")]
        kept = tuple(stage for stage in stages if not borrowed or stage in BORROWED)
        side, concept = (str(OmegaConf.select(ran, key)) for key in ("partition", "concept.name"))
        runs.append(Ancestor(home, kept, side, concept, borrowed))
        known.add(home.resolve())
        before = OmegaConf.select(ran, "init")
        if before is None:
            before = OmegaConf.select(ran, "backbone.rvq_from")
            borrowed = borrowed or before is not None
        if before is None:
            return runs, None
        older = _located(str(before), ran)
        if older is None or older.resolve() in known:
            return runs, str(before)
        home = older


def _located(source: str, ran: DictConfig) -> Path | None:
    """The run folder that a run has named, perhaps relative to where it was started."""
    root = Path(str(OmegaConf.select(ran, "paths.root") or "."))
    return run_of(root / source) or run_of(Path(source))
