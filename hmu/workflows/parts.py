"""The models of a job: built from their nodes, and refused where they cannot be meant."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.build import instantiate
from hmu.checkpoints.finite import refuse_nonfinite
from hmu.data.dataset import DatasetSource
from hmu.errors import ConfigError
from hmu.evaluators.base import Evaluator


def build_backbone(config: DictConfig, **changes: Any) -> MotionBackbone:
    """Instantiate ``config.backbone`` (with ``changes``) and check that it is one."""
    backbone = instantiate(config.backbone, **changes)
    if not isinstance(backbone, MotionBackbone):
        raise ConfigError(f"backbone._target_ '{config.backbone._target_}' did not build a MotionBackbone")
    refuse_nonfinite(
        backbone.state_dict(), f"backbone '{changes.get('checkpoint', config.backbone.get('checkpoint'))}'"
    )
    return backbone


def check_match(backbone: MotionBackbone, source: DatasetSource) -> None:
    """Refuse a data set whose motion representation the backbone does not generate."""
    if backbone.features != source.features:
        raise ConfigError(
            f"backbone generates {backbone.features} columns but dataset '{source.name}' has {source.features}: "
            "choose a backbone trained on that representation"
        )


def build_evaluator(config: DictConfig, source: DatasetSource) -> Evaluator:
    """Instantiate ``config.evaluator``, ready to embed.

    A data set that names an evaluator of its own (``role: evaluator`` in its requirements) is never measured by the
    packaged one of the demo data: which one it is has to be said.

    Raises:
        ConfigError: that, ``evaluator=none``, an evaluator without weights, or one of another representation.
    """
    if not config.evaluator:  # evaluator=none
        raise ConfigError("no evaluator is chosen: give evaluator=demo, or evaluator=guo evaluator.checkpoint=<folder>")
    parts = [config.evaluator, *config.evaluator.values()]  # one evaluator, or two side by side
    nodes = [part for part in parts if OmegaConf.is_dict(part) and "checkpoint" in part]
    own = next((r for r in source.requirements if r.get("role") == "evaluator"), None)
    if own is not None and any(str(node.checkpoint).startswith("asset:demo/") for node in nodes):
        raise ConfigError(
            f"the packaged evaluator knows the demo data only, not '{source.name}': give evaluator=guo "
            f"evaluator.checkpoint=<folder> evaluator.glove=<folder> ({own['what']}: {own['who']}), or evaluate=false"
        )
    if any(node.checkpoint is None for node in nodes):
        raise ConfigError("evaluator.checkpoint is null: an untrained evaluator measures nothing; give its folder")
    evaluator: Evaluator = instantiate(config.evaluator).eval()
    refuse_nonfinite(evaluator.state_dict(), f"evaluator '{', '.join(str(node.checkpoint) for node in nodes)}'")
    both = [part for part in evaluator.modules() if isinstance(part, Evaluator)]  # of two side by side each reads
    read = {part.name: getattr(part, "features", source.features) for part in both}
    for name, columns in read.items():
        if columns != source.features:
            raise ConfigError(
                f"evaluator '{name}' reads {columns} columns but dataset '{source.name}' has {source.features}: "
                "choose evaluator.checkpoint=<folder of one that was trained on that representation>"
            )
    return evaluator
