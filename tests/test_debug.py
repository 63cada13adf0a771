"""What ``HMU_DEBUG=fast`` cuts, and that it cuts nothing else."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.debug import CUTS, cut
from hmu.errors import ConfigError

ROOTS = {
    "unlearn": ["method=lora", "method.batch_size=16"],
    "train": [],
    "evaluate": ["ckpt=x", "suite.steps=9"],
    "generate": ["repeats=5"],
    "codes": ["method.crops=20"],
    "detectors_report": [],
}


def plain(root: str, overrides: list[str]) -> dict[str, object]:
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(root, overrides)
    cut(config)
    found: dict[str, object] = {}

    def walk(node: object, prefix: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{prefix}{key}.")
        else:
            found[prefix[:-1]] = node

    walk(OmegaConf.to_container(config, resolve=False), "")
    return found


@pytest.mark.parametrize("root", ROOTS)
def test_steps_and_limits_are_cut_and_nothing_else(root, monkeypatch):
    monkeypatch.delenv("HMU_DEBUG", raising=False)
    before = plain(root, ROOTS[root])
    monkeypatch.setenv("HMU_DEBUG", "fast")
    after = plain(root, ROOTS[root])
    assert before.keys() == after.keys()
    changed = {key for key in before if before[key] != after[key]}
    assert changed
    words = {pattern.rpartition(".")[2] for pattern in CUTS} | {"limits"}
    for key in changed:
        assert set(key.split(".")) & words, key
        assert not any(part in key for part in ("root", "dir", "path", "folder", "checkpoint", "output")), key
        old, new = before[key], after[key]
        assert isinstance(new, int)
        assert old is None or (isinstance(old, int) and new < old)


def test_another_word_is_a_mistake(monkeypatch):
    monkeypatch.setenv("HMU_DEBUG", "1")
    with pytest.raises(ConfigError, match="HMU_DEBUG=1: expected fast"):
        cut(OmegaConf.create({}))
