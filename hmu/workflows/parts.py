"""The models of a job: built from their nodes, and refused where they, or a pair of them, cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hmu.backbones.base import MotionBackbone
from hmu.build import built_class, instantiate
from hmu.checkpoints.safe import refuse_nonfinite
from hmu.compose import configured
from hmu.data.dataset import DatasetSource
from hmu.documents import read_yaml
from hmu.errors import ConfigError, HmuError
from hmu.evaluators.base import Evaluator
from hmu.methods.base import Method
from hmu.tree import options

Backbone = type[MotionBackbone] | MotionBackbone


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


def check_fit(method: Method, backbone: Backbone | None) -> None:
    """Refuse a method that cannot work on this backbone (None: unknown), naming the pairs that can."""
    reason = None if backbone is None else method.fits(backbone)
    if backbone is None or reason is None:
        return
    methods = [name for name in options("method") if _method_fits(name, backbone)]
    kinds = {name: _default_class(path) for name, path in options("backbone").items()}
    others = [name for name, kind in kinds.items() if kind is not None and method.fits(kind) is None]
    raise ConfigError(
        f"method={method.name} does not fit backbone {backbone.name}: {reason}; methods that fit {backbone.name}: "
        f"{', '.join(methods) or 'none'}; backbones that {method.name} fits: {', '.join(others) or 'none'}"
    )


def backbone_class(node: DictConfig) -> type[MotionBackbone] | None:
    """The class that a configuration builds: its target, or what its target is annotated to return; None if unknown."""
    target = OmegaConf.select(node, "_target_")
    kind = None if target is None else built_class(target)
    return kind if kind is not None and issubclass(kind, MotionBackbone) else None


def _method_fits(name: str, backbone: Backbone) -> bool:
    """Whether a file of the tree, which may be anybody's, can be asked and fits."""
    try:
        method: Method = configured("method", name)
        return method.fits(backbone) is None
    except (HydraException, HmuError):
        return False


def _default_class(path: Path) -> type[MotionBackbone] | None:
    node = read_yaml(path, ConfigError)
    return backbone_class(OmegaConf.create(node)) if isinstance(node, dict) else None


def build_evaluator(config: DictConfig, source: DatasetSource) -> Evaluator:
    """Instantiate ``config.evaluator``, ready to embed.

    A data set that names an evaluator of its own (``role: evaluator`` in its requirements) is never measured by the
    packaged one of the demo data: which one it is has to be said.
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
