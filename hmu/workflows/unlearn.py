"""``unlearn.py``: from a pretrained backbone and a concept to an edit, measured beside its base."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hmu.app import rank, run_folder
from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.checkpoints.finite import first_nonfinite
from hmu.console import near
from hmu.data.clips import MotionClips
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.divide import Partition
from hmu.errors import ConfigError, shown
from hmu.methods.base import EditMethod, Method, TrainedMethod
from hmu.methods.edit import Edit, fingerprint
from hmu.progress import phase
from hmu.run import RunRecord
from hmu.training.batches import check_batch
from hmu.training.unlearning import run_method
from hmu.workflows.basis import warn_of_no_basis, warn_of_strange_data
from hmu.workflows.common import (
    build_backbone,
    check_match,
    folder_size,
    leave_process_group,
    logger_for,
    seed_everything,
    settle_concept,
)
from hmu.workflows.gait import settle_suite
from hmu.workflows.measure import check_measurable, measure, torch_device
from hmu.workflows.outlook import announce_unlearning
from hmu.workflows.pairs import check_fit, check_pair
from hmu.workflows.refine import refined
from hmu.workflows.sides import partition
from hmu.workflows.trainer import check_job, trainer_arguments

log = logging.getLogger(__name__)


def unlearn(config: DictConfig) -> Path:
    """Run the whole job of one configuration; returns the run folder.

    Everything that can be wrong with the user's choice (data, concept, checkpoint, incompatible pair) is checked before
    training begins.

    Raises:
        HmuError: with one line that says what to mend.
    """
    folder = run_folder(config)
    config = settle_suite(settle_concept(config))
    seed_everything(config)
    check_job(config)
    method: Method = instantiate(config.method)
    check_pair(method, config.backbone)
    if config.evaluate:
        instantiate(config.suite)  # its numbers are checked before anything is read
    source: DatasetSource = instantiate(config.dataset)
    source.prepare()
    concept: Concept = instantiate(config.concept).for_dataset(source.name)
    sides = partition(config, source, "train", concept)
    backbone = build_backbone(config)
    check_match(backbone, source.features, source.name)
    check_fit(method, backbone)
    method.check(backbone)
    # a suite that cannot run is said now, not after the training
    checked = check_measurable(config, source, concept, backbone) if config.evaluate else None
    warn_of_strange_data(backbone, source)
    sides = refined(config, sides, source, concept, backbone)
    check_length(method, len(sides.forget), len(sides.retain))
    record = RunRecord(folder, config) if rank() == 0 else None
    if record is not None:
        sides.save(folder / "partition.json")
        sides.save_audit(folder / "audit.csv")
        record.note(base=fingerprint(backbone), provenance=backbone.provenance(), data=source.fingerprint)
        record.note(clips={"forget": len(sides.forget), "retain": len(sides.retain), "skipped": len(sides.skipped)})
        record.stage("prepare")
    clips = len(source.clips("train", sides.forget)), len(source.clips("train", sides.retain))
    announce_unlearning(config, method, backbone, clips, source.name, checked[1] if checked else [])
    if record is not None and checked is not None:
        with phase("asking the base"):
            warn_of_no_basis(config, backbone, concept, *checked)
        record.stage("ask base")
    edit = learn(config, method, backbone, source, sides, concept, folder)
    check_finite(edit, method)
    leave_process_group()
    if record is None:
        return folder
    edit.save(folder / "edit")
    if isinstance(method, EditMethod):
        method.save_findings(folder)
    record.stage("unlearn")
    record.note(edit={"bytes": folder_size(folder / "edit"), "settings": edit.settings}, partition=sides.hash)
    log.info("edit saved: %s (%.1f MB)", near(folder / "edit"), folder_size(folder / "edit") / 1e6)
    if config.evaluate:
        measure(config, backbone, [(edit, 1.0)], source, concept, folder)
        record.stage("evaluate")
    record.finish()
    return folder


def check_length(method: Method, forget: int, retain: int) -> None:
    """Refuse a training that cannot end, or whose batches are far larger than both sides.

    Raises:
        ConfigError: naming the key.
    """
    if isinstance(method, TrainedMethod):
        check_batch("method.batch_size", method.batch_size, max(forget, retain))
        method.total_steps(forget)


def check_finite(edit: Edit, method: Method) -> None:
    """Refuse an edit that is no change of weights but a ruin of them, before it is written.

    Raises:
        ConfigError: naming the keys to change.
    """
    bad = first_nonfinite(edit.tensors)
    if bad is not None:
        advice = "bring the method's numbers nearer to those of its configuration file"
        if isinstance(method, TrainedMethod):
            advice = f"lower method.lr (now {method.lr:g})"
        raise ConfigError(f"method={method.name} ended with weights that are not finite ('{bad}'); not saved: {advice}")


def learn(
    config: DictConfig,
    method: Method,
    backbone: MotionBackbone,
    source: DatasetSource,
    sides: Partition,
    concept: Concept,
    folder: Path,
) -> Edit:
    """Run the method on the training split and return the edit; the backbone is its old self afterwards."""
    clips = source.clips("train", sides.forget), source.clips("train", sides.retain)
    if isinstance(method, EditMethod):
        return edit_directly(method, backbone, *clips, concept, config)
    if not isinstance(method, TrainedMethod):
        raise ConfigError(
            f"method._target_ '{config.method._target_}' built neither a trained method nor an edit method"
        )
    trainer = {**trainer_arguments(config), "logger": logger_for(config), "default_root_dir": str(folder)}
    return run_method(method, backbone, *clips, trainer, int(config.seed), concept=concept.name)


def edit_directly(
    method: EditMethod,
    backbone: MotionBackbone,
    forget: MotionClips,
    retain: MotionClips,
    concept: Concept,
    config: DictConfig,
) -> Edit:
    """The edit of a method without training, computed on the trainer's device; the backbone returns to its own."""
    home = next(backbone.parameters()).device
    accelerator = config.trainer.accelerator
    backbone.to(torch_device("cuda" if accelerator == "gpu" else accelerator))
    try:
        with phase("editing"):
            return method.edit(backbone, forget, retain, concept, torch.Generator().manual_seed(int(config.seed)))
    except LinAlgError as error:
        raise ConfigError(
            f"method={method.name}: its equations have no solution in these numbers ({shown(error)}); "
            "raise method.regulariser or method.adversary_ridge"
        ) from error
    finally:
        backbone.to(home)
