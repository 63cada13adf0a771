"""The README's commands, and those of the scripts' and tools' own configuration files, run for real at toy size."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from hmu import app
from hmu.config import CONFIGS
from hmu.errors import CheckpointError, DataError, HmuError
from tests.commands import PLACEHOLDER, Command, composed, of_header, of_readme
from tests.conftest import REPOSITORY
from tests.workflows.toy import FAST, QUIET, TOY, inputs, run
from unlearn import unlearn

# detectors_report rewrites a document from a thousand clips: half a minute, tests/tools runs its parts
ROOTS = ("train", "unlearn", "evaluate", "generate", "doctor", "split", "import_bvh", "pack", "report")
SHOWN = of_readme(REPOSITORY / "README.md") + [c for root in ROOTS for c in of_header(CONFIGS / f"{root}.yaml")]
ONCE = list({command.line: command for command in reversed(SHOWN)}.values())[::-1]
RUN = [c for c in ONCE if c.config is not None and not c.words[0].endswith("torchrun") and "--help" not in c.words]
#: keys with which the user names something of their own: absent here, which must be said in one line
BROUGHT = {"dataset", "dataset.root", "source", "prompts", "init", "backbone.checkpoint", "evaluator.checkpoint"}
BROUGHT |= {"runs", "gait.trial", "reference"}


def parameter(command: Command):
    """Sweeps run many times: not part of the default run."""
    return pytest.param(command, id=command.line[:70], marks=[pytest.mark.slow] if command.sweeps else [])


@dataclass
class Outcome:
    code: object = None
    message: str = ""
    error: BaseException | None = None


def execute(target: str, arguments: list[str], monkeypatch) -> Outcome:
    """Run a script or module in this process as the command line would."""
    outcome = Outcome()

    def fail(message: str, code: int = app.EXIT_USER_ERROR) -> None:
        outcome.message, outcome.error = message, sys.exc_info()[1]
        sys.exit(code)

    monkeypatch.setattr(app, "_fail", fail)
    monkeypatch.setattr(sys, "argv", [target, *arguments])
    monkeypatch.delenv("HMU_RUN_STAMP", raising=False)
    GlobalHydra.instance().clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if target.endswith(".py"):
            runpy.run_path(str(REPOSITORY / target), run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        outcome.code = left.code
    finally:
        torch.set_num_threads(threads)
    if outcome.error is not None and isinstance(outcome.error.__cause__, HmuError):
        outcome.error = outcome.error.__cause__
    return outcome


def toy(command: Command, config: DictConfig, world: Path, ran: Path) -> list[str]:
    """The command's overrides, then those that make it toy size where it uses what comes with the repository."""
    words = []
    for word in command.overrides:
        key = word.partition("=")[0]
        replaced = {"ckpt": ran, "edits": ran, "model": world / "backbone"}.get(key)
        words.append(word if replaced is None else re.sub(rf"[\w./-]*{PLACEHOLDER}", str(replaced), word))
    train, small = command.config == "train", ["hydra/job_logging=none", "seed=3"] if "seed" in config else []
    gait = "gait" in config.get("dataset", {}).get("_target_", "")  # has a set and fixed features of its own
    if "paths" in config:
        small += [f"paths.cache={world / 'cache'}", f"paths.output={world / 'outputs'}"]
    if config.get("dataset", {}).get("generator") and not gait:
        small.append(f"dataset.root={world / 'data'}")
    if config.get("backbone", {}).get("checkpoint") == "asset:demo/salad":
        small += TOY if train else [f"backbone.checkpoint={world / 'backbone' / 'model'}", "backbone.sampling.steps=2"]
    if config.get("evaluator", {}).get("checkpoint") == "asset:demo/evaluator" and not train and not gait:
        small.append(f"evaluator.checkpoint={world / 'evaluator' / 'model'}")
    if "suite" in config:
        small += FAST
    if "trainer" in config:
        small += [word for word in QUIET if word.startswith("trainer")]
    if "steps" in config.get("method", {}):
        small += ["method.steps=1", "method.batch_size=4"]
    for stage, recipe in (config.get("recipes", {}).get("backbone", {}) if train else {}).items():
        short = {"steps": 2, "batch_size": 8, "validate_every": 1}
        small += [f"recipes.backbone.{stage}.{key}={value}" for key, value in short.items() if key in recipe]
    return words + small + (["-m"] if command.sweeps else [])


@pytest.fixture(scope="module")
def ran(world) -> Path:
    """The run folder that ``<time>`` and ``<run folder>`` stand for."""
    folder = world / "runs" / "shown"
    short = ["method=esd", "concept=kick", "method.steps=1", "method.batch_size=4"]
    run("unlearn", unlearn, *short, *inputs(world), *QUIET, "logger=none", f"hydra.run.dir={folder}")
    return folder


def brings(command: Command) -> bool:
    """Whether the command names files of the user's."""
    keys = dict(word.partition("=")[::2] for word in command.overrides)
    embedded = {"dataset"} if keys.get("dataset", "demo") in ("demo", "gait_demo") else set()
    return bool((keys.keys() & BROUGHT) - embedded)


@pytest.mark.parametrize("command", [parameter(command) for command in RUN])
def test_command_runs_or_says_in_one_line_what_is_missing(world, ran, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set((world / "outputs").rglob("metrics.json"))
    target, _ = command.target
    outcome = execute(target, toy(command, composed(command)[0], world, ran), monkeypatch)
    if outcome.error is not None:
        assert brings(command), f"{command.line}: {outcome.message}"
        assert isinstance(outcome.error, (DataError, CheckpointError)), repr(outcome.error)
        assert outcome.code not in (0, None)
        assert len(outcome.message.splitlines()) == 1
    elif outcome.code not in (0, None):
        assert command.config == "doctor"  # it prints a table of what is missing, and exits with 1
    elif command.config in ("unlearn", "evaluate"):
        runs = set((world / "outputs").rglob("metrics.json")) - before
        measured = "evaluate=false" not in command.overrides
        assert len(runs) == (9 if command.sweeps else int(measured))


def test_commands_of_every_script_and_tool_are_among_them():
    assert {command.config for command in RUN} == set(ROOTS)
    assert sum(not brings(command) for command in RUN) >= 6  # not all of them may end at missing files


def test_parity_of_a_folder_that_is_not_there_is_said(tmp_path, monkeypatch, capsys):
    (shown,) = (c for c in SHOWN if c.target[0] == "tests.parity")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = execute(shown.target[0], shown.overrides, monkeypatch)
    assert outcome.code not in (0, None)
    assert "Traceback" not in capsys.readouterr().err
