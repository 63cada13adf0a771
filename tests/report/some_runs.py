"""Run folders made by hand: what the tests of reports read."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from hmu.evaluation.results import Results, Row

CHOICES = {"dataset": "demo", "backbone": "salad_demo", "concept": "kick", "method": "lora"}


def write_run(
    folder: Path,
    *overrides: str,
    seed: int = 0,
    status: str = "complete",
    rates: tuple[float, float] | None = (0.1, 0.8),
    base: tuple[float, float] = (0.8, 0.8),
    fid: float = 1.0,
    seconds: float = 60.0,
    **choices: str,
) -> Path:
    """A run whose unlearned model has ``rates`` (concept on forget, asked-for actions on retain); None: no numbers."""
    chosen = CHOICES | choices
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "overrides.yaml").write_text(yaml.safe_dump([*overrides, f"method={chosen['method']}", f"seed={seed}"]))
    (hydra / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": chosen}}}))
    config = {"job": "unlearn", "dataset": {"name": chosen["dataset"]}, "concept": {"name": chosen["concept"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    record = {"status": status, "seed": seed, "timings": {"unlearn": seconds}, "edit": {"bytes": 2_000_000}}
    (folder / "run.json").write_text(json.dumps(record))
    if rates is not None:
        results_of(base, rates, fid, chosen).save(folder / "metrics.json")
        (folder / "report.md").write_text("# a report\n")
    return folder


def results_of(base: tuple[float, float], rates: tuple[float, float], fid: float, chosen: dict[str, str]) -> Results:
    rows = []
    for model, (forget, retain), distance in (("base", base, 1.0), ("unlearned", rates, fid)):
        rows += [
            Row(model, "forget", "detector_rate", forget, 0.0, 1.0, 10, 1, chosen["concept"], "lower"),
            Row(model, "retain", "detector_rate", retain, 0.0, 1.0, 40, 1, None, "higher"),
            Row(model, "retain", "fid", distance, None, None, 40, 1, None, "lower"),
        ]
    return Results({"concept": chosen["concept"], "dataset": chosen["dataset"], "repeats": 1}, rows)
