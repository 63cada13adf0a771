"""What jobs on gait do differently: which suite measures them."""

from __future__ import annotations

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hmu.build import get_class
from hmu.errors import ConfigError
from hmu.evaluation.gait import GaitSuite
from hmu.gait.source import GaitSource

GROUPS = ("suite", "evaluator")


def is_gait(config: DictConfig) -> bool:
    """Whether the configured data set holds gait trials."""
    return issubclass(get_class(config.dataset._target_), GaitSource)


def settle_suite(config: DictConfig) -> DictConfig:
    """The configuration; on gait with ``suite=gait evaluator=gait``, unless the command line chooses others.

    Single keys of the command line (``suite.repeats=1``) are kept.

    Raises:
        ConfigError: a suite that needs text was chosen for gait, or a key that its suite does not have.
    """
    if not is_gait(config):
        return config
    given = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    keys = [entry.lstrip("+~").split("=")[0] for entry in given]
    settled = config.copy()
    OmegaConf.set_struct(settled, False)
    for group in GROUPS:
        if group in keys:
            continue
        settled[group] = compose(f"{group}/gait")[group]
        for key in keys:
            if key.startswith(f"{group}."):
                if key.split(".")[1] not in settled[group]:
                    raise ConfigError(f"{key}: gait is measured with {group}=gait, which has no such key")
                OmegaConf.update(settled, key, OmegaConf.select(config, key), merge=False)
    if not issubclass(get_class(settled.suite._target_), GaitSuite):
        raise ConfigError("the chosen suite asks by captions, and gait has none: use suite=gait")
    return settled
