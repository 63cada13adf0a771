"""From the answers of one model to one set to measured numbers: per repeat, and under resampling of prompts."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hmu.errors import ConfigError, DataError
from hmu.evaluation.results import Row, possible, summarise
from hmu.metrics.base import EvalSamples, MotionMetric, weighted_mean
from hmu.metrics.intervals import wilson_interval
from hmu.metrics.values import Value, by_evaluator

log = logging.getLogger(__name__)
MIDDLE = torch.tensor([0.5 - 0.95 / 2, 0.5 + 0.95 / 2], dtype=torch.float64)  #: quantiles at both ends of 95 %


@dataclass(frozen=True)
class Measured:
    """A row, and what comparing it with other models needs.

    Attributes:
        row: value, repeats, interval.
        draws: the value under resampling of prompts, centred on it, ``(draws,)``; the same prompts were drawn for every
            model. None for a metric that cannot be resampled.
        prompts: every prompt's value, mean over repeats ``(n,)``; None for a metric that is no mean over prompts.
    """

    row: Row
    draws: Tensor | None = None
    prompts: Tensor | None = None


class Resampling:
    """Which prompts every draw of the bootstrap takes, each with all its repeats; equal arguments give equal draws.

    A prompt's repeats carry the noise of sampling, so prompts alone stand for both. Drawing repeats beside them would
    count that noise up to three times (Owen 2007, the pigeonhole bootstrap).

    Attributes:
        prompts: how many there are; draws: 0 resamples nothing.
        counts: how often each prompt is drawn, float64 ``(draws, prompts)``.
    """

    def __init__(self, prompts: int, draws: int, seed: int = 0) -> None:
        self.prompts, self.draws = prompts, draws
        index = torch.randint(prompts, (draws, prompts), generator=torch.Generator().manual_seed(seed))
        ones = torch.ones(index.shape, dtype=torch.float64)
        self.counts = torch.zeros(draws, prompts, dtype=torch.float64).scatter_add_(1, index, ones)

    def centred(self, value: float, per_repeat: Sequence[Tensor]) -> Tensor | None:
        """Draws of the mean over repeats, moved so that their median is ``value``; None if they cannot tell.

        ``per_repeat``: the draws of every repeat ``(draws,)``. Moving takes away the bias that rows drawn twice cause.
        """
        if not self.draws or not per_repeat or not math.isfinite(value):
            return None
        draws = torch.stack(list(per_repeat)).mean(0)
        if not bool(draws.isfinite().all()):
            return None
        return draws - draws.quantile(0.5) + value


def interval(draws: Tensor | None) -> tuple[float | None, float | None]:
    """The middle 95 % of draws ``(draws,)``; ``(None, None)`` without any."""
    if draws is None or not len(draws):
        return None, None
    low, high = torch.quantile(draws.double(), MIDDLE).tolist()
    return low, high


def with_draws(row: Row, draws: Tensor | None, prompts: Tensor | None = None) -> Measured:
    """``row`` with the interval of its draws ``(draws,)``, which is also the one to quote; ``prompts`` ``(n,)``."""
    low, high = interval(draws)
    if draws is None or low is None or high is None:
        return Measured(row, draws, prompts)
    quoted = replace(row, boot_low=low, boot_high=high)
    if row.is_share and 0 <= row.value <= 1:
        edges, kind = _share_interval(row, draws), "wilson"
    else:
        edges, kind = possible(row.kind, low, high), "bootstrap"
    if edges[0] is not None:
        quoted = replace(quoted, low=edges[0], high=edges[1], interval=kind)
    return Measured(quoted, draws, prompts)


def _share_interval(row: Row, draws: Tensor) -> tuple[float | None, float | None]:
    """Wilson's interval for as many independent answers as would vary like the draws (Kish's effective size).

    A bootstrap has no width at 0 and 1, where every draw is the same; there each prompt counts once.
    """
    spread = float(draws.double().var())
    count = row.value * (1 - row.value) / spread if spread > 1e-12 else float(row.n)
    return possible(row.kind, *wilson_interval(row.value * count, count))


@dataclass
class _Number:
    """What one number of the metric called ``metric`` has gathered over repeats.

    ``label``: of a part of a declared number, ``speed/walk`` of ``speed``, which is a row of that number.
    """

    metric: str
    value: Value
    label: str | None
    values: list[float]
    draws: list[Tensor]
    prompts: list[Tensor]


@dataclass(frozen=True)
class Tally:
    """Counts what one model generated for one set."""

    model: str
    set: str
    resampling: Resampling

    def row(self, metric: str | Value, values: Iterable[float], n: int | None = None, **facts: Any) -> Row:
        """See :func:`hmu.evaluation.results.summarise`; ``n``: None = all prompts."""
        return summarise(self.model, self.set, metric, values, self.resampling.prompts if n is None else n, **facts)

    def metrics(
        self, metrics: Mapping[str, MotionMetric], repeats: Iterable[EvalSamples], evaluator: str = ""
    ) -> Iterator[Measured]:
        """Every metric on every repeat; ``speed/walk`` becomes the row of ``speed`` with the label ``walk``.

        Args:
            metrics: by name; one is used if the samples have what it needs.
            repeats: the samples of every repeat, taken once.
            evaluator: a further one, whose numbers carry its name; empty for the suite's own.

        Raises:
            ConfigError: two metrics give one number, or one that its metric does not declare.
        """
        numbers: dict[str, _Number] = {}
        for repeat, samples in enumerate(repeats):
            for key, metric in metrics.items():
                if not samples.has(metric.inputs) or ("repeats" in metric.inputs and repeat):
                    continue  # multimodality looks at all repeats at once
                if not metric.applies(samples):
                    continue
                metric.reset()
                metric.update(samples)
                try:
                    _gather(key, metric, self.resampling, numbers)
                except DataError as error:  # a set too small for this metric must not lose the others
                    log.warning("set '%s': %s; left out", self.set, error)
        for number in numbers.values():
            value = by_evaluator(number.value, evaluator) if evaluator else number.value
            row = self.row(value, number.values, label=number.label)
            per_prompt = torch.stack(number.prompts).mean(0) if number.prompts else None
            yield with_draws(row, self.resampling.centred(row.value, number.draws), per_prompt)

    def share(self, metric: str, hits: Sequence[Tensor], mask: Tensor | None = None, **facts: Any) -> Measured:
        """A rate over the prompts of ``mask`` ``(n,)`` (None: all): ``hits`` per repeat, float64 ``(n,)``."""
        mask = torch.ones_like(hits[0], dtype=torch.bool) if mask is None else mask
        asked = [hit.masked_fill(~mask, float("nan")) for hit in hits]
        row = self.row(metric, [float(hit[mask].mean()) for hit in hits], int(mask.sum()), share=True, **facts)
        return self.mean(row, asked)

    def mean(self, row: Row, per_prompt: Sequence[Tensor]) -> Measured:
        """A row that is the mean over prompts of what every repeat gave each ``(n,)``; NaN does not count."""
        draws = [weighted_mean(values, self.resampling.counts) for values in per_prompt]
        return with_draws(row, self.resampling.centred(row.value, draws), torch.stack(list(per_prompt)).mean(0))


def check_distinct(metrics: Mapping[str, MotionMetric]) -> None:
    """Refuse two metrics that read the same and give a number of the same name; the ConfigError names both."""
    names: dict[tuple[str, tuple[str, ...]], str] = {}
    for key, metric in metrics.items():
        for name in metric.names():
            if (other := names.setdefault((name, metric.inputs), key)) != key:
                raise _twice(other, key, name)


def _twice(one: str, other: str, name: str) -> ConfigError:
    return ConfigError(f"suite.metrics: '{one}' and '{other}' both give '{name}'; leave one of them out")


def _gather(key: str, metric: MotionMetric, resampling: Resampling, numbers: dict[str, _Number]) -> None:
    measured = metric.compute()
    per_prompt = metric.per_prompt()
    draws = metric.resampled(resampling.counts) if resampling.draws else {}
    for name, value in measured.items():
        declared, label = metric.value(name), None
        if not any(own.resolved(name) for own in metric.values):  # no number of its own
            plain, slash, part = name.partition("/")
            declared, label = (replace(declared, name=plain), part) if slash else (declared, None)
        number = numbers.setdefault(name, _Number(key, declared, label, [], [], []))
        if number.metric != key:
            raise _twice(number.metric, key, name)
        number.values.append(value)
        if name in draws:
            number.draws.append(draws[name].cpu())
        if name in per_prompt:
            number.prompts.append(per_prompt[name].cpu())
