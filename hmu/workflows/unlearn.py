"""``unlearn.py``: from a pretrained backbone and a concept to an edit, measured beside its base."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hmu.app import CONFIGS, rank, run_folder
from hmu.backbones.base import MotionBackbone
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.partition import Partition, partition_by_concept, partition_from_files
from hmu.errors import ConfigError
from hmu.methods.base import Method, TrainedMethod
from hmu.methods.edit import Edit, fingerprint
from hmu.run import RunRecord
from hmu.training.unlearning import run_method
from hmu.workflows.common import (
    build_backbone,
    check_device,
    check_match,
    folder_size,
    leave_process_group,
    logger_for,
    seed_everything,
    trainer_arguments,
)
from hmu.workflows.measure import check_measurable, measure

log = logging.getLogger(__name__)


def unlearn(config: DictConfig) -> Path:
    """Run the whole job of one configuration; returns the run folder.

    Everything that can be wrong with the user's choice (data, concept, checkpoint, incompatible pair) is checked before
    training begins.

    Raises:
        HmuError: with one line that says what to mend.
    """
    seed_everything(config)
    check_device(config.trainer.accelerator)
    method: Method = instantiate(config.method)
    source: DatasetSource = instantiate(config.dataset)
    source.prepare()
    concept: Concept = instantiate(config.concept).for_dataset(source.name)
    sides = partition(config, source, "train", concept)
    backbone = build_backbone(config)
    check_match(backbone, source.features, source.name)
    check_fit(method, backbone)
    if config.evaluate:  # a suite that cannot run is said now, not after the training
        check_measurable(config, source, concept, backbone)
    folder = run_folder()
    record = RunRecord(folder, config) if rank() == 0 else None
    if record is not None:
        sides.save(folder / "partition.json")
        sides.save_audit(folder / "audit.csv")
        record.note(base=fingerprint(backbone), provenance=backbone.provenance(), data=source.fingerprint)
        record.stage("prepare")
    edit = learn(config, method, backbone, source, sides, concept, folder)
    leave_process_group()
    if record is None:
        return folder
    edit.save(folder / "edit")
    record.stage("unlearn")
    record.note(edit={"bytes": folder_size(folder / "edit"), "settings": edit.settings}, partition=sides.hash)
    log.info("edit saved: %s (%.1f MB)", folder / "edit", folder_size(folder / "edit") / 1e6)
    if config.evaluate:
        measure(config, backbone, [(edit, 1.0)], source, concept, folder)
        record.stage("evaluate")
    record.finish()
    return folder


def partition(config: DictConfig, source: DatasetSource, split: str, concept: Concept) -> Partition:
    """Forget and retain ids of a split: by the concept's keywords, or from the user's files (training split only).

    Raises:
        ConfigError: when only one of the two files is given.
        DataError: when a side is empty.
    """
    files = (config.forget_file, config.retain_file)
    if any(files) and not all(files):
        raise ConfigError("forget_file and retain_file belong together: give both, or neither")
    if all(files) and split == "train":
        return partition_from_files(source, split, Path(files[0]), Path(files[1]))
    return partition_by_concept(source, split, concept)


def check_fit(method: Method, backbone: MotionBackbone) -> None:
    """Refuse a method that cannot work on this backbone, naming those that can.

    Raises:
        ConfigError: with the reason.
    """
    reason = method.fits(backbone)
    if reason is None:
        return
    working = []
    for path in sorted((CONFIGS / "method").glob("[!_]*.yaml")):
        other = _method(path)
        if other is not None and other.fits(backbone) is None:
            working.append(path.stem)
    raise ConfigError(
        f"method={method.name} does not fit backbone {backbone.name}: {reason}; these do: {', '.join(working)}"
    )


def _method(path: Path) -> Method | None:
    from hydra import compose
    from hydra.errors import HydraException

    try:
        node: Any = compose(f"method/{path.stem}").method
        return instantiate(OmegaConf.create(OmegaConf.to_container(node, resolve=True)))
    except (HydraException, ConfigError):
        return None


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
    if not isinstance(method, TrainedMethod):
        raise ConfigError(f"method={method.name}: unlearn.py runs methods that learn by gradient; this one does not")
    clips = source.clips("train", sides.forget), source.clips("train", sides.retain)
    log.info("%s on %d forget and %d retain clips of '%s'", method.name, len(clips[0]), len(clips[1]), source.name)
    trainer = {**trainer_arguments(config), "logger": logger_for(config), "default_root_dir": str(folder)}
    return run_method(method, backbone, *clips, trainer, int(config.seed), concept=concept.name)
