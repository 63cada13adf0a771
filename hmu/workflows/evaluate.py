"""``evaluate.py``: measure a run folder, an edit folder, or an authors' checkpoint beside its base."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hmu.app import rank
from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.errors import CheckpointError
from hmu.methods.edit import Edit, applied, difference, fingerprint, load_edit
from hmu.run import RunRecord, load_config
from hmu.workflows.basis import warn_of_strange_data
from hmu.workflows.common import build_backbone, check_match, seed_everything, settle_concept
from hmu.workflows.gait import settle_suite
from hmu.workflows.measure import check_measurable, measure, torch_device
from hmu.workflows.outlook import announce_evaluation
from hmu.workflows.processes import continued_folder, join_processes
from hmu.workflows.recorded import take_over
from hmu.workflows.sides import check_lists, recorded_lists

log = logging.getLogger(__name__)

#: what a run's own configuration decides unless the command line does
FROM_RUN = ("dataset", "backbone", "concept", "evaluator")


def evaluate(config: DictConfig) -> Path:
    """Measure ``config.ckpt``; returns the new run folder (the measured one is left as it is).

    Under torchrun the processes share the generating. A run that was killed goes on where it was when the same command
    is given again: in a new folder, or in its own one if that is named (``hydra.run.dir=``).

    Raises:
        CheckpointError: when ``ckpt`` is nothing that can be measured.
    """
    composed, config = config, settle_suite(settle_concept(with_run(config)))
    folder = continued_folder(composed, config)
    seed_everything(config)
    join_processes()
    device = torch_device(config.device)
    backbone, edits = models(config)  # before the data, which may have to be made or packed
    with applied(backbone, edits):
        pass  # an edit of another model is refused here
    source: DatasetSource = instantiate(config.dataset)
    source.prepare()
    check_lists(composed, source, str(config.suite.split))
    concept: Concept = instantiate(config.concept).for_dataset(source.name)
    check_match(backbone, source.features, source.name)
    backbone.to(device)
    _, sets = check_measurable(config, source, concept, backbone)
    warn_of_strange_data(backbone, source)
    record = RunRecord(folder, config) if rank() == 0 else None
    if record is not None:
        facts = {"data": source.fingerprint, "provenance": backbone.provenance()}
        record.note(base=fingerprint(backbone), measured=str(config.ckpt), **facts)
        record.stage("prepare")
    announce_evaluation(config, backbone, sets, bool(edits), source.name)
    measure(config, backbone, edits, source, concept, folder)
    if record is not None:
        record.stage("evaluate")
        record.finish()
    return folder


def with_run(config: DictConfig) -> DictConfig:
    """Fill in what the measured run was made with, except where the command line says otherwise.

    Raises:
        CheckpointError: when ``ckpt`` does not exist.
        ConfigError: the command line gives a key that the run's node does not take.
    """
    path = Path(config.ckpt)
    if not path.exists():
        raise CheckpointError(f"ckpt: '{path}' does not exist; give a run folder, an edit folder or a checkpoint")
    home = path if (path / "config.yaml").is_file() else path.parent
    if not (home / "config.yaml").is_file():
        return config
    ran = load_config(home)
    return recorded_lists(take_over(config, ran, FROM_RUN, home), ran)


def models(config: DictConfig) -> tuple[MotionBackbone, list[tuple[Edit, float]]]:
    """The base, and what was done to it: an edit, or the difference to an authors' unlearned checkpoint.

    An authors' checkpoint without ``backbone.checkpoint`` beside it is measured alone, as a base.
    """
    path = Path(config.ckpt)
    scale = float(config.scale)
    if (path / "edit").is_dir() or (path / "edit.json").is_file():
        return build_backbone(config), [(load_edit(path), scale)]
    if (path / "model" / "config.json").is_file():  # a run of train.py: a model of its own, nothing to compare with
        return build_backbone(config, checkpoint=str(path / "model")), []
    changed = build_backbone(config, checkpoint=str(path))
    if config.backbone.get("checkpoint") is None:  # no base is named: the checkpoint is measured alone
        return changed, []
    base = build_backbone(config)
    if fingerprint(base) == fingerprint(changed):
        return base, []
    return base, [(difference(base, changed, method=path.name, concept=str(config.concept.name)), scale)]
