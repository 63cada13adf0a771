"""A seed gives every fresh model the weights of version 0.1: the order of drawing is part of the promise."""

from __future__ import annotations

import pytest
import torch

from hmu.compose import configured

#: sum of all values of the state, and the next number that torch draws; both taken from version 0.1 with seed 0
FRESH = {
    ("backbone", "bamm_demo"): (9226.2245, 0.3484),
    ("backbone", "momask_demo"): (9450.1848, 0.5504),
    ("backbone", "salad_demo"): (16030.7547, 0.0861),
    ("backbone", "gait_demo"): (684.2348, 0.5827),
    ("evaluator", "demo"): (584.4683, 0.7664),
    ("evaluator", "tmr_demo"): (1403.9004, 0.6413),
}


@pytest.mark.parametrize(("group", "name"), FRESH)
def test_a_seed_gives_the_weights_it_always_gave(group, name):
    torch.manual_seed(0)
    model = configured(group, name, checkpoint=None)
    total = sum(float(value.double().sum()) for value in model.state_dict().values() if isinstance(value, torch.Tensor))
    assert (total, float(torch.rand(1))) == pytest.approx(FRESH[group, name], abs=1e-3)


def test_blocks_of_another_kind_are_drawn_as_ever():
    torch.manual_seed(0)
    configured("backbone", "bamm_demo", checkpoint=None, masked={"blocks": "t2mgpt"})
    assert float(torch.rand(1)) == pytest.approx(0.4586, abs=1e-3)
