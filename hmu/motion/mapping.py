"""From a source skeleton to ours: which weighted sum of source joints stands for each target joint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.documents import read_yaml
from hmu.errors import ConfigError, DataError, HmuError, shown
from hmu.motion.features import face_forward
from hmu.motion.skeleton import T2M
from hmu.tree import options

Array = NDArray[np.float64]
_KEYS = ("name", "unit", "up", "joints")
_TARGET = "hmu.motion.mapping.JointMapping"  # may stand in older files; it says nothing new
#: vertical axis of a file -> sign and axis that become x, y, z; rotations all of them, so that left stays left
UP = {
    "y": ((1, 0), (1, 1), (1, 2)),
    "z": ((1, 0), (1, 2), (-1, 1)),
    "x": ((-1, 1), (1, 0), (1, 2)),
    "-y": ((1, 0), (-1, 1), (-1, 2)),
    "-z": ((1, 0), (-1, 2), (1, 1)),
    "-x": ((1, 1), (-1, 0), (1, 2)),
}


@dataclass(frozen=True)
class JointMapping:
    """How one family of source files becomes the 22 joints; one YAML in ``configs/bvh_mapping`` each.

    Attributes:
        name: short name.
        unit: metres per file unit (0.01 for centimetres).
        up: the file's vertical axis and its sense: ``y``, ``z``, ``-y``, … (right-handed in all cases).
        joints: target joint -> source joint, or source joint -> weight (weights sum to 1). A source name also matches
            behind a prefix that all share (``mixamorig:Hips``, ``mixamorig_Hips``, ``Character1Hips``).
    """

    name: str
    unit: float
    joints: Mapping[str, str | Mapping[str, float]]
    up: str = "y"

    def __post_init__(self) -> None:
        if self.up not in UP:
            raise ConfigError(f"mapping {shown(self.name)}: up is one of {', '.join(UP)}, got '{shown(self.up)}'")
        if not 0 < self.unit < math.inf:
            raise ConfigError(f"mapping {shown(self.name)}: unit is metres per file unit, above 0; got {self.unit}")
        wrong = sorted(map(str, set(self.joints) ^ set(T2M.joint_names)))
        if wrong:
            raise ConfigError(f"mapping {shown(self.name)}: joints missing or unknown: {shown(', '.join(wrong), 150)}")
        for target, source in self.joints.items():
            if not isinstance(source, str) and not abs(sum(source.values()) - 1.0) < 1e-6:
                raise ConfigError(
                    f"mapping {shown(self.name)}: weights of {target} must sum to 1, got {shown(dict(source), 100)}"
                )

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Every source joint that the mapping names, once."""
        named = [[source] if isinstance(source, str) else list(source) for source in self.joints.values()]
        return tuple(dict.fromkeys(name for names in named for name in names))

    def missing(self, names: Sequence[str]) -> tuple[str, ...]:
        """Source joints that a file with joints ``names`` lacks, whatever prefix its names carry."""
        return tuple(name for name in self.sources if name not in self._positions(names))

    def _positions(self, names: Sequence[str]) -> dict[str, int]:
        """Position of the source joints in ``names``: as written, or behind the prefix that serves most of them."""
        places: dict[str, dict[str, int]] = {}
        sources = set(self.sources)
        for position, name in enumerate(names):
            for source in sources:
                if name.endswith(source):
                    places.setdefault(name[: len(name) - len(source)], {})[source] = position
        whole = [prefix for prefix, served in places.items() if len(served) == len(sources)]
        if len(whole) > 1 and "" not in whole:
            raise DataError(f"holds {len(whole)} people ({shown(', '.join(whole))}): leave one in the file")
        # namespaces may differ from joint to joint (a prop's, a hand's): those are looked through as well
        plain = {name.rpartition(":")[2]: position for position, name in enumerate(names)}
        best = "" if "" in whole else max(places, key=lambda prefix: (len(places[prefix]), prefix == ""), default="")
        return {**{k: v for k, v in plain.items() if k in sources}, **places.get("", {}), **places.get(best, {})}

    def weights(self, names: Sequence[str]) -> Array:
        """Matrix ``(22, source joints)``; DataError naming the joints that the file lacks."""
        positions = self._positions(names)
        if missing := self.missing(names):
            few = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
            raise DataError(
                f"no joint {shown(few, 100)} for mapping '{shown(self.name)}' "
                f"(the file has {shown(', '.join(names[:6]), 80)}, …)"
            )
        matrix = np.zeros((T2M.joints, len(names)))
        for row, target in enumerate(T2M.joint_names):
            source = self.joints[target]
            for name, weight in ({source: 1.0} if isinstance(source, str) else source).items():
                matrix[row, positions[name]] += weight
        return matrix


def stand(joints: ArrayLike, unit: float, up: str) -> Array:
    """Joints ``(frames, 22, 3)`` of a file in metres, y up, on the floor, starting at the origin and facing +z."""
    turned = np.asarray(joints, dtype=np.float64) * unit
    if up != "y":
        turned = np.stack([sign * turned[..., axis] for sign, axis in UP[up]], axis=-1)
    return face_forward(turned, T2M)


# -- files: plain values only, nothing in them runs ------------------------------------------------------------------
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
