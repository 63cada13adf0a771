"""What the numbers of an evaluation are filed under."""

from __future__ import annotations

import torch

from hmu.methods.edit import AdapterEdit, DeltaEdit
from hmu.workflows.measure import digest


def test_an_edit_is_known_by_all_that_it_does():
    factors = {"layer": (torch.ones(2, 3), torch.ones(4, 2))}
    names = [digest(AdapterEdit(factors, alpha=alpha)) for alpha in (0.0, 2.0, 2.0)]
    names.append(digest(DeltaEdit({"layer.weight": torch.ones(4, 3)})))
    assert names[1] == names[2]
    assert len(set(names)) == 3
