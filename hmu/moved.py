"""Old names of what configurations build: recorded runs and files of one's own keep loading after a move."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig

#: beginnings of dotted names that recorded configurations hold, and where that lives today
MOVED = {
    "hmu.backbones.momask.options.ResidualOptions": "hmu.backbones.tokens.options.ResidualOptions",
    "hmu.backbones.momask.options.RvqOptions": "hmu.backbones.tokens.options.RvqOptions",
    "hmu.backbones.momask.options.TransformerOptions": "hmu.backbones.tokens.options.TransformerOptions",
    "hmu.evaluation.gait.GaitSuite": "hmu.evaluation.suite.Suite",
    "hmu.workflows.loggers.": "hmu.report.loggers.",
    "hmu.workflows.sweep.": "hmu.report.sweep.",
}


def renamed(node: Any) -> Any:
    """A plain node of any depth whose ``_target_`` entries carry today's names."""
    if isinstance(node, dict):
        return {key: _today(value) if key == "_target_" else renamed(value) for key, value in node.items()}
    return [renamed(value) for value in node] if isinstance(node, list) else node


def rename(config: DictConfig | ListConfig) -> None:
    """The same in a composed configuration, in place."""
    for key in range(len(config)) if isinstance(config, ListConfig) else list(config):
        node: Any = config._get_node(key)
        if isinstance(node, DictConfig | ListConfig):
            if not (node._is_none() or node._is_missing() or node._is_interpolation()):
                rename(node)
        elif key == "_target_" and (name := _today(node._value())) != node._value():
            config[key] = name


def _today(target: Any) -> Any:
    for old, new in MOVED.items():
        if isinstance(target, str) and target.startswith(old):
            return new + target.removeprefix(old)
    return target
