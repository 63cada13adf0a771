"""The retain-only reference: a model of the same kind that has never been shown the concept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.build import check_received, instantiate
from hmu.data.dataset import DatasetSource
from hmu.devices import of_module
from hmu.errors import CheckpointError, ConfigError, HmuError
from hmu.evaluation.generation import Model
from hmu.methods.edit import fingerprint, weights_of
from hmu.run import load_config, read_record
from hmu.workflows.parts import build_backbone
from hmu.workflows.settling import completed

log = logging.getLogger(__name__)

#: of a data set's settings, those that say where its files are; the others say how they are read
PLACES = ("root", "trials", "cache_dir", "generator", "requirements")
#: what BAMM's ``rvq_from`` takes over from another model
BORROWED = ("rvq", "residual")
REMEDY = "train one with python train.py partition=retain concept=… and the same backbone"


def check_reference(config: DictConfig, source: DatasetSource, backbone: MotionBackbone) -> None:
    """Refuse a reference that its run folder tells to be none; nothing is loaded.

    What cannot be told, because a folder is gone or was never a run of ``train.py``, is a warning.

    Raises:
        CheckpointError: another family, an unfinished run, a stage that was never trained.
        ConfigError: trained on other data, or not on the retain side of this concept alone.
    """
    home = run_of(Path(config.reference))
    if home is None:
        log.warning("reference: nothing in '%s' tells what it was trained on", _model_folder(config))
        return
    ran, record = load_config(home), read_record(home)
    theirs, ours = (OmegaConf.select(c, "backbone._target_") for c in (ran, config))
    if theirs != ours:
        raise CheckpointError(
            f"reference: '{home}' was trained with backbone {theirs}, but what is measured is {ours}: {REMEDY}"
        )
    if record.get("status") != "complete":
        raise CheckpointError(
            f"reference: '{home}' is not finished (run.json: status {record.get('status')}): "
            "wait for it, or start it again with resume=<that folder>"
        )
    _model_folder(config)
    _check_data(config, ran, record, source, home)
    _check_ancestors(str(config.concept.name), backbone.stages, home)


def _check_data(config: DictConfig, ran: DictConfig, record: dict[str, Any], source: DatasetSource, home: Path) -> None:
    """The same clips; how they are read may differ, as between the published reader for training and for measuring."""
    name, data = OmegaConf.select(ran, "dataset.name"), record.get("data")
    if name != config.dataset.name:
        raise ConfigError(
            f"reference: '{home}' was trained on dataset={name}, but measured is {config.dataset.name}: {REMEDY}"
        )
    if data in (None, source.fingerprint):
        return
    plain: Any = [OmegaConf.to_container(node.dataset, resolve=True) for node in (ran, config)]
    theirs, ours = plain
    here = {key: value for key, value in ours.items() if key in PLACES}
    recorded = {key: value for key, value in theirs.items() if key not in here}
    recorded = completed(config, "dataset", recorded, home)
    check_received(recorded, "dataset", home / "config.yaml", trust=config.get("trust"))
    try:
        same = instantiate(OmegaConf.create({**recorded, **here})).fingerprint == data
    except (HmuError, InstantiationException):  # whatever it is, it does not make these data
        same = False
    if not same:
        raise ConfigError(
            f"reference: '{home}' was trained on other data of the name '{name}' (fingerprint {data[:12]}, "
            f"here {source.fingerprint[:12]}): give the dataset.* that it was trained with, or {REMEDY}"
        )
    log.warning("reference: '%s' was trained on the same files, read with other settings of dataset.*", home)


def _check_ancestors(concept: str, stages: Sequence[str], home: Path) -> None:
    """Every stage was trained on the retain side, beginning with weights that have seen nothing else.

    What only encodes motions (the first of several stages, and what BAMM borrows) may have seen everything: a note.
    """
    runs, lost = ancestors(home)
    encoders = set(stages[:-1][:1])
    missing = [stage for stage in stages if not any(stage in run.stages for run in runs)]
    for run in runs:
        if (run.partition, run.concept) == ("retain", concept):
            continue
        side = f"'{run.folder}' was trained on partition={run.partition} of concept={run.concept}"
        if run.folder == home or not (run.borrowed or set(run.stages) <= encoders):
            where = "" if run.folder == home else f"'{home}' goes back to a run that has seen it: "
            raise ConfigError(f"reference: {where}{side}, expected partition=retain of concept={concept}: {REMEDY}")
        taken = "tokenizer, residual transformer and text encoder" if run.borrowed else ", ".join(run.stages)
        log.warning("reference: %s; its %s is taken over", side, taken)
    if lost is not None:
        what = f" (among it {', '.join(missing)})" if missing else ""
        log.warning("reference: '%s' began with '%s', and nothing there tells what was trained%s", home, lost, what)
    elif missing:
        raise CheckpointError(
            f"reference: '{home}' was never trained in stage {', '.join(missing)}: "
            f"python train.py stage={missing[0]} init={home} partition=retain concept={concept} with the same backbone"
        )


def load_reference(config: DictConfig, backbone: MotionBackbone, base: str) -> Model:
    """The model in ``config.reference``, on the backbone's device; ``base``: identity of the backbone's weights.

    Raises:
        CheckpointError: no run folder of ``train.py``, or a model of another family or of other sizes.
        ConfigError: the very model that is measured.
    """
    folder, model = Path(config.reference), _model_folder(config)
    try:
        reference = build_backbone(config, checkpoint=str(model))
    except HmuError as error:
        raise CheckpointError(f"reference: '{folder}' is no model of backbone {backbone.name}: {error}") from error
    _check_sizes(backbone, reference, folder)
    identity = fingerprint(reference)
    if identity == base:
        raise ConfigError(
            f"reference: '{folder}' holds the weights of the base itself, which cannot say more: {REMEDY}"
        )
    return Model("reference", reference.to(of_module(backbone)), identity)


def _model_folder(config: DictConfig) -> Path:
    folder = Path(config.reference)
    model = folder / "model" if (folder / "model").is_dir() else folder
    if not model.is_dir() or (model / "run.json").is_file():
        raise CheckpointError(f"reference: '{folder}' is not a run folder of train.py (it holds no model/): {REMEDY}")
    return model


def _check_sizes(backbone: MotionBackbone, reference: MotionBackbone, folder: Path) -> None:
    ours, other = ({n: tuple(w.shape) for n, w in weights_of(b.network()).items()} for b in (backbone, reference))
    unlike = sorted(name for name in ours.keys() | other.keys() if ours.get(name) != other.get(name))
    if unlike or backbone.features != reference.features:
        what = f"'{unlike[0]}' is {other.get(unlike[0])}, not {ours.get(unlike[0])}" if unlike else "other columns"
        raise CheckpointError(f"reference: '{folder}' has other sizes than the backbone ({what}): {REMEDY}")


# -- which runs of train.py have made a model -------------------------------------------------------------------------
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
