"""Joint mappings: names behind prefixes, and what is said where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from hmu.errors import DataError
from hmu.motion.mapping import load_mapping
from tests.motion.figure import BONES

NAMES = list(BONES)


@pytest.mark.parametrize(
    "prefix", ["", "mixamorig:", "mixamorig9:", "mixamorig_", "mixamorig", "Model_", "Character1_", "a|b:", "Rig Hips "]
)
def test_a_prefix_that_all_names_share_does_not_matter(prefix):
    mapping = load_mapping("mixamo")
    weights = mapping.weights([f"{prefix}{name}" for name in NAMES])
    np.testing.assert_array_equal(weights, mapping.weights(NAMES))
    assert mapping.missing([f"{prefix}{name}" for name in NAMES]) == ()


def test_other_joints_and_other_prefixes_do_not_disturb():
    mapping = load_mapping("mixamo")
    more = ["Root", *(f"Model_{name}" for name in NAMES), "Model_LeftHandThumb1", "Prop_Head", "prop:Hips"]
    np.testing.assert_array_equal(mapping.weights(more)[:, 1 : 1 + len(NAMES)], mapping.weights(NAMES))
    mixed = [f"{'hand' if 'Hand' in name else 'body'}:{name}" for name in NAMES]
    np.testing.assert_array_equal(mapping.weights(mixed), mapping.weights(NAMES))


def test_two_people_in_one_file_are_refused():
    with pytest.raises(DataError, match=r"2 people \(A_, B_\)"):
        load_mapping("mixamo").weights([f"{who}_{name}" for who in "AB" for name in NAMES])


def test_few_names_are_said_where_many_are_missing():
    with pytest.raises(DataError) as caught:
        load_mapping("mixamo").weights([f"bone{k}" * 50 for k in range(300)])
    assert len(str(caught.value)) < 300
    assert "and 18 more" in str(caught.value)
    assert load_mapping("mixamo").missing(NAMES[:-1]) == ("RightHand",)
