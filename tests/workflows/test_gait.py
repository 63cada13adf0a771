"""Whole jobs on gait at toy size: train, specialise, unlearn, measure."""

from __future__ import annotations

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from evaluate import evaluate
from hmu.backbones.gaitdynamics import GaitDynamics
from hmu.compose import register_resolvers
from hmu.config import CONFIGS, check_targets
from hmu.evaluation.results import Results
from hmu.gait.statistics import NAMES
from hmu.methods.applying import applied
from hmu.methods.edit import fingerprint, load_edit
from tests.workflows.toy import GAIT_FAST, gait_here, gait_job, run
from train import train
from unlearn import unlearn


@pytest.mark.parametrize("path", sorted((CONFIGS / "tuning").glob("*.yaml")), ids=lambda p: p.stem)
def test_settings_for_a_pair_are_keys_of_the_method_and_the_command_line_wins(path):
    backbone, _, method = path.stem.rpartition("_")
    pair = [f"backbone={backbone}", f"method={method}"]
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain, own = (compose("unlearn", overrides=[*pair, *more]) for more in ([], ["method.lambda_forget=7"]))
        check_targets(plain)
    assert plain.method.preserve == "target"
    assert own.method.lambda_forget == 7 != plain.method.lambda_forget


METHODS = {
    "specialise": ["method=lora", "method.mode=specialise"],
    "negate": ["method=lora", "method.mode=negate"],
    "contrastive": ["method=lora"],
    "finetune": ["method=finetune"],
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_is_measured_and_comes_off_again(gait, name):
    folder = gait / "runs" / name
    short = ["method.steps=2", "method.batch_size=4"]
    run("unlearn", unlearn, *gait_job(gait, *METHODS[name], *short), f"hydra.run.dir={folder}")
    for file in ("config.yaml", "run.json", "partition.json", "metrics.json", "report.md"):
        assert (folder / file).is_file(), file
    assert (folder / "samples" / "before_after.gif").stat().st_size > 1000
    found = Results.load(folder / "metrics.json")
    assert {row.model for row in found.rows} == {"base", "unlearned"}
    assert found.get("base", "forget", "detector_rate", "crouch_gait") is not None
    assert {row.label for row in found.rows if row.set == "retain"} >= {None, "walk", "stiff_knee", "run"}
    assert {row.metric for row in found.rows if row.set == "retain" and row.label == "walk"} >= set(NAMES)
    for metric in ("fid", "kernel_distance"):
        assert {s for s in ("forget", "retain") if found.get("unlearned", s, metric)} == {"forget", "retain"}
    assert "| speed |" in (folder / "report.md").read_text()
    model, edit = GaitDynamics.load_pretrained(gait / "backbone" / "model"), load_edit(folder)
    before = fingerprint(model)
    with applied(model, [(edit, 1.0)]):
        assert fingerprint(model) != before
    assert fingerprint(model) == before


def test_a_run_is_measured_again_with_any_strength_and_off_is_the_base(gait):
    ran = gait / "runs" / "specialise"
    if not ran.is_dir():
        pytest.skip("needs the run of the test before it")
    for scale, same in (("0", True), ("-1", False)):
        folder = gait / "runs" / f"scale{scale}"
        again = [
            f"ckpt={ran}",
            f"scale={scale}",
            "device=cpu",
            "hydra/job_logging=none",
            f"paths.cache={gait / 'cache'}",
        ]
        run("evaluate", evaluate, *again, *GAIT_FAST[:-1], f"hydra.run.dir={folder}")
        found = Results.load(folder / "metrics.json")
        pairs = [(r.value, found.get("unlearned", *r.key).value) for r in found.rows if r.model == "base"]
        assert all(a == pytest.approx(b, nan_ok=True) for a, b in pairs) == same
        saved = json.loads((folder / "metrics.json").read_text())
        assert saved["context"]["evaluator"] == "gait features"


def test_a_reference_without_the_style_is_a_column(gait):
    reference, folder = gait / "reference", gait / "runs" / "referenced"
    sizes = [f"backbone.decoder.{size}" for size in ("latent_dim=16", "ff_dim=24", "layers=1", "heads=2")]
    small = [f"recipes.backbone.denoiser.{key}" for key in ("steps=1", "batch_size=4", "validate_every=1")]
    only = ["backbone.checkpoint=null", "partition=retain", "concept=crouch_gait", f"hydra.run.dir={reference}"]
    run("train", train, *gait_here(gait), *sizes, *small, *only)
    short = ["method=lora", "method.steps=1", "method.batch_size=4", f"reference={reference}"]
    run("unlearn", unlearn, *gait_job(gait, *short), f"hydra.run.dir={folder}")
    assert {row.model for row in Results.load(folder / "metrics.json").rows} == {"base", "unlearned", "reference"}


def test_a_suite_that_needs_captions_is_refused_in_one_line(gait, capsys):
    with pytest.raises(SystemExit) as ended:
        run("unlearn", unlearn, *gait_job(gait, "method=finetune", "suite=quick"), f"hydra.run.dir={gait / 'no'}")
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "use suite=gait" in line
    assert "\n" not in line


def test_windows_do_not_depend_on_the_side_that_asks(gait):
    from hmu.evaluation.generation import Generated
    from hmu.report.gait import windows_of
    from tests.evaluation.test_gait import sets_of

    sets = sets_of()
    answers = {"base": {s.name: Generated([s.real.motion]) for s in sets}}
    assert torch.equal(windows_of(sets, answers)["base"], max(sets, key=len).real.motion)
