"""A gait trial as OpenSim tables: ``python -m hmu.tools.export_opensim trial=….npz target=…``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.outputs import claim_files
from hmu.values import Keys as Declared
from hmu.values import Place

log = logging.getLogger(__name__)


class Keys(Declared):
    """What ``configs/export_opensim.yaml`` holds."""

    trial: Place
    target: Place
    degrees: bool | None
    root: Literal["auto", "velocity", "position"]
    overwrite: bool


def run(config: DictConfig) -> tuple[Path, Path]:
    """Write ``<target>_ik.mot`` and ``<target>_grf.mot``; returns both.

    Raises:
        ConfigError: a target that exists.
        DataError: a broken trial.
    """
    from hmu.gait.export import export_coordinates, export_forces
    from hmu.gait.trial import read_trial

    base = Path(config.target)
    names = (base.with_name(f"{base.name}_ik.mot"), base.with_name(f"{base.name}_grf.mot"))
    place = claim_files(names, "target", "export_opensim", overwrite=config.overwrite)
    trial = read_trial(config.trial, root=str(config.root))
    place.begin(name.name for name in names)
    written = export_coordinates(names[0], trial, degrees=config.degrees), export_forces(names[1], trial)
    place.finish()
    log.info("%d frames at %g Hz: %s, %s", len(trial), trial.fps, *written)
    return written


if __name__ == "__main__":
    main("export_opensim", run, Keys, sweeps=False)
