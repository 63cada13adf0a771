"""What the loggers show: configuration, curves, and at the end table, animation and plots. Offline."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from evaluate import evaluate
from hmu.errors import ConfigError
from hmu.evaluation.results import Results, summarise
from hmu.report.loggers import WandbReport
from hmu.workflows.trainer import log_report, logger_for
from tests.workflows.toy import FAST, QUIET, inputs, run
from unlearn import unlearn


@pytest.fixture
def wandb(monkeypatch):
    module = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")
    yield module
    module.finish()


BLOCK, HEADER = 32768, 7  # of LevelDB's log format, in which W&B keeps an offline run


def records(folder: Path, patience: float = 30.0) -> list:
    """Every record of the one offline run below a run folder; its own process may still be writing them."""
    until = time.monotonic() + patience
    while True:
        found = read_records(folder)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < until, "the run was never ended"
        time.sleep(0.2)


def read_records(folder: Path) -> list:
    """What is on disk so far."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, parts, found = path.read_bytes(), HEADER, [], []
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block that no header fits into
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if at + HEADER + size > len(data):  # half written
            break
        parts.append(data[at + HEADER : at + HEADER + size])
        at += HEADER + size
        if kind in (1, 4):  # whole, or the last part of one
            found.append(wandb_internal_pb2.Record.FromString(b"".join(parts)))
            parts = []
    return found


def logged(folder: Path) -> tuple[set[str], set[str], dict[str, object]]:
    """Keys of the configuration, first keys of the history, and the summary."""
    config: set[str] = set()
    history: set[str] = set()
    summary: dict[str, object] = {}
    for record in records(folder):
        for update in [*record.run.config.update, *record.config.update]:
            config.add(update.key or "/".join(update.nested_key))
        history |= {item.key or item.nested_key[0] for item in record.history.item}
        summary |= {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
    return config, history, summary


def table(folder: Path) -> list[dict[str, object]]:
    (path,) = folder.glob("wandb/offline-run-*/files/media/table/report/*.json")
    content = json.loads(path.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def test_wandb_holds_config_curves_table_and_animation_of_an_unlearning_run(world, tmp_path, wandb):
    folder = tmp_path / "run"
    short = ["method=esd", "method.steps=2", "method.batch_size=4", "trainer.log_every_n_steps=1"]
    run("unlearn", unlearn, *short, *inputs(world), *QUIET, "logger=wandb", f"hydra.run.dir={folder}")
    config, history, summary = logged(folder)
    assert {"method", "concept", "backbone", "seed"} <= config
    assert {"train/loss", "report/table", "report/before_after"} <= history
    results = Results.load(folder / "metrics.json")
    base = results.get("base", "forget", "detector_rate", "kick")
    after = results.get("unlearned", "forget", "detector_rate", "kick")
    (row,) = (r for r in table(folder) if (r["set"], r["metric"], r["label"]) == ("forget", "detector_rate", "kick"))
    assert (row["base"], row["unlearned"]) == pytest.approx((base.value, after.value))
    assert summary["base/forget/detector_rate/kick"] == pytest.approx(base.value)
    shown = list(folder.glob("wandb/offline-run-*/files/media/videos/report/before_after_*.gif"))
    assert (folder / "samples" / "before_after.gif").read_bytes() in [path.read_bytes() for path in shown]
    again = tmp_path / "again"
    quiet = ["hydra/job_logging=none", "device=cpu", "seed=3", f"hydra.run.dir={again}"]
    run("evaluate", evaluate, f"ckpt={folder}", *FAST, *quiet, "logger=wandb")
    config, history, _ = logged(again)
    assert "ckpt" in config
    assert {"report/table", "report/before_after"} <= history
    assert len(table(again)) == len({row.key for row in results.rows})


def results() -> Results:
    rows = [
        summarise(model, "forget", "detector_rate", [rate], 20, label="kick", share=True, direction="lower")
        for model, rate in (("base", 0.9), ("unlearned", 0.1))
    ]
    rows.append(summarise("base", "retain", "fid", [float("nan")], 20))
    return Results({"concept": "kick", "title": "toy"}, rows)


def logger(kind: str, folder: Path, **more: object):
    named = {"_target_": f"hmu.report.loggers.{kind}", "save_dir": str(folder), "name": "job"}
    return OmegaConf.create({"logger": {**named, **more}, "seed": 7})


def samples(folder: Path) -> Path:
    from PIL import Image

    (folder / "samples").mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(folder / "samples" / "detector_rates.png")
    return folder


def test_runs_of_a_sweep_do_not_write_into_each_other(tmp_path, wandb):
    first, second = (samples(tmp_path / name) for name in ("first", "second"))
    logger_for(logger("WandbReport", first, project="p", offline=True)).log_metrics({"train/loss": 1.0})
    # the first run was not measured (evaluate=false): nobody has ended it when the second begins
    config = logger("WandbReport", second, project="p", offline=True)
    logger_for(config).log_metrics({"train/loss": 2.0})
    log_report(config, results(), second)
    assert "report/table" not in logged(first)[1]
    _, history, _ = logged(second)
    assert {"train/loss", "report/table", "report/detector_rates"} <= history
    (row,) = (r for r in table(second) if r["metric"] == "fid")
    assert row["base"] is None
    assert wandb.run is None


def test_wandb_that_cannot_start_is_one_line(tmp_path, wandb, monkeypatch):
    def refuse(**_):
        raise wandb.errors.UsageError("api_key not configured\n(no-tty)")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError, match=r"logger=wandb: api_key not configured \(no-tty\); log in"):
        logger_for(logger("WandbReport", tmp_path, project="p", offline=False))


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    with pytest.raises(ConfigError, match="pip install wandb"):
        logger_for(logger("WandbReport", tmp_path, project="p", offline=True))
    assert WandbReport.log_report  # so that the check above is not about a class that is gone


def test_tensorboard_shows_the_report_and_the_plots(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = samples(tmp_path / "run")
    config = logger("TensorBoardReport", folder, name="logs", version="")
    log_report(config, results(), folder)
    events = EventAccumulator(str(folder / "logs"), size_guidance={"tensors": 0, "images": 0}).Reload()
    text = events.Tensors("report/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "90.0 %" in text
    assert "10.0 %" in text
    assert events.Images("report/detector_rates")[0].height == 6


def test_a_csv_logger_keeps_its_curves_through_the_report(tmp_path):
    target = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path), "name": "logs"}
    config = OmegaConf.create({"logger": {**target, "version": ""}})
    curves = logger_for(config)
    curves.log_metrics({"loss": 1.0})
    curves.save()
    before = (tmp_path / "logs" / "metrics.csv").read_bytes()
    log_report(config, results(), tmp_path)
    log_report(OmegaConf.create({}), results(), tmp_path)
    assert (tmp_path / "logs" / "metrics.csv").read_bytes() == before
