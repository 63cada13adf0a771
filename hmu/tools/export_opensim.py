"""A gait trial as OpenSim tables: ``python -m hmu.tools.export_opensim trial=….npz target=…``."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hmu.app import main
from hmu.tools.import_opensim import check_target

log = logging.getLogger(__name__)


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
    for name in names:
        check_target(name, ".mot", bool(config.overwrite))
    trial = read_trial(config.trial, root=str(config.root))
    written = export_coordinates(names[0], trial, degrees=config.degrees), export_forces(names[1], trial)
    log.info("%d frames at %g Hz: %s, %s", len(trial), trial.fps, *written)
    return written


if __name__ == "__main__":
    main("export_opensim", run)
