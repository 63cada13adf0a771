"""Every data set and concept configuration builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hmu.compose import register_resolvers
from hmu.config import check_targets
from hmu.data.concepts import Concept
from hmu.data.dataset import DatasetSource

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONCEPTS = sorted(str(p.relative_to(CONFIGS / "concept").with_suffix("")) for p in CONFIGS.glob("concept/**/*.yaml"))
DATASETS = sorted(p.stem for p in CONFIGS.glob("dataset/*.yaml"))


def composed(*overrides: str):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("split", overrides=["paths.root=/nowhere", *overrides])


@pytest.mark.parametrize("name", CONCEPTS)
def test_concept(name: str) -> None:
    config = composed(f"concept={name.replace(chr(92), '/')}")
    check_targets(config)
    concept = instantiate(config.concept)
    assert isinstance(concept, Concept)
    assert concept.name == Path(name).name
    for dataset in ("humanml3d", "motion_x"):
        assert concept.for_dataset(dataset).keywords
    if concept.match == "word":
        hidden = [p for p in (*concept.paraphrase, *concept.implicit) if concept.find(p)]
        assert hidden == [], "these prompts use the concept's own words"


@pytest.mark.parametrize("name", DATASETS)
def test_dataset(name: str) -> None:
    config = composed(f"dataset={name}")
    check_targets(config)
    source = instantiate(config.dataset)
    assert isinstance(source, DatasetSource)
    assert source.name == name
    assert (CONFIGS / "dataset" / f"{name}.yaml").read_text().startswith("#")


def test_published_lists_are_the_published_ones() -> None:
    violence = instantiate(composed("concept=hmu/violence").concept)
    assert violence.match == "substring"
    assert "|".join(violence.keywords) == "kick|punch|hit|beat|boxe|boxing|jab|uppercut|hook"
    assert "|".join(violence.for_dataset("motion_x").keywords).startswith("punch|jab|box|hit|beat|kick|taekwondo")
