"""The prompt sets of a split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource
from hmu.data.demo import generate
from hmu.data.divide import partition_by_concept
from hmu.errors import ConfigError, DataError
from hmu.evaluation.detecting import look
from hmu.evaluation.sets import FORGET_SIDE, Prompting
from hmu.evaluation.suite import Suite
from tests.datasets import dataset
from tests.evaluation.toy import PLAIN

LISTS = {"paraphrase": [f"someone lifts a leg {n} times" for n in ("two", "three", "four", "five", "six")]}
KICK = Concept(
    name="kick", keywords=("kick",), detector="kick", target="a person kicks", neighbours=("punch",), **LISTS
)
WALK = Concept(name="walk", keywords=("walk",), detector="walk", target="a person walks")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> DatasetSource:
    root: Path = tmp_path_factory.mktemp("demo")
    generate(root / "data", seed=0, clips=60)
    return dataset("demo", root / "data", cache_dir=root / "cache").prepare()


def sets(source: DatasetSource, limits: dict[str, int], concept: Concept = KICK):
    sides = partition_by_concept(source, "test", concept)
    clips = source.clips("test", sides.forget), source.clips("test", sides.retain)
    actions = {"kick": KICK, "walk": WALK}
    built = Prompting(concept, actions, source.representation, unit=4, seed=0).sets(*clips, limits)
    return {prompts.name: prompts for prompts in built}


def test_every_kind_of_prompt_has_a_set_where_a_limit_asks_for_it(source):
    found = sets(source, dict.fromkeys(("forget", "retain", *FORGET_SIDE), 100))
    assert list(found)[:2] == ["forget", "retain"]
    assert {"explicit", "paraphrase", "typo", "compositional"} <= set(found)
    assert "implicit" not in found  # nobody has written one for this concept
    assert len(found["explicit"]) == len(found["typo"]) == 20
    assert set(sets(source, {"forget": 2, "typo": 0})) == {"forget"}


def test_a_limit_takes_the_first_prompts_with_the_lengths_they_have_without_it(source):
    whole, part = (sets(source, {"paraphrase": n})["paraphrase"] for n in (100, 3))
    assert [c.text for c in part.captions] == LISTS["paraphrase"][:3]
    assert torch.equal(part.lengths, whole.lengths[:3])
    longer = replace(KICK, paraphrase=[*LISTS["paraphrase"], "one more"])
    assert torch.equal(sets(source, {"paraphrase": 3}, longer)["paraphrase"].lengths, part.lengths)


def test_compositional_prompts_ask_for_two_actions_and_both_are_looked_for(source):
    found = sets(source, {"compositional": 2, "explicit": 2})
    assert set(found["compositional"].actions) == {"kick", "walk"}
    assert bool(found["compositional"].actions["kick"].all())
    clips = source.clips("test").batch([0, 1])
    still = clips.motion[:, :1].expand(2, int(found["compositional"].lengths.max()), -1)
    assert set(look(found["compositional"], still, KICK)) == {"kick", "walk"}
    assert set(look(found["explicit"], still, KICK)) == {"kick"}


def test_an_unknown_set_is_named_with_those_that_exist(source):
    with pytest.raises(DataError, match=r"'jailbreak'.*compositional"):
        sets(source, {"jailbreak": 3})


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"steps": 0}, r"suite\.steps=0"), ({"limits": {"forget": 5, "retain": -1}}, r"suite\.limits\.retain=-1")],
)
def test_a_suite_refuses_numbers_that_would_mean_something_else(change, expected):
    with pytest.raises(ConfigError, match=expected):
        Suite(**{"metrics": {}, "limits": {"forget": 5}, **PLAIN, **change})
