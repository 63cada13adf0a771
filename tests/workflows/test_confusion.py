"""Two evaluators on one run, a gallery that answers, and what is generated instead, through the real commands."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from hmu.evaluation.results import Results
from hmu.evaluators.tmr import TMREvaluator
from hmu.evaluators.tmr.evaluator import PUBLISHED
from hmu.metrics.ncs import ncs_compute, read_records
from tests.compact import compact
from tests.workflows.toy import QUIET, inputs, run
from unlearn import unlearn


def toy_tmr(folder: Path) -> Path:
    torch.manual_seed(0)
    text = compact(["kick", "walk"], width=8, layers=1, heads=2, buckets=32)
    TMREvaluator(263, text, **{**PUBLISHED, "width": 8, "ff": 8, "layers": 1, "heads": 2}).save_pretrained(folder)
    return folder


def test_both_evaluators_and_a_gallery(world: Path) -> None:
    folder = world / "runs" / "both"
    tmr = toy_tmr(world / "tmr")
    given = [o for o in inputs(world) if not o.startswith("evaluator.")]
    given += ["evaluator=both", f"evaluator.first.checkpoint={world / 'evaluator' / 'model'}"]
    given += [f"evaluator.second.checkpoint={tmr}", "+metric@suite.metrics.retrieval_threshold=retrieval_threshold"]
    run("unlearn", unlearn, "method=uce", *given, *QUIET, "logger=none", f"hydra.run.dir={folder}")
    results = Results.load(folder / "metrics.json")
    names = {row.metric for row in results.rows}
    assert {"fid", "fid@tmr", "mm_dist@tmr", "ncs@5", "mean_rank", "retrieval_threshold/t2m/R01@tmr"} <= names
    assert not {name for name in names if name.startswith(("detector_rate@", "ncs@5@"))}
    assert results.context["evaluator"] == "guo+tmr"
    found = json.loads((folder / "instead.json").read_text())
    assert found["models"] == ["base", "unlearned"]
    prompts = results.get("unlearned", "forget", "ncs@5")
    assert prompts is not None
    assert sum(map(sum, found["seen"]["unlearned"]["counts"])) == prompts.n * prompts.repeats
    assert "What is generated instead" in (folder / "report.md").read_text(encoding="utf-8")
    heading, records = read_records(folder / "samples" / "records_unlearned.json")
    assert heading["gallery"] == "test"
    assert len(records) == prompts.n * prompts.repeats
    own = {hit["keyid"].removeprefix("M") for hit in records[0]["retrieval"]}
    assert records[0]["name"].partition("#")[0] not in own
    assert 0 <= ncs_compute(records, ["kick"])["ncs@5"] <= 1
    assert list((world / "cache" / "galleries").glob("*/array.npy"))
