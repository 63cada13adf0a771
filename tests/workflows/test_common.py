from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.workflows.settling import settle_concept


@pytest.fixture
def composed(tmp_path: Path):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield lambda *overrides: compose("unlearn", overrides=[f"paths.root={tmp_path}", "method=esd", *overrides])


def test_overrides_of_a_data_set_reach_what_refers_to_the_concept(composed):
    config = composed("dataset=bandai", "concept=wave")
    settled = settle_concept(config)
    assert settled.method.anchor == settled.concept.anchor == "a person walks"
    assert list(settled.concept.keywords) == ["wave"]
    assert config.method.anchor == "a person stands"  # the given one is left alone


def test_other_data_sets_and_concepts_without_overrides_keep_theirs(composed):
    for overrides in (("dataset=demo", "concept=wave"), ("dataset=bandai", "concept=kick")):
        config = composed(*overrides)
        assert settle_concept(config).method.anchor == config.concept.anchor
