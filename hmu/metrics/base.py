"""What a metric is, and the samples that it counts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from hmu.data.captions import Caption
from hmu.errors import ConfigError, DataError, shown
from hmu.metrics.values import Value, resolve

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalSamples:
    """Answers to the prompts of one set, or of a part of it; all rows in one order. Absent fields are None.

    Attributes:
        generated: motion embeddings of the generated motions ``(n, width)``.
        real: motion embeddings of real motions of the same kind of prompts ``(m, width)``; ``m`` may differ from ``n``.
        text: embeddings of the prompts ``(n, width)``.
        sentence: vectors whose cosines say which prompts mean the same ``(n, any)``; no evaluator's space.
        masked: embeddings of the prompts without the concept's words (definition ``clean``) ``(n, width)``.
        changed: which prompts the masking changed, bool ``(n,)``.
        masked_hmu, changed_hmu: the same by the published substring rule.
        batch: evaluation batch that each prompt fell into, int64 ``(n,)``; only the published MM-Safe reads it.
        repeats: embeddings of several motions per prompt ``(n, repeats, width)``.
        joints: generated joints, metres, Y up ``(n, frames, joints, 3)``; lengths: true frames ``(n,)``.
        states, real_states: generated and real windows of gait in real units ``(n, frames, 63)``, ``(m, frames, 63)``.
        captions: the prompts; ids: a name per prompt, by which results become independent of order; fps: of the joints.
    """

    generated: Tensor | None = None
    real: Tensor | None = None
    text: Tensor | None = None
    sentence: Tensor | None = None
    masked: Tensor | None = None
    changed: Tensor | None = None
    masked_hmu: Tensor | None = None
    changed_hmu: Tensor | None = None
    batch: Tensor | None = None
    repeats: Tensor | None = None
    joints: Tensor | None = None
    lengths: Tensor | None = None
    states: Tensor | None = None
    real_states: Tensor | None = None
    captions: Sequence[Caption] | None = None
    ids: Sequence[str] | None = None
    fps: float = 20.0

    def has(self, names: Sequence[str]) -> bool:
        """Whether none of these fields is absent."""
        return all(getattr(self, name) is not None for name in names)


class MotionMetric(Metric):
    """Base of all metrics: keeps what ``inputs`` names, joined over updates and processes, in a canonical order.

    ``compute`` returns ``{name: value}``. It does not depend on batch size, and with ``ids`` not on order either.

    Attributes:
        inputs: fields of :class:`EvalSamples` that are needed.
        values: what ``compute`` yields: every name must be covered by one of these declarations.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    values: ClassVar[tuple[Value, ...]] = ()
    keeps: ClassVar[bool] = True  # False where a subclass counts in states of its own
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        known = {f.name for f in fields(EvalSamples)}
        if not set(self.inputs) | set(self.optional) <= known:
            raise ConfigError(f"{type(self).__name__}: inputs {self.inputs} unknown")
        for name in (*self.inputs, *self.optional, "key") if self.keeps else ():
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def value(self, name: str) -> Value:
        """The declaration of a number that ``compute`` gave.

        Raises:
            ConfigError: none of ``values`` covers it.
        """
        if (found := resolve(self.values, name)) is None:
            known = ", ".join(value.name for value in self.values) or "none"
            raise ConfigError(f"{type(self).__name__} gives '{shown(name)}', but its values declare {known}")
        return found

    def update(self, samples: EvalSamples) -> None:
        """Add samples.

        Raises:
            DataError: a needed field is absent, or rows do not fit.
        """
        missing = [name for name in self.inputs if getattr(samples, name) is None]
        if missing:
            raise DataError(f"metric {type(self).__name__} needs '{missing[0]}', which these samples do not have")
        rows = {n: len(getattr(samples, n)) for n in self.inputs if not n.startswith("real")}
        if len(set(rows.values())) > 1:
            raise DataError(f"metric {type(self).__name__}: rows differ: {rows}")
        for name in (*self.inputs, *self.optional):
            value = getattr(samples, name)
            if value is not None:
                getattr(self, name).append(value.detach())
        if rows and samples.ids is not None:
            getattr(self, "key").append(id_keys(samples.ids))  # noqa: B009 (a state: torch's types say tensor or module)

    def per_prompt(self) -> dict[str, Tensor]:
        """By name, float64 ``(n,)``: every prompt's contribution where ``compute`` is their mean (NaN: not counted).

        Prompts are in canonical order, the same for every model. Empty for a metric that is no mean over prompts.
        """
        return {}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """By name, what ``compute`` would give ``(draws,)`` if prompt ``i`` were drawn ``counts[:, i]`` times.

        Args:
            counts: float64 ``(draws, n)``, prompts in canonical order.

        Empty for a metric that cannot tell; one of which ``compute`` is no mean over prompts overrides this.
        """
        return {name: weighted_mean(values, counts) for name, values in self.per_prompt().items()}

    def rows(self, name: str) -> Tensor | None:
        """All rows of a field in canonical order (by id), floating ones in float64; None if never given."""
        parts = getattr(self, name)
        if isinstance(parts, list):
            if not parts:
                return None
            parts = torch.cat(parts)
        joined: Tensor = parts
        if joined.is_floating_point():
            joined = joined.double()
        keys = torch.cat(self.key) if isinstance(self.key, list) and self.key else self.key
        if isinstance(keys, Tensor) and len(keys) == len(joined):
            joined = joined[torch.sort(keys.to(joined.device), stable=True).indices]
        return joined

    def needed(self, name: str) -> Tensor:
        """As :meth:`rows`; DataError where nothing was ever added."""
        rows = self.rows(name)
        if rows is None:
            raise DataError(f"metric {type(self).__name__} was computed before any samples were added")
        return rows


def weighted_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of ``values`` ``(n,)`` under weights ``(draws, n)`` -> ``(draws,)``; NaN values do not count."""
    valid = values.isfinite()
    weights = counts[:, valid]
    mean: Tensor = weights @ values[valid].to(weights) / weights.sum(1)
    return mean


def id_keys(ids: Sequence[str]) -> Tensor:
    """A 63-bit number per id: the same in every process, and exchangeable between processes, unlike text."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return torch.tensor([int.from_bytes(digest, "big") >> 1 for digest in digests], dtype=torch.int64)
