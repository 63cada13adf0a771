"""One gait trial from OpenSim files: ``python -m hmu.tools.import_opensim kinematics=… forces=… mass=… target=…``.

See ``configs/import_opensim.yaml`` for every choice, and :mod:`hmu.gait.opensim` for what is read and how.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig

from hmu.app import main
from hmu.errors import ConfigError, shown
from hmu.outputs import claim_files
from hmu.values import Keys as Declared
from hmu.values import Place, Text

log = logging.getLogger(__name__)
FEET = ("auto", "right", "left")


class Keys(Declared):
    """What ``configs/import_opensim.yaml`` holds; the ranges are those of :mod:`hmu.gait.trial`."""

    kinematics: Place
    forces: Place | None
    mass: Annotated[float, ">= 10, <= 250 kilograms"]
    height: Annotated[float, ">= 0.5, <= 2.5 metres"]
    target: Place
    label: Text | None
    feet: str | Sequence[str]
    knee: Literal["auto", "positive", "negative"]
    degrees: bool | None
    skip_missing: bool
    forces_check: bool
    overwrite: bool


def run(config: DictConfig) -> Path:
    """Import one trial and write it; returns the file.

    Raises:
        ConfigError: a target that exists or is no ``.npz``.
        DataError: one line naming the file and what is wrong with it.
    """
    from hmu.gait.opensim import ImportChoices, import_trial
    from hmu.gait.standard import standard
    from hmu.gait.trial import write_trial
    from hmu.gait.windows import clean_runs

    target = Path(config.target)
    if target.suffix != ".npz":
        raise ConfigError(f"target={target}: expected a name that ends in .npz")
    place = claim_files([target], "target", "import_opensim", overwrite=config.overwrite)
    feet = [config.feet] if isinstance(config.feet, str) else list(config.feet)
    wrong = next((word for word in feet if word not in FEET), None)
    if wrong is not None:
        raise ConfigError(f"feet={shown(wrong)}: expected {', '.join(FEET[:-1])} or {FEET[-1]}")
    choices = ImportChoices(config.feet, config.knee, config.degrees, config.skip_missing, config.forces_check)
    label = target.parent.name if config.label is None else str(config.label)
    files, body = (config.kinematics, config.forces), (float(config.mass), float(config.height))
    trial = import_trial(*files, *body, name=target.stem, label=label, choices=choices)
    place.begin([target.name])
    write_trial(target, trial)
    place.finish()
    ready, notes = standard(trial)
    runs, _ = clean_runs(ready)
    log.info("%s: %d frames at %g Hz, label '%s'", target, len(trial), trial.fps, label)
    log.info("as models read it: %s; %d runs of clean frames", "; ".join(notes) or "unchanged", len(runs))
    return target


if __name__ == "__main__":
    main("import_opensim", run, Keys, sweeps=False)
