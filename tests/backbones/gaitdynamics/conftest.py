"""A GaitDynamics of toy size."""

from __future__ import annotations

import pytest
import torch

from hmu.backbones.gaitdynamics import GaitDynamics
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from tests import published

SIZES = {"latent_dim": 16, "ff_dim": 24, "layers": 2, "heads": 2, "window": 30, "dropout": 0.0}


def toy(**options) -> GaitDynamics:
    torch.manual_seed(0)
    sizes = SIZES | options.pop("decoder", {})
    model: GaitDynamics = published.backbone(
        "gaitdynamics", **{"decoder": sizes, "sampling": {"steps": 6}, "max_frames": 30, **options}
    )
    generator = torch.Generator().manual_seed(1)
    model.normaliser.fit([torch.randn(500, 63, generator=generator)])
    return model.eval()


def batch_of(lengths, seed: int = 0) -> MotionBatch:
    generator = torch.Generator().manual_seed(seed)
    motion = torch.randn(len(lengths), max(lengths), 63, generator=generator)
    for row, length in enumerate(lengths):
        motion[row, length:] = 0
    captions = tuple(Caption("walk", ("walk/NOUN",), 0.0, 0.0) for _ in lengths)
    return MotionBatch(motion, torch.tensor(lengths), captions, tuple(map(str, range(len(lengths)))))


@pytest.fixture
def model() -> GaitDynamics:
    return toy()
