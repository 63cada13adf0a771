"""Every value that the metrics of this package declare: what rows are that do not say it themselves (version 0.1)."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import hmu.metrics
from hmu.metrics.base import MotionMetric
from hmu.metrics.values import Value, resolve


@cache
def declared() -> tuple[Value, ...]:
    """The declarations of all modules of ``hmu.metrics``: ``values`` of their metrics, and ``VALUES`` of a module."""
    values: dict[Value, None] = {}
    for entry in pkgutil.iter_modules(hmu.metrics.__path__, f"{hmu.metrics.__name__}."):
        module = importlib.import_module(entry.name)
        metrics = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, MotionMetric)]
        groups = [*(metric.values for metric in metrics), getattr(module, "VALUES", ())]
        values |= dict.fromkeys(value for group in groups for value in group)
    return tuple(values)


@cache
def value_named(name: str, label: str | None = None) -> Value:
    """What a number of this name is; of one that no metric here declares only the name is known."""
    return resolve(declared(), name, label) or resolve([Value("*")], name, label) or Value(name)
