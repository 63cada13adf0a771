"""Every key of every script and tool is declared, and what does not fit is refused by its name before any work."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from hmu.compose import keys_of
from hmu.config import CONFIGS
from hmu.errors import ConfigError
from hmu.values import declared
from tests.commands import checked
from tests.test_config import ROOTS


@pytest.mark.parametrize("root", ROOTS)
def test_every_key_at_the_top_is_declared(root):
    plain = OmegaConf.load(CONFIGS / f"{root}.yaml")
    given = {str(key) for key in plain} - {"defaults", "hydra"}
    assert given <= set(declared(keys_of(root)))
    if root == "generate":
        assert set(plain.gait) == set(declared(declared(keys_of(root))["gait"]))


@pytest.mark.parametrize("root", ROOTS)
def test_the_defaults_fit(root):
    plain = OmegaConf.load(CONFIGS / f"{root}.yaml")
    numbers = {"mass": 70, "height": 1.7}
    needed = [f"{key}={numbers.get(str(key), 'x')}" for key in plain if OmegaConf.is_missing(plain, key)]
    checked(root, *needed)


BOOL = "expected true or false"
WHOLE, NUMBER, COUNT = "expected a whole number", "expected a number", "a whole number, at least 1"
MISTAKES = [
    ("generate", "overwrite=no", BOOL),
    ("generate", "strict=off", BOOL),
    ("generate", "foot_lock=yes", BOOL),
    ("generate", "guidance=nan", NUMBER),
    ("generate", "guidance=-inf", NUMBER),
    ("generate", "guidance=abc", NUMBER),
    ("generate", "seconds=nan", NUMBER),
    ("generate", "seconds=inf", NUMBER),
    ("generate", "seconds=0", "above 0"),
    ("generate", "seed=null", WHOLE),
    ("generate", "seed=-1", WHOLE),
    ("generate", "seed=1.5", WHOLE),
    ("generate", "seed=1e30", WHOLE),
    ("generate", "seed=99999999999999999999", "at most 4294967295"),
    ("generate", "threads=0", COUNT),
    ("generate", "steps=0", COUNT),
    ("generate", "steps=2.5", COUNT),
    ("generate", "repeats=true", COUNT),
    ("generate", "limit=-3", COUNT),
    ("generate", "length=4.5", COUNT),
    ("generate", "batch_size=null", COUNT),
    ("generate", "animation=avi", "expected gif, mp4 or none"),
    ("generate", "bvh=all", "expected exact, fixed or none"),
    ("generate", "edits=null", "expected the name of a file or folder or a list"),
    ("generate", "edits=[1,2]", "edits.0=1"),
    ("generate", "prompt=[true,b]", "prompt.0=True: expected text"),
    ("generate", "prompts=[a,b]", "expected the name of a file or folder"),
    ("generate", "out=[a]", "expected the name of a file or folder"),
    ("generate", "gait=5", "gait=5: expected single values, gait.windows="),
    ("generate", "gait.windows=0", COUNT),
    ("generate", "gait.speed=nan", NUMBER),
    ("generate", "gait.speed=[1,-1]", "gait.speed.1=-1"),
    ("generate", "gait.mass=0", "expected 10 to 250 kilograms"),
    ("generate", "gait.height=170", "expected 0.5 to 2.5 metres"),
    ("generate", "gait.known=feet", "expected kinematics or forces"),
    ("generate", "backbone.sampling.guidance=nan", "backbone.sampling.guidance=nan"),
    ("generate", "backbone.sampling.steps=x", "backbone.sampling.steps=x: " + WHOLE),
    ("generate", "dataset.strict=no", "dataset.strict=no: " + BOOL),
    ("generate", "paths.output=null", "paths.output=null"),
    ("generate", "~seed", "no value for seed"),
    ("codes", "overwrite=no", BOOL),
    ("codes", "formats=[xlsx]", "formats.0=xlsx: expected csv or parquet"),
    ("codes", "forget_file=[a,b]", "expected the name of a file or folder or null"),
    ("detectors_report", "clips=0", COUNT),
    ("detectors_report", "noise=[0.1,x]", "noise.1=x"),
    ("doctor", "deep=no", BOOL),
    ("export_opensim", "degrees=no", BOOL),
    ("export_opensim", "overwrite=off", BOOL),
    ("export_opensim", "root=x", "expected auto, velocity or position"),
    ("import_opensim", "skip_missing=no", BOOL),
    ("import_opensim", "mass=heavy", "expected 10 to 250 kilograms"),
    ("import_opensim", "mass=0", "expected 10 to 250 kilograms"),
    ("import_opensim", "knee=up", "expected auto, positive or negative"),
    ("import_bvh", "overwrite=no", BOOL),
    ("import_bvh", "fps=abc", "expected 0.1 to 1000"),
    ("import_bvh", "fps=0", "expected 0.1 to 1000"),
    ("import_bvh", "workers=two", COUNT),
    ("import_bvh", "statistics=some", "expected train or all"),
    ("metaeval", "seed=null", WHOLE),
    ("metaeval", "threads=0", COUNT),
    ("metaeval", "overwrite=no", BOOL),
    ("pack", "overwrite=no", BOOL),
    ("report", "seeds=no", BOOL),
    ("report", "columns=5", "expected a list"),
    ("retrieve", "top=0", COUNT),
    ("retrieve", "exclude_self=off", BOOL),
    ("retrieve", "batch_size=1.5", COUNT),
    ("split", "audit=no", BOOL),
    ("split", "overwrite=foo", BOOL),
    ("split", "splits=5", "expected a list"),
    ("split", "min_occurrence=0", COUNT),
    ("split", "match=foo", "expected word or substring or null"),
    ("train", "seed=1.5", WHOLE),
    ("train", "threads=0", COUNT),
    ("train", "partition=rest", "expected all, retain or forget"),
    ("train", "resume=[a]", "expected the name of a file or folder or null"),
    ("train", "stage=5", "stage=5: expected text"),
    ("unlearn", "evaluate=no", BOOL),
    ("unlearn", "seed=null", WHOLE),
    ("unlearn", "seed=4294967296", "at most 4294967295"),
    ("unlearn", "threads=0", COUNT),
    ("unlearn", "forget_file=[a,b]", "expected the name of a file or folder or null"),
    ("unlearn", "suite.repeats=0", "suite.repeats=0: expected a whole number, at least 1"),
    ("unlearn", "suite.steps=1.5", "suite.steps=1.5"),
    ("unlearn", "suite.limits.forget=-1", "suite.limits.forget=-1"),
    ("unlearn", "suite.guidance=inf", "suite.guidance=inf"),
    ("evaluate", "scale=nan", NUMBER),
    ("evaluate", "scale=abc", NUMBER),
    ("evaluate", "device=5", "expected auto, cpu or cuda"),
    ("evaluate", "seed=-1", WHOLE),
]
NEEDED = {
    "evaluate": ["ckpt=x"], "export_opensim": ["trial=x", "target=x"], "import_bvh": ["source=x", "target=x"],
    "import_opensim": ["kinematics=x", "forces=x", "mass=70", "height=1.7", "target=x"],
    "metaeval": ["base=x", "reference=x"], "pack": ["model=x", "target=x"], "report": ["runs=[x]"],
    "retrieve": ["records=x"],
}  # fmt: skip


@pytest.mark.parametrize(("root", "word", "expected"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_value_that_does_not_fit_is_refused_by_its_name(root, word, expected):
    key = word.partition("=")[0].lstrip("~")
    needed = [other for other in NEEDED.get(root, []) if not other.startswith(f"{key}=")]
    with pytest.raises(ConfigError) as caught:
        checked(root, *needed, word)
    assert expected in str(caught.value)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_an_added_key_must_be_one_that_is_read():
    with pytest.raises(ConfigError, match=r"unknown key 'gait\.typo'"):
        checked("generate", "+gait.typo=1")
    assert checked("generate", "++seed=3").seed == 3
