"""Whole jobs at toy size: train, unlearn with every method, measure again, sweep. A new method's YAML adds its row."""

from __future__ import annotations

import csv
import json

import pytest

from evaluate import evaluate
from hmu.backbones.salad import Salad
from hmu.checkpoints.pretrained import stored_class
from hmu.config import CONFIGS
from hmu.evaluation.results import Results
from hmu.methods.applying import applied
from hmu.methods.edit import fingerprint, load_edit
from tests.workflows.test_pairs import class_of, fits
from tests.workflows.toy import FAST, GAIT_FAST, QUIET, gait_job, inputs, run, toy_backbone
from unlearn import unlearn

METHODS = sorted(p.stem for p in (CONFIGS / "method").glob("[!_]*.yaml"))
#: every backbone of the tree that is small enough
BACKBONES = sorted(p.stem for p in (CONFIGS / "backbone").glob("*_demo.yaml"))
TEXT = [name for name in BACKBONES if class_of(name).reads_text]


def brief(method: str) -> list[str]:
    """A training of two steps; edit methods have no length."""
    family = (CONFIGS / "method" / f"{method}.yaml").read_text(encoding="utf-8")
    return ["method.steps=2", "method.batch_size=4"] if "_trained" in family else []


def test_training_writes_a_run_folder_that_needs_nothing_else(world):
    record = json.loads((world / "backbone" / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["stages"] == ["vae", "denoiser"]
    model = Salad.load_pretrained(world / "backbone" / "model")
    assert model.vae.options.latent_dim == 8
    assert (world / "backbone" / "logs" / "vae" / "metrics.csv").is_file()
    assert (world / "backbone" / "logs" / "denoiser" / "metrics.csv").is_file()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", METHODS)
def test_unlearn_save_load_switch_off_evaluate(request, backbone, method):
    if not fits(backbone, method):
        pytest.skip(f"{method} does not fit {backbone}: refused, see test_pairs.py")
    reads = backbone in TEXT  # the others have data of their own
    root = request.getfixturevalue("world" if reads else "gait")
    given, fast = (inputs(root, backbone), FAST) if reads else (gait_job(root), GAIT_FAST[:-1])
    folder, short = root / "runs" / f"{backbone}-{method}", [f"method={method}", f"backbone={backbone}", *brief(method)]
    run("unlearn", unlearn, *given, *short, *QUIET, "logger=csv", f"hydra.run.dir={folder}")
    for name in ("config.yaml", "run.json", "partition.json", "audit.csv", "metrics.json", "report.md", "report.html"):
        assert (folder / name).is_file(), name
    assert (folder / "samples" / "before_after.gif").stat().st_size > 1000
    record = json.loads((folder / "run.json").read_text())
    assert list(record["timings"]) == ["prepare", "ask base", "unlearn", "evaluate"]
    assert record["clips"]["forget"] > 0
    trained = toy_backbone(root, backbone) if reads else root / "backbone" / "model"
    model, edit = stored_class(trained).load_pretrained(trained), load_edit(folder)
    before = fingerprint(model)
    with applied(model, [(edit, 1.0)]):
        # esd redirects words: where none are read there is nothing to redirect
        assert (fingerprint(model) != before) == (reads or method != "esd")
    assert fingerprint(model) == before
    again = root / "runs" / f"{backbone}-{method}-again"
    run(
        "evaluate",
        evaluate,
        f"ckpt={folder}",
        *fast,
        f"paths.cache={root / 'cache'}",
        "hydra/job_logging=none",
        "seed=3",
        "device=cpu",
        f"hydra.run.dir={again}",
    )
    first, second = Results.load(folder / "metrics.json"), Results.load(again / "metrics.json")
    assert {row.model for row in second.rows} == {"base", "unlearned"}
    for side in ("base", "unlearned"):
        values = [[row.value for row in results.rows if row.model == side] for results in (first, second)]
        assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_strength_0_measures_the_base(world):
    folder = world / "runs" / "off"
    ran = world / "runs" / f"{TEXT[0]}-{METHODS[0]}"
    if not ran.is_dir():
        pytest.skip("needs the run of the test before it")
    run(
        "evaluate",
        evaluate,
        f"ckpt={ran}",
        "scale=0",
        *FAST,
        "hydra/job_logging=none",
        "device=cpu",
        f"hydra.run.dir={folder}",
    )
    rows = Results.load(folder / "metrics.json").rows
    values = {m: [r.value for r in rows if r.model == m] for m in ("base", "unlearned")}
    assert values["base"] == pytest.approx(values["unlearned"], nan_ok=True)


def test_a_sweep_has_one_folder_and_one_table(world):
    folder = world / "sweep"
    more = [
        "-m",
        "method=lora",
        "method.rank=2,4",
        "method.steps=1",
        "method.batch_size=4",
        f"hydra.sweep.dir={folder}",
    ]
    run("unlearn", unlearn, *more, *inputs(world), *QUIET, "logger=none")
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["method.rank"] for row in rows) == ["2", "4"]
    assert all(row["status"] == "complete" for row in rows)
