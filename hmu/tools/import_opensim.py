"""One gait trial from OpenSim files: ``python -m hmu.tools.import_opensim kinematics=… forces=… mass=… target=…``.

See ``configs/import_opensim.yaml`` for every choice, and :mod:`hmu.gait.opensim` for what is read and how.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from hmu.app import main
from hmu.errors import ConfigError, shown

log = logging.getLogger(__name__)
KNEE, FEET = ("auto", "positive", "negative"), ("auto", "right", "left")


def run(config: DictConfig) -> Path:
    """Import one trial and write it; returns the file.

    Raises:
        ConfigError: a target that exists or is no ``.npz``, or a mass or height that no person has.
        DataError: one line naming the file and what is wrong with it.
    """
    from hmu.gait.opensim import ImportChoices, import_trial
    from hmu.gait.standard import standard
    from hmu.gait.trial import HEIGHTS, MASSES, write_trial
    from hmu.gait.windows import clean_runs

    target = check_target(Path(config.target), ".npz", bool(config.overwrite))
    for key, limits, unit in (("mass", MASSES, "kilograms"), ("height", HEIGHTS, "metres")):
        value = config[key]
        if not isinstance(value, (int, float)) or not limits[0] <= value <= limits[1]:
            raise ConfigError(f"{key}={value}: expected {limits[0]:g} to {limits[1]:g} {unit}")
    feet = list(config.feet) if isinstance(config.feet, ListConfig) else [config.feet]
    for key, words, given in (("knee", KNEE, [config.knee]), ("feet", FEET, feet)):
        wrong = next((word for word in given if word not in words), None)
        if wrong is not None:
            raise ConfigError(f"{key}={shown(wrong)}: expected {', '.join(words[:-1])} or {words[-1]}")
    choices = ImportChoices(
        feet=feet if isinstance(config.feet, ListConfig) else str(config.feet),
        knee=str(config.knee),
        degrees=config.degrees,
        skip_missing=bool(config.skip_missing),
        forces_check=bool(config.forces_check),
    )
    label = target.parent.name if config.label is None else str(config.label)
    trial = import_trial(
        config.kinematics,
        config.forces,
        float(config.mass),
        float(config.height),
        name=target.stem,
        label=label,
        choices=choices,
    )
    write_trial(target, trial)
    ready, said = standard(trial)
    runs, _ = clean_runs(ready)
    log.info("%s: %d frames at %g Hz, label '%s'", target, len(trial), trial.fps, label)
    log.info("as models read it: %s; %d runs of clean frames", "; ".join(said) or "unchanged", len(runs))
    return target


def check_target(target: Path, ending: str, overwrite: bool) -> Path:
    """``target``, if it may be written.

    Raises:
        ConfigError: another ending, or the file exists and ``overwrite`` is not set.
    """
    if target.suffix != ending:
        raise ConfigError(f"target={target}: expected a name that ends in {ending}")
    if target.exists() and not overwrite:
        raise ConfigError(f"target={target} exists; choose another name, or say overwrite=true")
    return target


if __name__ == "__main__":
    main("import_opensim", run)
