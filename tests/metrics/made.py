"""Metrics as their files in ``configs/metric`` make them: the numbers stand there and nowhere else."""

from __future__ import annotations

from functools import cache
from typing import Any

from hmu.build import get_class
from hmu.config import CONFIGS
from hmu.documents import read_yaml
from hmu.metrics.base import MotionMetric


@cache
def _node(name: str) -> dict[str, Any]:
    node: dict[str, Any] = read_yaml(CONFIGS / "metric" / f"{name}.yaml")
    return node


def made(name: str, **changes: Any) -> MotionMetric:
    """``configs/metric/<name>.yaml``, built, with ``changes``."""
    node = {**_node(name), **changes}
    metric: MotionMetric = get_class(node.pop("_target_"))(**node)
    return metric
