"""What a metric is, and the samples that it counts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

from hmu.errors import ConfigError, DataError, shown
from hmu.metrics.values import Value, resolve

log = logging.getLogger(__name__)


class Absent(KeyError):
    """An input that these samples do not have."""


class EvalSamples(Mapping[str, Any]):
    """What metrics look at: inputs by name, of all prompts of one set or a part of them; all rows in one order.

    An input is a value, or a provider: a function of these samples that computes it when somebody first asks. What is
    None is absent. A metric may bring providers of its own (:attr:`MotionMetric.providers`); these are there already:

    * ``generated``, ``real``: embeddings of generated motions ``(n, width)`` and of real ones of the same kind of
      prompts ``(m, width)``; ``text``: of the prompts ``(n, width)``; ``repeats``: of several motions per prompt
      ``(n, repeats, width)``.
    * ``masked``, ``changed``: embeddings of the prompts without the concept's words ``(n, width)``, and which prompts
      that changed, bool ``(n,)``; ``masked_hmu``, ``changed_hmu``: the same by the published substring rule.
    * ``sentence``: vectors whose cosines say which prompts mean the same ``(n, any)``; no evaluator's space.
    * ``joints``: metres, Y up ``(n, frames, joints, 3)``; ``lengths``: true frames ``(n,)``; ``fps``: 20 if absent.
    * ``states``, ``real_states``: generated and real windows of gait in real units ``(n, frames, 63)``.
    * ``motion``: generated motions in real units ``(n, frames, features)``; ``captions``: the prompts; ``ids``: a name
      per prompt, by which results become independent of order; ``prompts``, ``concept``, ``evaluator``, ``store``.

    Args:
        shared: samples whose inputs are these samples' too, where they have none of that name: of the same set.
        inputs: values and providers by name.
    """

    def __init__(self, shared: EvalSamples | None = None, /, **inputs: Any) -> None:
        self._shared, self._inputs = shared, inputs

    def __getitem__(self, name: str) -> Any:
        if name not in self._inputs and self._shared is not None:
            return self._shared[name]
        value = self._inputs.get(name)
        if callable(value) and not isinstance(value, Module):
            value = self._inputs[name] = self._computed(name, value)
        if value is None:
            raise Absent(name)
        return value

    def _computed(self, name: str, provider: Provider) -> Any:
        try:
            return provider(self)
        except Absent:
            return None  # what it is made of is absent
        except KeyError as error:  # a mistake of the provider's is no absence
            raise RuntimeError(f"the provider of input '{name}' failed: KeyError {error}") from error

    def __iter__(self) -> Iterator[str]:
        names = dict.fromkeys([*(self._shared or ()), *self._inputs])
        return (name for name in names if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def has(self, names: Sequence[str]) -> bool:
        """Whether none of these inputs is absent."""
        return all(self.get(name) is not None for name in names)


Provider = Callable[[EvalSamples], Any]  #: what computes an input; None where there is none


class MotionMetric(Metric):
    """Base of all metrics: keeps what ``inputs`` names, joined over updates and processes, in a canonical order.

    ``compute`` returns ``{name: value}``. It does not depend on batch size, and with ``ids`` not on order either.

    Attributes:
        inputs: names of :class:`EvalSamples` that are needed; optional: that are kept where there are any.
        providers: what computes inputs that only this metric knows, by name; asked once per repeat.
        values: what ``compute`` yields: every name must be covered by one of these declarations.
        kept: what :meth:`rows_of` gives where that is not the inputs; empty for a metric with states of its own.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    providers: ClassVar[Mapping[str, Provider]] = {}
    values: ClassVar[tuple[Value, ...]] = ()
    kept: ClassVar[tuple[str, ...] | None] = None
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = (*self.inputs, *self.optional) if self.kept is None else self.kept
        for name in (*names, "key") if names else ():
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def value(self, name: str) -> Value:
        """The declaration of a number that ``compute`` gave; ConfigError where none of ``values`` covers it."""
        if (value := resolve(self.values, name)) is None:
            known = ", ".join(value.name for value in self.values) or "none"
            raise ConfigError(f"{type(self).__name__} gives '{shown(name)}', but its values declare {known}")
        return value

    def names(self) -> list[str]:
        """Of the numbers that it gives, as far as they are known before."""
        return [value.name for value in self.values if "*" not in value.name]

    def update(self, samples: EvalSamples) -> None:
        """Add samples; DataError where a needed input is absent, or rows do not fit."""
        self.require(samples)
        rows = {name: len(samples[name]) for name in self.inputs if not name.startswith("real")}
        if len(set(rows.values())) > 1:
            raise DataError(f"metric {type(self).__name__}: rows differ: {rows}")
        new = self.rows_of(samples)
        if rows and "ids" in samples:
            new["key"] = id_keys(samples["ids"])
        for name, values in new.items():
            parts: list[Tensor] = getattr(self, name)
            parts.append(values)

    def rows_of(self, samples: EvalSamples) -> dict[str, Tensor]:
        """What is kept of samples, by name, ``(n, …)``: all inputs, unless a metric needs only something of them."""
        return {name: samples[name].detach() for name in (*self.inputs, *self.optional) if name in samples}

    def require(self, samples: EvalSamples) -> None:
        """Raises DataError where one of ``inputs`` is absent."""
        missing = [name for name in self.inputs if name not in samples]
        if missing:
            raise DataError(f"metric {type(self).__name__} needs '{missing[0]}', which these samples do not have")

    def applies(self, samples: EvalSamples) -> bool:
        """Whether samples that have all ``inputs`` say anything; where not, they are left out."""
        return True

    def compute(self) -> dict[str, float]:
        """By name, the number: the mean over prompts, unless a metric says otherwise."""
        return {name: float(values[~values.isnan()].mean()) for name, values in self.per_prompt().items()}

    def per_prompt(self) -> dict[str, Tensor]:
        """By name, float64 ``(n,)``: every prompt's contribution where ``compute`` is their mean (NaN: not counted).

        Prompts are in canonical order, the same for every model. Empty for a metric that is no mean over prompts.
        """
        return {}

    def resampled(self, counts: Tensor) -> dict[str, Tensor]:
        """By name, what ``compute`` would give ``(draws,)`` if prompt ``i`` were drawn ``counts[:, i]`` times.

        ``counts``: float64 ``(draws, n)``, prompts in canonical order. Empty for a metric that cannot tell; one of
        which ``compute`` is no mean over prompts overrides this.
        """
        return {name: weighted_mean(values, counts) for name, values in self.per_prompt().items()}

    def rows(self, name: str) -> Tensor | None:
        """All rows ``(n, ...)`` of a field in canonical order (by id), floats in float64; None if never given."""
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
        """As :meth:`rows` ``(n, ...)``; DataError where nothing was ever added."""
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
    """A 63-bit number per id ``(n,)``: the same in every process, and exchangeable between processes, unlike text."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return torch.tensor([int.from_bytes(digest, "big") >> 1 for digest in digests], dtype=torch.int64)
