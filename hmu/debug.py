"""``HMU_DEBUG=fast``: any command as printed, in seconds, with steps and limits cut and nothing else.

Its figures mean nothing. Folders, files and every path through the code stay what they are, so that a command which
ends well with it is one that works. The documentation's commands are tested so (``tests/test_printed.py``).
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase

from omegaconf import DictConfig, OmegaConf

from hmu.documents import walk
from hmu.errors import ConfigError, shown

#: the largest value of each key, and whether ``null`` (no limit, or as many as there are) is replaced by it too
CUTS = {
    "method.steps": (2, False),
    "method.batch_size": (4, False),
    "method.crops": (1, False),
    "recipes.*.*.steps": (2, False),
    "recipes.*.*.batch_size": (8, False),
    "recipes.*.*.validate_every": (2, False),
    "backbone.sampling.steps": (2, False),
    "suite.limits.*": (2, True),
    "suite.repeats": (1, False),
    "suite.steps": (2, False),
    "suite.bootstrap": (5, False),
    "dataset.generator.clips": (240, False),
    "dataset.generator.subjects": (10, False),
    "dataset.generator.trials": (1, False),
    "gait.windows": (2, False),
    "repeats": (2, False),
    "limit": (2, True),
    "clips": (60, False),
}


def fast() -> bool:
    """Whether steps and limits are to be cut.

    Raises:
        ConfigError: ``HMU_DEBUG`` is something else than ``fast``.
    """
    asked = os.environ.get("HMU_DEBUG", "")
    if asked not in ("", "fast"):
        raise ConfigError(f"HMU_DEBUG={shown(asked)}: expected fast, or unset it")
    return bool(asked)


def announce() -> None:
    """Say that figures will mean nothing, before there is a log."""
    if fast():
        sys.stderr.write("HMU_DEBUG=fast: steps and limits are cut to try the command out; its figures mean nothing\n")


def cut(config: DictConfig) -> None:
    """Cut ``config`` where ``HMU_DEBUG`` asks for it."""
    if not fast():
        return
    keys = [path for path, _ in walk(OmegaConf.to_container(config)) if path]
    for pattern, (most, always) in CUTS.items():
        for key in (".".join(path) for path in keys if _matches(path, pattern.split("."))):
            value = OmegaConf.select(config, key)
            if (value is None and always) or (isinstance(value, int) and not isinstance(value, bool) and value > most):
                OmegaConf.update(config, key, most)


def _matches(path: tuple[str, ...], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(map(fnmatchcase, path, pattern))
