"""Mistakes a user can make: one clear line, exit code not 0, nothing lost (the table in ``docs/errors.md``)."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from evaluate import evaluate
from hmu import app
from hmu.data.demo import generate
from hmu.devices import device_of
from hmu.errors import ConfigError
from tests.conftest import REPOSITORY
from train import train
from unlearn import unlearn

WORKFLOWS = {"unlearn": unlearn, "evaluate": evaluate, "train": train}
WEIGHTS = REPOSITORY / "hmu" / "assets" / "demo" / "salad"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the packaged demo weights are not here")


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "data"
    root.mkdir()
    generate(root, seed=0, clips=60)
    return root


@pytest.fixture
def data(small_demo, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(small_demo, copy)
    return copy


class Caller:
    """Runs a script in this process as the command line would."""

    def __init__(self, folder: Path, monkeypatch, capsys) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys

    def __call__(self, script: str, *overrides: str) -> str:
        """The one line on stderr; fails if there are more, or if the exit code is 0."""
        always = [
            f"paths.output={self.folder / 'out'}",
            f"paths.cache={self.folder / 'cache'}",
            "hydra/job_logging=none",
        ]
        always += [] if script == "evaluate" else ["trainer=cpu", "trainer.enable_progress_bar=false", "logger=none"]
        last = {word.partition("=")[0]: word for word in [*always, *overrides]}  # a key given twice is a mistake
        self.monkeypatch.setattr(sys, "argv", [f"{script}.py", *last.values()])
        self.monkeypatch.delenv("HMU_RUN_STAMP", raising=False)
        GlobalHydra.instance().clear()
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main(script, WORKFLOWS[script])
        assert left.value.code not in (0, None)
        lines = [line for line in self.capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, lines
        assert not (self.folder / "out").exists() or not list((self.folder / "out").rglob("edit"))
        return lines[0]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    return Caller(tmp_path, monkeypatch, capsys)


# -- configuration -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sed=1"], "sed"),
        (["+typo=1"], "typo"),
        (["method.etta=2"], "etta"),
        (["concept=kik"], "kik"),
        (["method=essd"], "essd"),
        (["method.steps=null"], "give one of the two"),
        (["method.lr=-1"], "lr"),
        (["method.train=everything"], "everything"),
        (["suite.repeats=0"], "repeats"),
        (["suite.repeats=two"], "suite.repeats=two: expected a whole number"),
    ],
)
def test_configuration(call, data, overrides, expected):
    if any(o.startswith(("method.train", "suite")) for o in overrides) and not WEIGHTS.is_dir():
        pytest.skip("the packaged demo weights are not here")
    if overrides[0].startswith("suite"):
        overrides = [*overrides, "method.steps=1", "method.batch_size=2"]
    assert expected in call("unlearn", f"dataset.root={data}", *overrides)


def test_unknown_stage(call, data):
    assert "vae, denoiser" in call("train", f"dataset.root={data}", "stage=vea")


# -- data --------------------------------------------------------------------------------------------------------------
def test_data_set_that_is_not_there(call, tmp_path):
    assert "doctor" in call("unlearn", f"dataset.root={tmp_path / 'nowhere'}")


def test_every_missing_and_broken_file_at_once(call, data):
    ids = (data / "train.txt").read_text().split()
    (data / "texts" / f"{ids[0]}.txt").unlink()
    (data / "new_joint_vecs" / f"{ids[1]}.npy").unlink()
    np.save(data / "new_joint_vecs" / f"{ids[2]}.npy", np.zeros((50, 262), np.float32))
    np.save(data / "new_joint_vecs" / f"{ids[3]}.npy", np.full((50, 263), np.nan, np.float32))
    line = call("unlearn", f"dataset.root={data}")
    assert all(name in line for name in ids[:4]), line


def test_concept_that_no_caption_names(call, data):
    line = call("unlearn", f"dataset.root={data}", "concept.keywords=[zyzzyva]")
    assert "kick" in line
    assert "empty" in line or "no " in line


def test_one_list_without_the_other(call, data, tmp_path):
    (tmp_path / "forget.txt").write_text("000001\n")
    assert "retain_file" in call("unlearn", f"dataset.root={data}", f"forget_file={tmp_path / 'forget.txt'}")


def test_lists_with_unknown_or_shared_ids(call, data, tmp_path):
    ids = (data / "train.txt").read_text().split()
    forget, retain = tmp_path / "forget.txt", tmp_path / "retain.txt"
    forget.write_text("999999\n")
    retain.write_text("\n".join(ids[1:5]))
    files = [f"forget_file={forget}", f"retain_file={retain}"]
    assert "999999" in call("unlearn", f"dataset.root={data}", *files)
    forget.write_text(ids[1])
    assert ids[1] in call("unlearn", f"dataset.root={data}", *files)


# -- checkpoints -------------------------------------------------------------------------------------------------------
def test_checkpoint_that_is_not_there(call, data, tmp_path):
    assert "nowhere" in call("unlearn", f"dataset.root={data}", f"backbone.checkpoint={tmp_path / 'nowhere'}")


@needs_weights
def test_truncated_weights(call, data, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(WEIGHTS, copy)
    whole = (copy / "weights.safetensors").read_bytes()
    (copy / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "weights.safetensors" in call("unlearn", f"dataset.root={data}", f"backbone.checkpoint={copy}")


class _Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_pickle_that_would_run_code_is_refused(call, data, tmp_path):
    model = tmp_path / "t2m" / "evil" / "model"
    model.mkdir(parents=True)
    (model.parent / "opt.txt").write_text("latent_dim: 16\nvae_name: evil\n")
    (model / "net_best_fid.tar").write_bytes(pickle.dumps({"denoiser": _Evil()}))
    line = call("unlearn", f"dataset.root={data}", f"backbone.checkpoint={model.parent}")
    assert "executed" not in line


def test_checkpoint_of_another_family(call, data, tmp_path):
    folder = tmp_path / "momask"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"family": "momask"}))
    assert "momask" in call("unlearn", f"dataset.root={data}", f"backbone.checkpoint={folder}")


def test_ckpt_that_is_nothing(call, data, tmp_path):
    assert "nowhere" in call("evaluate", f"dataset.root={data}", f"ckpt={tmp_path / 'nowhere'}")


@needs_weights
def test_reference_that_is_no_run(call, data, tmp_path):
    more = ["method.steps=1", "method.batch_size=2", f"reference={tmp_path / 'nowhere'}"]
    assert "partition=retain" in call("unlearn", f"dataset.root={data}", *more)


@needs_weights
def test_gpu_that_is_not_there(call, data):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "gpu" in call("unlearn", f"dataset.root={data}", "trainer=gpu").lower()


@pytest.mark.parametrize("name", ["foo", "cuda:99", "xpu"])
def test_device_that_cannot_be_used(name):
    with pytest.raises(ConfigError, match=f"device={name} cannot be used here .*auto, cpu or cuda"):
        device_of(name)
    assert device_of("cpu").type == "cpu"


# -- writing -----------------------------------------------------------------------------------------------------------
def test_full_disk_is_said_in_one_line(capsys):
    def job():
        raise OSError(errno.ENOSPC, "No space left on device", "edit.safetensors")

    with pytest.raises(SystemExit) as left:
        app._or_fail(job)
    assert left.value.code == app.EXIT_USER_ERROR
    assert capsys.readouterr().err.strip().splitlines() == [
        "error: cannot write 'edit.safetensors': No space left on device; "
        "free space or choose another folder (paths.output=…)"
    ]


def test_an_old_run_folder_stays_as_it_was(call, data, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "run.json").write_text('{"mine": 1}')
    if not WEIGHTS.is_dir():
        pytest.skip("the packaged demo weights are not here")
    assert "nothing was overwritten" in call("unlearn", f"dataset.root={data}", f"hydra.run.dir={old}")
    assert (old / "run.json").read_text() == '{"mine": 1}'
