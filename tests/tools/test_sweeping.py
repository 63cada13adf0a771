"""Sweeps of tools: a folder for each job, and nobody's folder is taken for them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.tools.sweeping import SWEPT, ClaimSweep, claim_out, claim_sweep
from tests.test_config import ROOTS


@pytest.mark.parametrize(("mode", "expected"), [(RunMode.RUN, "o"), (RunMode.MULTIRUN, "o/3")])
def test_each_job_of_a_sweep_has_a_folder_of_its_own(tmp_path, monkeypatch, mode, expected):
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    ours = SimpleNamespace(mode=mode, job=SimpleNamespace(num=3))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: ours))
    config = OmegaConf.create({"out": str(tmp_path / "o"), "overwrite": False})
    assert claim_out(config, "codes").folder == tmp_path / expected


def test_the_folder_of_a_sweep_is_new_or_an_earlier_sweeps(tmp_path, capsys):
    out = tmp_path / "out"
    claim_sweep(out, overwrite=False)
    out.mkdir()
    claim_sweep(out, overwrite=False)
    (out / "mine").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="not empty"):
            claim_sweep(out, overwrite=overwrite)
    (out / SWEPT).write_text("")
    claim_sweep(out, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        claim_sweep(out / "mine", overwrite=True)
    with pytest.raises(SystemExit) as left:  # Hydra goes on after any other error of a callback
        ClaimSweep().on_multirun_start(OmegaConf.create({"out": str(out), "overwrite": False}))
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: out=")


@pytest.mark.parametrize("root", ROOTS)
def test_a_tool_sweeps_into_out_or_refuses_to(root):
    """Hydra's default would leave a folder ``multirun/`` behind."""
    if root in ("train", "unlearn", "evaluate"):
        return
    hydra = OmegaConf.load(CONFIGS / f"{root}.yaml").hydra
    source = (CONFIGS.parent / "hmu" / "tools" / f"{root}.py").read_text(encoding="utf-8")
    refuses = f'main("{root}", ' in source and "sweeps=False)" in source
    assert refuses != ("sweep" in hydra)
    assert refuses or OmegaConf.to_container(hydra.sweep) == {"dir": "${out}", "subdir": "${hydra.job.num}"}
