"""Vertical axis and unit of a file, from the bodies in it."""

from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.bvh import parse_bvh
from hmu.motion.mapping import UP, load_mapping, stand
from hmu.motion.posture import metres_per_unit, posture, upright_axis
from tests.motion.figure import person_bvh, walk

NO_REST = np.zeros((22, 3))


def bodies(text: str) -> tuple[np.ndarray, np.ndarray]:
    clip = parse_bvh(text)
    weights = load_mapping("mixamo").weights(clip.names)
    return weights @ clip.joints(), weights @ clip.rest()


def seen_as(joints: np.ndarray, up: str) -> np.ndarray:
    """The same motion in a file whose vertical axis is ``up``."""
    back = np.zeros((3, 3))
    for row, (sign, axis) in enumerate(UP[up]):
        back[axis, row] = sign
    return joints @ back.T


@pytest.mark.parametrize("up", list(UP))
def test_every_axis_is_a_rotation_and_is_found(up):
    joints, rest = bodies(person_bvh(*walk(40)))
    np.testing.assert_allclose(stand(seen_as(joints, up), 0.01, up), stand(joints, 0.01, "y"), atol=1e-9)
    assert upright_axis([posture(seen_as(joints, up), seen_as(rest, up))], "y") == up
    assert upright_axis([posture(seen_as(joints, up), NO_REST)], "y") == up, "by the floor alone, as with LAFAN1"


def test_a_rest_pose_of_another_axis_does_not_deceive():
    joints, rest = bodies(person_bvh(*walk(40)))
    assert upright_axis([posture(seen_as(joints, "z"), rest)], "y") == "z"
    assert upright_axis([posture(joints, seen_as(rest, "z"))], "y") == "y"


def lying(joints: np.ndarray) -> np.ndarray:
    """On the floor, head towards -z."""
    down = np.stack([joints[..., 0], joints[..., 2], -joints[..., 1]], -1)
    return down - np.array([0, down[..., 1].min() - 5, 0])


def test_one_who_lies_or_stands_on_the_hands_among_others_is_believed():
    joints, rest = bodies(person_bvh(*walk(40, heading=0.0)))
    hands = seen_as(joints, "-y")
    clips = [posture(clip, rest) for clip in (joints, joints, lying(joints), hands)]
    assert upright_axis(clips, "y") == "y"


def test_a_lone_clip_that_lies_is_not_turned_upright():
    root, angles = walk(40, heading=0.0)
    still = {name: np.repeat(angle[:1], 40, 0) for name, angle in angles.items()}
    joints, rest = bodies(person_bvh(np.repeat(root[:1], 40, 0), still))
    down = lying(joints) + np.array([0, 0, 130])
    assert upright_axis([posture(down, rest)], "y") == "y", "it lies on a floor at zero"
    assert upright_axis([posture(down + np.array([0, 100, 0]), rest)], "y") is None, "on a table: who knows?"


def test_units():
    assert metres_per_unit(170, 0.01) == 0.01
    assert metres_per_unit(1700, 0.01) == 0.001
    assert metres_per_unit(1.7, 0.01) == 1.0
    assert metres_per_unit(67, 1.0) == 0.0254
    assert metres_per_unit(29, 0.01) == pytest.approx(0.0254 / 0.45)
    assert metres_per_unit(67, 0.01) == 0.0254, "an adult in inches (3ds Max), no baby of 67 cm"
    assert metres_per_unit(67, 0.01, fixed=True) == 0.01
    assert metres_per_unit(88, 0.01) == metres_per_unit(52, 0.01) == 0.01, "a small person stays small"
    for height, given, fixed in ((48, 0.001, False), (0.0, 0.01, False), (1700, 0.01, True), (357, 0.01, False)):
        with pytest.raises(DataError, match="no person"):
            metres_per_unit(height, given, fixed=fixed)


def test_mirrored_files_are_told():
    joints, rest = bodies(person_bvh(*walk(40)))
    assert not posture(joints, rest).mirrored
    assert posture(joints * [-1, 1, 1], rest).mirrored
