"""Parity of ``dev/bvh``: BVH texts read back, the joints-to-rotations solver, foot locking, Euler angles.

Names of the cases and their iteration counts come from ``info.json``, skeleton and sizes from the arrays. The recorded
drawing calls (``plot_calls.json``) describe the authors' pictures; ours are drawn another way and are not compared.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from hmu.motion.bvh import local_to_world, parse_bvh
from hmu.motion.bvh_write import fit_rotations, matrix_to_euler_zyx
from hmu.motion.foot_lock import lock_feet
from hmu.motion.rotations import euler_to_quat, quat_to_matrix
from tests.parity.case import Case, read_json
from tests.parity.checks import Checks, compare, exact
from tests.parity.kinds import compares, strange

metres = partial(compare, absolute=True)
PRINTED = 2e-6  # six printed decimals, added up along a chain of joints (metres)
SOLVED = 2e-5  # metres: arccos of nearly parallel directions in the authors' solver,
TURNED = 5e-4  # which their rotations show more, most at the ends of long iterations


@compares("bvh", known=("*",), files=("vectors.npz",))
def run(case: Case) -> Checks:
    """Every case that ``info.json`` lists, and the helpers whose arrays are there."""
    info = read_json(case.folder / "info.json")
    files = [described["file"] for described in info["cases"].values()]
    yield from strange(case.folder, "vectors.npz", "info.json", "plot_calls.json", "plot_input.npz", *files)
    for name, described in info["cases"].items():
        yield from _case(case, case.under(f"{name}__"), described, info["template_names"])
    yield from _helpers(case, _feet(info["template_names"]))
    case.used |= set(case.stored)  # what else lies there are the steps between


def _case(case: Case, part: Case, described: dict[str, Any], names: list[str]) -> Checks:
    at, back, parents = (
        f"{part.at.removesuffix('__')}:",
        case.raw("re_order_inv"),
        case.raw("template_parents").tolist(),
    )
    bvh = parse_bvh((case.folder / described["file"]).read_text(encoding="utf-8"), described["file"])
    yield exact(f"{at} names", list(bvh.names), names)
    yield exact(f"{at} parents", list(bvh.parents), parents)
    yield metres(f"{at} file joints", bvh.joints()[:, back], part.raw("joints_out"), PRINTED)
    turned = quat_to_matrix(part.raw("rotations"))
    yield metres(f"{at} file rotations", quat_to_matrix(bvh.local_rotations()), turned, PRINTED)
    yield metres(f"{at} file root", bvh.local_positions()[:, 0], part.raw("root_positions"), PRINTED)
    joints = part.raw("joints_in").astype(np.float64)[:, case.raw("re_order")]
    root = joints[:, 0].copy()  # the authors copy it before the floor is moved
    if described["foot_ik"]:
        joints = lock_feet(joints, _feet(names))
    offsets = case.raw("template_frame0_positions")
    rotations = fit_rotations(joints, parents, offsets, root=root, iterations=int(described["iterations"]))
    yield metres(f"{at} solver rotations", quat_to_matrix(rotations), turned, TURNED)
    local = np.repeat(offsets[None], len(joints), axis=0)
    local[:, 0] = root
    solved = local_to_world(rotations, local, parents)[1][:, back]
    yield metres(f"{at} solver joints", solved, part.raw("joints_out"), SOLVED)


def _feet(names: list[str]) -> list[int]:
    """Ankle and toe of both legs in the file's order of joints."""
    return [names.index(name) for name in ("LeftFoot", "LeftToe", "RightFoot", "RightToe")]


def _helpers(case: Case, feet: list[int]) -> Checks:
    """Foot locking and angles on their own."""
    if "remove_fs_in" in case:
        joints = case.raw("remove_fs_in")
        short = lock_feet(joints, feet, blend=2, on_floor=False)
        outputs = {"remove_fs_out": lock_feet(joints, feet), "remove_fs_out_interp2_nofloor": short}
        yield from case.given(outputs, 1e-9, absolute=True)
    angles = matrix_to_euler_zyx(quat_to_matrix(case.raw("quat")))[:, ::-1]
    yield metres("euler", angles, case.raw("quat_euler_xyz_rad"), 1e-6)
    turned = quat_to_matrix(euler_to_quat(case.raw("euler_in_rad"), "zyx"))
    yield metres("from_euler", turned, quat_to_matrix(case.raw("from_euler_zyx")), 1e-9)
