"""Inputs of metrics: computed once, when one asks; brought by a metric where nobody else has them; never guessed."""

from __future__ import annotations

import pytest
import torch

from hmu.compose import configured
from hmu.config import CONFIGS
from hmu.errors import ConfigError, DataError
from hmu.metrics.base import Absent, EvalSamples, MotionMetric
from hmu.metrics.values import Value
from tests.evaluation.toy import PLAIN, Generating, Words, prompts, suite
from tests.metrics.made import made


def test_a_provider_is_asked_once_and_only_if_somebody_looks():
    asked = []

    def text(samples):
        asked.append(samples["name"])
        return torch.ones(2)

    shared = EvalSamples(name="set", text=text, real=lambda samples: asked.append("real"))
    first, second = EvalSamples(shared, generated=torch.zeros(2)), EvalSamples(shared)
    assert asked == []
    assert first["text"] is second["text"]
    assert asked == ["set"]
    assert set(first) == {"name", "text", "generated"}


def test_what_is_made_of_an_absent_input_is_absent():
    samples = EvalSamples(real=None, gap=lambda s: s["real"] - 1)
    assert "gap" not in samples
    assert not samples.has(("gap",))
    with pytest.raises(Absent):
        samples["gap"]


def test_a_mistake_in_a_provider_is_no_absence():
    samples = EvalSamples(table={}, gap=lambda s: s["table"]["misspelt"])
    with pytest.raises(RuntimeError, match="provider of input 'gap' failed: KeyError 'misspelt'"):
        samples.get("gap")


class Longest(MotionMetric):
    """Brings an input of its own."""

    inputs = ("longest",)
    providers = {"longest": lambda samples: samples["lengths"].double() / samples["fps"]}  # noqa: RUF012
    values = (Value("longest", "Seconds", better="same", kind="size"),)

    def per_prompt(self):
        return {"longest": self.needed("longest")}


class Needy(MotionMetric):
    inputs = ("horoscope",)
    values = (Value("needy"),)


def test_a_metric_brings_an_input_that_nobody_knows(tmp_path):
    from hmu.checkpoints.store import Store
    from hmu.evaluation.generation import Model
    from tests.evaluation.toy import KICKS

    one = suite()
    one = type(one)({"longest": Longest()}, {"retain": 5}, **PLAIN)
    rows, _ = one.run([Model("base", Generating(), "b")], [prompts()], Words(), KICKS, 0, Store(None))
    (row,) = [row for row in rows if row.metric == "longest"]
    assert row.value == pytest.approx(sum((8, 16, 12, 20, 8)) / 5 / 20)
    assert (row.title, row.kind, row.direction) == ("Seconds", "size", "same")


def test_an_input_that_nobody_provides_is_refused_when_the_suite_is_built():
    with pytest.raises(ConfigError, match=r"suite\.metrics\.x: nobody provides its input 'horoscope'"):
        type(suite())({"x": Needy()}, {"retain": 5}, **PLAIN)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "suite").glob("[!_]*.yaml")))
def test_every_suite_is_built_from_its_file(name):
    assert configured("suite", name).metrics


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "metric").glob("[!_]*.yaml")))
def test_every_metric_is_built_from_its_file_and_says_what_it_needs(name):
    metric = made(name)
    assert metric.values
    with pytest.raises(DataError, match="needs"):
        metric.update(EvalSamples())


def test_batches_of_the_published_mm_safe_are_as_large_as_its_file_says():
    """Ten prompts of which the last names the concept: in batches of 5 half of them count, in one of 10 all."""
    rows, changed = torch.ones(10, 2), torch.arange(10) == 9
    samples = EvalSamples(generated=rows, text=rows * 2, masked_hmu=rows * 3, changed_hmu=changed)
    values = {}
    for size in (5, 10):
        metric = made("mm_safe_hmu", batch_size=size)
        metric.update(samples)
        values[size] = metric.compute()["mm_safe_hmu"]
    assert values[5] < values[10]
