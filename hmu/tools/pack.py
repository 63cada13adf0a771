"""Make a half-precision copy of a trained model: ``python -m hmu.tools.pack model=<run folder> target=<folder>``.

This is how the packaged demo weights were made from the run folders of ``train.py``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hmu.app import main
from hmu.checkpoints.pretrained import stored_class
from hmu.errors import CheckpointError
from hmu.outputs import beside, claim_folder
from hmu.values import Keys as Declared
from hmu.values import Place

log = logging.getLogger(__name__)


class Keys(Declared):
    """What ``configs/pack.yaml`` holds."""

    model: Place
    target: Place
    overwrite: bool


def pack(config: DictConfig) -> Path:
    """Load ``config.model`` and save it to ``config.target`` with float16 weights, complete or not at all."""
    source, target = Path(config.model), Path(config.target)
    source = source / "model" if (source / "model").is_dir() else source
    if not (source / "config.json").is_file():
        raise CheckpointError(f"model: '{source}' holds no config.json; give a run folder of train.py or its model/")
    place = claim_folder(target, "target", "pack", overwrite=config.overwrite)
    model = stored_class(source).load_pretrained(source)
    with beside(target) as work:
        model.save_pretrained(work, dtype="float16")
        place.replace_with(work)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    log.info("%s: %.2f MB", target, size / 1e6)
    return target


if __name__ == "__main__":
    main("pack", pack, Keys, sweeps=False)
