"""Parity of ``dev/bvh``: BVH texts read back, the joints-to-rotations solver, foot locking, Euler angles.

Names of the cases and their iteration counts come from ``info.json``, skeleton and sizes from the arrays. The recorded
drawing calls (``plot_calls.json``) describe the authors' pictures; ours are drawn another way and are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.motion.bvh import local_to_world, parse_bvh
from hmu.motion.bvh_write import fit_rotations, matrix_to_euler_zyx
from hmu.motion.foot_lock import lock_feet
from hmu.motion.rotations import euler_to_quat, quat_to_matrix
from tests.parity.case import read_arrays, read_json, strange
from tests.parity.checks import Check, compare, exact

Arrays = dict[str, NDArray[Any]]
PRINTED = 2e-6  # six printed decimals, added up along a chain of joints (metres)
SOLVED = 2e-5  # metres: arccos of nearly parallel directions in the authors' solver,
TURNED = 5e-4  # which their rotations show more, most at the ends of long iterations


def run(folder: Path) -> Iterator[Check]:
    """Every case that ``info.json`` lists, and the helpers whose arrays are there."""
    arrays: Arrays = read_arrays(folder / "vectors.npz")
    info = read_json(folder / "info.json")
    files = [case["file"] for case in info["cases"].values()]
    yield from strange(folder, "vectors.npz", "info.json", "plot_calls.json", "plot_input.npz", *files)
    for name, case in info["cases"].items():
        for check in _case(folder, name, case, info["template_names"], arrays):
            yield check.inside(f"{name}:")
    yield from _helpers(arrays, _feet(info["template_names"]))


def _case(folder: Path, name: str, case: dict[str, Any], names: list[str], arrays: Arrays) -> Iterator[Check]:
    given = {key.split("__", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{name}__")}
    back = arrays["re_order_inv"]
    bvh = parse_bvh((folder / case["file"]).read_text(encoding="utf-8"), case["file"])
    yield exact("names", list(bvh.names), names)
    yield exact("parents", list(bvh.parents), arrays["template_parents"].tolist())
    yield compare("file joints", bvh.joints()[:, back], given["joints_out"], PRINTED, absolute=True)
    turned = quat_to_matrix(given["rotations"])
    yield compare("file rotations", quat_to_matrix(bvh.local_rotations()), turned, PRINTED, absolute=True)
    yield compare("file root", bvh.local_positions()[:, 0], given["root_positions"], PRINTED, absolute=True)
    wanted = given["joints_in"].astype(np.float64)[:, arrays["re_order"]]
    root = wanted[:, 0].copy()  # the authors copy it before the floor is moved
    if case["foot_ik"]:
        wanted = lock_feet(wanted, _feet(names))
    offsets, parents = arrays["template_frame0_positions"], arrays["template_parents"].tolist()
    rotations = fit_rotations(wanted, parents, offsets, root=root, iterations=int(case["iterations"]))
    yield compare("solver rotations", quat_to_matrix(rotations), turned, TURNED, absolute=True)
    local = np.repeat(offsets[None], len(wanted), axis=0)
    local[:, 0] = root
    solved = local_to_world(rotations, local, parents)[1][:, back]
    yield compare("solver joints", solved, given["joints_out"], SOLVED, absolute=True)


def _feet(names: list[str]) -> list[int]:
    """Ankle and toe of both legs in the file's order of joints."""
    return [names.index(name) for name in ("LeftFoot", "LeftToe", "RightFoot", "RightToe")]


def _helpers(arrays: Arrays, feet: list[int]) -> Iterator[Check]:
    """Foot locking and angles on their own."""
    if "remove_fs_in" in arrays:
        ours = lock_feet(arrays["remove_fs_in"], feet)
        yield compare("remove_fs", ours, arrays["remove_fs_out"], 1e-9, absolute=True)
    if "remove_fs_out_interp2_nofloor" in arrays:
        ours = lock_feet(arrays["remove_fs_in"], feet, blend=2, on_floor=False)
        yield compare("remove_fs 2 frames", ours, arrays["remove_fs_out_interp2_nofloor"], 1e-9, absolute=True)
    angles = matrix_to_euler_zyx(quat_to_matrix(arrays["quat"]))[:, ::-1]
    yield compare("euler", angles, arrays["quat_euler_xyz_rad"], 1e-6, absolute=True)
    given = euler_to_quat(arrays["euler_in_rad"], "zyx")
    yield compare("from_euler", quat_to_matrix(given), quat_to_matrix(arrays["from_euler_zyx"]), 1e-9, absolute=True)


KINDS = {"bvh": run}
