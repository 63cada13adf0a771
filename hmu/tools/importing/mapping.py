"""Joint mappings by name or from a file: plain values only, nothing in such a file runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmu.documents import read_yaml
from hmu.errors import ConfigError, HmuError, shown
from hmu.tree import options

if TYPE_CHECKING:
    from hmu.motion.mapping import JointMapping

_KEYS = ("name", "unit", "up", "joints")
_TARGET = "hmu.motion.mapping.JointMapping"  # may stand in older files; it says nothing new


def packaged() -> dict[str, Path]:
    """The mappings in ``configs/bvh_mapping``, and those of plug-ins, by name."""
    return options("bvh_mapping")


def mapping_file(name: str) -> Path:
    """Where a mapping is kept: a name in ``configs/bvh_mapping``, or a YAML file of one's own; else ConfigError."""
    known = packaged()
    path = known.get(str(name), Path(str(name)))
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ConfigError(f"no mapping '{shown(name)}': use {', '.join(known)}, or the path of a YAML file like those")
    return path


def load_mapping(name: str) -> JointMapping:
    """The mapping of that name or file; ConfigError says what is wrong with it."""
    path = mapping_file(name)
    try:
        return _mapping(read_yaml(path, ConfigError))
    except HmuError as error:
        raise ConfigError(f"mapping '{path}': {str(error).removeprefix(f'{path}: ')}") from None


def _mapping(values: Any) -> JointMapping:
    if not isinstance(values, dict):
        raise ConfigError(f"expected the keys {', '.join(_KEYS)}")
    if values.pop("_target_", _TARGET) != _TARGET:
        raise ConfigError(f"_target_ is not needed, and only {_TARGET} may stand there")
    unknown = [str(key) for key in values if key not in _KEYS]
    missing = [key for key in ("name", "unit", "joints") if key not in values]
    if unknown or missing:
        said = f"unknown: {shown(', '.join(unknown))}" if unknown else f"missing: {', '.join(missing)}"
        raise ConfigError(f"expected the keys {', '.join(_KEYS)}; {said}")
    unit, joints = values["unit"], values["joints"]
    if isinstance(unit, bool) or not isinstance(unit, int | float):
        raise ConfigError(f"unit is metres per file unit, a number; got '{shown(unit)}'")
    if not isinstance(joints, dict):
        raise ConfigError("joints maps each of the 22 joints to a joint of the file")
    from hmu.motion.mapping import JointMapping  # imports torch: a mistake is said before

    sources = {str(target): _source(str(target), source) for target, source in joints.items()}
    return JointMapping(name=str(values["name"]), unit=float(unit), joints=sources, up=str(values.get("up", "y")))


def _source(target: str, source: Any) -> str | dict[str, float]:
    """One joint of the file, or several with weights."""
    if isinstance(source, str) and source:
        return source
    if isinstance(source, dict) and source:
        weights = {str(name): weight for name, weight in source.items()}
        if all(isinstance(w, int | float) and not isinstance(w, bool) for w in weights.values()):
            return {name: float(weight) for name, weight in weights.items()}
    raise ConfigError(f"joint {shown(target)}: expected a joint's name or names with weights, got '{shown(source)}'")
