"""Adapters of every backbone: each parameter receives gradient, so none is carried along for nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hmu.backbones.base import MotionBackbone
from hmu.data.batch import MotionBatch
from hmu.methods import adapters
from tests.backbones.bamm.conftest import motions as bamm_motions
from tests.backbones.bamm.conftest import tiny as bamm
from tests.backbones.gaitdynamics.conftest import batch_of
from tests.backbones.gaitdynamics.conftest import toy as gait
from tests.backbones.momask.conftest import tiny as momask
from tests.backbones.salad.conftest import motions, tiny

TEXTS = ["a person kicks", "a person walks slowly"]
FAMILIES: dict[str, tuple[Callable[[], MotionBackbone], Callable[[], MotionBatch]]] = {
    "salad": (tiny, lambda: motions([64, 48])),
    "momask": (momask, lambda: bamm_motions([64, 48])),
    "bamm": (bamm, lambda: bamm_motions([40, 32])),
    "gaitdynamics": (gait, lambda: batch_of([30, 25])),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_adapter_parameter_receives_gradient(family):
    make, batch = FAMILIES[family]
    model = make()
    targets = list(model.adapter_targets)
    trained = adapters.inject(model, rank=2, alpha=2.0, dropout=0.0)
    assert len(trained) == 2 * len(targets) > 0
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trained.items():
            if name.endswith("lora_B"):  # at its start B is zero, and A has no gradient yet
                parameter.normal_(generator=generator)
    target, condition = model.encode_target(batch()), model.encode_text(TEXTS)
    for _ in range(4):  # masks and timesteps are drawn: one draw may leave a token model nothing to answer
        model.loss(target, condition, generator).mean().backward()
    silent = [name for name, parameter in trained.items() if parameter.grad is None or not bool(parameter.grad.any())]
    assert silent == []
