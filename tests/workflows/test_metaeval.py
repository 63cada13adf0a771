"""The metrics measured with a toy base and a toy reference, by the real command."""

from __future__ import annotations

import json

import pytest
from omegaconf import OmegaConf

from hmu.errors import ConfigError
from hmu.tools import metaeval
from tests.workflows.toy import inputs, retain_reference, run


def words(world, *more: str) -> list[str]:
    base = world / "backbone"
    given = [f"base={base}", f"reference={retain_reference(world)}", "suite=quick", "suite.gallery=null"]
    return [*given, *inputs(world), "suite.bootstrap=30", "hydra/job_logging=none", "device=cpu", *more]


def test_effects_of_every_metric_are_written(world, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin metaeval -->\nold\n<!-- end metaeval -->\nafter\n")
    run("metaeval", metaeval.run, *words(world, f"out={tmp_path / 'out'}", f"document={page}"))
    found = json.loads((tmp_path / "out" / "metaeval.json").read_text())
    assert found["context"]["concept"] == "kick"
    assert {"fid", "mm_dist", "detector_rate"} <= {e["metric"] for e in found["effects"]}
    assert all(e["repeats"] >= 1 and e["n"] > 0 for e in found["effects"])
    text = page.read_text()
    assert "`fid`" in text
    assert "old" not in text
    assert text.startswith("before")


def test_a_document_that_is_not_there_is_said_first(tmp_path):
    config = {"document": str(tmp_path / "nothing.md")}
    with pytest.raises(ConfigError, match="nothing"):
        metaeval.page_of(OmegaConf.create(config))
