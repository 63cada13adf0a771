"""Force plates: their columns in a table, whose foot stands on them, and whether they carry a person at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError, shown
from hmu.gait.filters import Array, fill_gaps
from hmu.gait.mot import Table
from hmu.gait.preprocess import CONTACT, per_foot, runs

log = logging.getLogger(__name__)
SIDES = {"right": 0, "left": 1}
#: where a column's name says vector and axis: ``ground_force_r_vx``, ``1_ground_force_px``, ``ground_force_vx_l``
_PART = re.compile(r"(?P<before>|.*?[\W_\d])(?P<kind>[vp])(?P<axis>[xyz])(?P<after>|_.*)", re.IGNORECASE)
#: as OpenSim's reader of C3D files names them: ``f1_1`` to ``f1_3``, ``p1_1`` to ``p1_3``
_C3D = re.compile(r"(?P<kind>[fp])(?P<plate>\d+)_(?P<axis>[123])", re.IGNORECASE)
FARTHEST = 30.0  # metres from a laboratory's origin: a centre of pressure beyond is in another unit


class Plate(NamedTuple):
    """One force plate: stem of its column names, force in newtons and centre of pressure in metres ``(frames, 3)``."""

    name: str
    force: Array
    cop: Array


def plates_of(table: Table, times: Array) -> list[Plate]:
    """Every force plate of a table, interpolated at ``times`` ``(frames,)``, seconds.

    Raises:
        DataError: when no three columns ``…vx …vy …vz`` with ``…px …py …pz`` are there, or a value is NaN (but for a
            centre of pressure where the plate carries less than 20 N: there is none).
    """
    stems = _columns(table)
    unused = [n for n in table.names if "torque" in n.lower() or "moment" in n.lower()]
    if unused:
        listed = shown(", ".join(unused), 200)
        log.info("%s: free moments are left out, model states hold none: %s", table.path.name, listed)
    plates = []
    for name, parts in stems:
        table.require([parts[f"v{axis}"] for axis in "xyz"])
        force, cop = (np.stack([table[parts[f"{kind}{axis}"]] for axis in "xyz"], 1) for kind in "vp")
        none: NDArray[np.bool_] = np.asarray(np.isnan(cop).any(1))
        pressed = np.flatnonzero(none & (force[:, 1] >= CONTACT))
        if len(pressed):
            row = int(pressed[0])
            carried = f"plate '{shown(name)}' carries {force[row, 1]:.0f} N"
            raise DataError(
                f"{table.path}, line {table.lines[row]}: {carried}, but its centre of pressure is not a number; mend "
                "or cut these rows"
            )
        cop = fill_gaps(np.where(none[:, None], np.nan, cop))
        at_times = [np.stack([np.interp(times, table.time, x) for x in part.T], 1) for part in (force, cop)]
        plates.append(Plate(name, *at_times))
    return plates


def _columns(table: Table) -> list[tuple[str, dict[str, str]]]:
    """The plates of a table in the order of their columns: name, and the columns of ``vx`` … ``pz``."""
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for name in table.names:
        match = _PART.fullmatch(name)
        c3d = _C3D.fullmatch(name)
        if c3d:
            axis, kind = "xyz"[int(c3d["axis"]) - 1], {"f": "v", "p": "p"}[c3d["kind"].lower()]
            parts.setdefault((f"plate {c3d['plate']}", ""), {})[kind + axis] = name
        elif match:
            part = (match["kind"] + match["axis"]).lower()
            parts.setdefault((match["before"], match["after"]), {})[part] = name
    whole = {stem: named for stem, named in parts.items() if len(named) == 6}
    if not whole:
        partial = next((named for named in parts.values() if {"vx", "vy", "vz"} <= set(named)), None)
        why = f"no centre of pressure beside '{shown(partial['vy'])}'" if partial else "no force plate"
        raise DataError(f"{table.path}: {why}: expected columns like ground_force_vx … vz and ground_force_px … pz")
    return [(f"{before.rstrip('_')}{after}", named) for (before, after), named in whole.items()]


def in_metres(plates: Sequence[Plate], heels: Array, path: Path) -> list[Plate]:
    """The plates with centres of pressure in metres; millimetres and centimetres are recognised by their size.

    Args:
        heels: ``(frames, 6)`` metres, right then left: of two units the one that puts the feet nearer is right.
    """
    loaded = [plate.force[:, 1] > CONTACT for plate in plates]
    given = np.concatenate([plate.cop[rows] for plate, rows in zip(plates, loaded, strict=True)])
    if not len(given) or np.percentile(np.abs(given).max(1), 95) <= FARTHEST:
        return list(plates)
    ground = [0, 2]
    feet = np.concatenate([per_foot(heels)[rows] for rows in loaded])[:, :, ground]

    def away(factor: float) -> float:
        return float(np.median(np.linalg.norm(given[:, None, ground] * factor - feet, axis=-1).min(1)))

    factor = min((0.001, 0.01), key=away)
    unit = "millimetres" if factor == 0.001 else "centimetres"
    reach = f"{np.abs(given).max():.0f}: taken as {unit} and divided by {1 / factor:.0f}"
    log.warning("%s: centres of pressure reach %s", path.name, reach)
    return [plate._replace(cop=plate.cop * factor) for plate in plates]


def owners(plate: Plate, heels: Array, toes: Array) -> NDArray[np.int64]:
    """Which foot (0 right, 1 left) stands on a plate in each frame ``(frames,)``.

    Every contact belongs to the foot whose middle is nearest to its centre of pressure on average; frames between two
    contacts to the nearer one, so that a plate's noise is not lost.

    Args:
        heels, toes: ``(frames, 6)`` metres, right then left.
    """
    middle = (per_foot(heels) + per_foot(toes))[:, :, [0, 2]] / 2
    contacts = runs(plate.force[:, 1] > CONTACT)
    if not contacts:
        return np.zeros(len(plate.force), dtype=np.int64)
    centres, feet = [], []
    for start, stop in contacts:
        away = plate.cop[start:stop, None, [0, 2]] - middle[start:stop]
        feet.append(int(np.linalg.norm(away, axis=-1).mean(0).argmin()))
        centres.append((start + stop - 1) / 2)
    nearest = np.abs(np.arange(len(plate.force))[:, None] - np.array(centres)).argmin(1)
    return np.array(feet)[nearest]


def per_foot_forces(
    plates: Sequence[Plate], feet: Sequence[str] | str, heels: Array, toes: Array
) -> tuple[Array, Array]:
    """Forces and centres of pressure of both feet ``(frames, 6)`` each, right then left.

    Raises:
        DataError: when the user's words do not fit the plates.
    """
    words = [feet] * len(plates) if isinstance(feet, str) else list(feet)
    if len(words) != len(plates) or any(word not in ("auto", *SIDES) for word in words):
        names = shown(", ".join(plate.name for plate in plates), 120)
        raise DataError(f"feet={shown(','.join(words))}: expected auto, right or left for each of the plates {names}")
    frames = len(heels)
    force, weighted, weight = np.zeros((frames, 2, 3)), np.zeros((frames, 2, 3)), np.zeros((frames, 2, 1))
    rows = np.arange(frames)
    for plate, word in zip(plates, words, strict=True):
        foot = owners(plate, heels, toes) if word == "auto" else np.full(frames, SIDES[word])
        share = np.bincount(foot, minlength=2) / frames
        log.info("plate '%s': right foot %.0f %%, left foot %.0f %% of the time", plate.name, *(100 * share))
        pressure = np.maximum(plate.force[:, 1:2], 0)
        force[rows, foot] += plate.force
        weighted[rows, foot] += pressure * plate.cop
        weight[rows, foot] += pressure
    cops = np.where(weight > 0, weighted / np.where(weight > 0, weight, 1), 0.0)
    return force.reshape(frames, 6), cops.reshape(frames, 6)
