"""What is printed: in words, once, without the talk of libraries."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from hmu import console, folders, progress
from hmu.console import Console, LogFile, Once, Words, adopt, begin_sweep, near, perform, say

SITE = Path(torch.__file__).parents[1]


@pytest.fixture
def lines(monkeypatch):
    """A root logger as ``configs/hydra/job_logging/run.yaml`` sets it up, and what it prints."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    handler, root = Console(), logging.getLogger()
    handler.setFormatter(Words())
    handler.addFilter(Once())
    before, level = root.handlers, root.level
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    yield lambda: out.getvalue().splitlines()
    root.handlers = before
    root.setLevel(level)


def test_a_line_is_its_message_and_a_warning_says_so(lines):
    log = logging.getLogger("hmu.any")
    log.info("'%s' on %s: %d forget", "kick", "test", 29)
    log.warning("pools are small")
    log.warning("Warning: FID is biased")
    log.error("this job failed")
    assert lines() == [
        "'kick' on test: 29 forget", "warning: pools are small", "Warning: FID is biased", "error: this job failed",
    ]  # fmt: skip


def test_the_time_of_day_stands_before_lines_of_a_run():
    record = logging.LogRecord("hmu", logging.INFO, "", 0, "edit saved", (), None)
    text = Words(datefmt="%H:%M:%S ").format(record)
    assert text[2] == ":"
    assert text.endswith("  edit saved")


def test_a_trace_is_kept(lines):
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("hmu").exception("this job failed")
    assert lines()[0] == "error: this job failed"
    assert lines()[-1] == "KeyError: 'x'"


def test_every_line_once(lines):
    for _ in range(3):
        logging.getLogger("hmu.data").info("'kick' on test: 29 forget")
        logging.getLogger("hmu.metrics").warning("small sets")
    assert lines() == ["'kick' on test: 29 forget", "warning: small sets"]


def test_two_handlers_share_one_memory():
    once, record = Once(), logging.LogRecord("hmu", logging.INFO, "", 0, "a", (), None)
    assert [once.filter(record), once.filter(record)] == [True, True]  # the screen's, and the file's
    again = logging.LogRecord("hmu", logging.INFO, "", 0, "a", (), None)
    assert [once.filter(again), once.filter(again)] == [False, False]
    debug = logging.LogRecord("hmu", logging.DEBUG, "", 0, "a", (), None)
    assert once.filter(debug)


@pytest.mark.parametrize("name", ["lightning.pytorch.utilities.rank_zero", "matplotlib.font_manager", "HYDRA"])
def test_libraries_do_not_tell_about_themselves(lines, name):
    adopt()  # another test may have imported Lightning
    logging.getLogger(name).info("💡 Tip: try installing something")
    logging.getLogger(name).warning("something is wrong")
    assert lines() == ["warning: something is wrong"]
    logging.getLogger().setLevel(logging.DEBUG)  # hydra.verbose=true
    logging.getLogger(name).info("GPU available: False")
    assert lines()[-1] == "GPU available: False"


def test_a_plug_in_may_speak(lines):
    logging.getLogger("my_method").info("solved")
    assert lines() == ["solved"]


def test_only_the_first_process_speaks(lines, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    logging.getLogger("hmu").warning("small sets")
    logging.getLogger("hmu").error("this process failed")
    assert lines() == ["error: this process failed"]


def test_an_adopted_library_says_nothing_twice(lines, capsys):
    logger = logging.getLogger("lightning")
    logger.addHandler(logging.StreamHandler())
    adopt()
    assert not logger.handlers
    logging.getLogger("lightning.pytorch.trainer").warning("no gradient")
    assert lines() == ["warning: no gradient"]
    assert capsys.readouterr().err == ""


def test_warnings_are_said_in_words(lines):
    say(UserWarning("values\n  overflow"), UserWarning, str(SITE / "numpy" / "core.py"), 12)
    say(UserWarning("mind this"), UserWarning, console.__file__, 12)
    say(DeprecationWarning("ours is old"), DeprecationWarning, console.__file__, 12)
    assert lines() == ["warning: numpy: values overflow", "warning: mind this", "warning: ours is old"]


@pytest.mark.parametrize(
    ("package", "category", "text"),
    [
        ("lightning/pytorch/utilities/_pytree.py", FutureWarning, "`isinstance(treespec, LeafSpec)` is deprecated"),
        ("torch/jit.py", DeprecationWarning, "`torch.jit.script` is deprecated"),
        ("diffusers/x.py", FutureWarning, "`Transformer2DModelOutput` is deprecated"),
        ("lightning/pytorch/x.py", UserWarning, "The 'train_dataloader' does not have many workers"),
        ("lightning/pytorch/x.py", UserWarning, "You have overridden `transfer_batch_to_device` in `LightningModule`"),
        ("lightning/fabric/x.py", UserWarning, "The `srun` command is available on your system but is not used."),
    ],
)
def test_noise_of_libraries_is_for_those_who_ask(lines, package, category, text):
    say(category(text), category, str(SITE / package), 1)
    assert lines() == []
    logging.getLogger().setLevel(logging.DEBUG)
    say(category(text), category, str(SITE / package), 1)
    assert text in lines()[0]


def test_other_warnings_of_those_libraries_are_not_lost(lines):
    say(UserWarning("gradients are not finite"), UserWarning, str(SITE / "lightning" / "x.py"), 1)
    assert lines() == ["warning: lightning: gradients are not finite"]


def test_a_job_ends_with_where_to_look_and_restores_warnings(lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "run"
    folder.mkdir(parents=True)
    before = warnings.showwarning

    def task(config):
        warnings.warn("said in words", stacklevel=1)
        with progress.phase("work"):
            pass
        return folder

    config = OmegaConf.create({"paths": {"cache": str(tmp_path / "cache")}})
    with pytest.MonkeyPatch.context() as patch:  # pytest records warnings instead of showing them
        patch.setattr(warnings, "catch_warnings", _keep)
        perform(task, config)
    assert lines()[0].endswith("said in words")
    assert lines()[-1].startswith("done in 0.")
    assert lines()[-1].endswith(str(Path("outputs") / "run"))
    (folder / "report.html").write_text("", encoding="utf-8")
    perform(lambda config: folder, config)
    assert lines()[-1].endswith(str(Path("outputs") / "run" / "report.html"))
    warnings.showwarning = before


class _keep:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return None


def test_paths_are_those_one_would_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert near(tmp_path / "a" / "b") == str(Path("a") / "b")
    assert near(tmp_path.parent) == str(tmp_path.parent)


@pytest.mark.parametrize(
    ("overrides", "total"),
    [
        (["method=lora", "method.rank=4,8,16", "seed=range(0,3)"], 9),
        (["concept=choice(kick,wave)", "method=esd"], 2),
        (["method=esd"], 1),
        (["concept=glob(*)"], 0),  # only Hydra can count it
    ],
)
def test_the_jobs_of_a_sweep_are_counted(overrides, total):
    begin_sweep(overrides)
    assert progress._sweep["total"] == total
    progress.sweep(0)


def test_a_job_of_a_sweep_says_which_it_is(lines, monkeypatch):
    given = ["method=lora", "method.rank=8", "concept=kick"]
    ours = OmegaConf.create({"mode": RunMode.MULTIRUN, "job": {"num": 1}, "overrides": {"task": given}})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: ours))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    begin_sweep(["method=lora", "method.rank=4,8,16", "concept=kick"])
    perform(lambda config: None, OmegaConf.create({}))
    progress.sweep(0)
    assert lines() == ["job 2 of 3: method.rank=8"]


def test_the_log_lacks_what_is_for_the_screen_and_waits_until_the_folder_is_the_runs_own(tmp_path):
    folder = tmp_path / "run"
    handler, log = LogFile(str(folder / "app.log")), logging.Logger("hmu")
    log.addHandler(handler)
    log.info("job 2 of 3", extra={"screen": True})
    log.info("früh")
    assert not list(tmp_path.iterdir())
    try:
        folders.claim(folder)
        log.info("später")
        handler.close()
    finally:
        folders.done()
    assert (folder / "app.log").read_text(encoding="utf-8").splitlines() == ["früh", "später"]
