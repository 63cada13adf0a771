from __future__ import annotations

import pytest
import torch

from hmu.backbones.momask import MoMask
from tests import published
from tests.backbones.salad.conftest import WORDS, motions, seeded
from tests.compact import compact

__all__ = ["motions", "seeded", "tiny"]


def tiny(fill: bool = True, **changes) -> MoMask:
    """A model of some ten thousand weights; ``changes`` are constructor arguments. ``fill``: codebooks with codes."""
    torch.manual_seed(0)
    text = compact(WORDS, width=16, layers=1, heads=2, buckets=32, dropout=0.0, word_dropout=0.0)
    sizes = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "positions": 64}
    options = {
        "text": text,
        "rvq": {"codes": 12, "code_dim": 8, "quantizers": 3, "width": 16, "depth": 2, "dropout": 0.0},
        "masked": sizes,
        "residual": sizes,
        "length": {"hidden": (16, 16, 16), "dropout": 0.0},
        "sampling": {"steps": 3, "guidance": 2.0, "residual_guidance": 3.0, "thres": 0.5, "residual_thres": 0.5},
        **changes,
    }
    model: MoMask = published.backbone("momask", **options)
    generator = seeded(1)
    model.statistics.assign(torch.randn(model.features, generator=generator), torch.rand(model.features) + 0.5)
    if fill:
        for codes in model.codebooks().values():
            codes.copy_(torch.randn(codes.shape, generator=generator) * 0.2)
    return model.eval()


@pytest.fixture
def model() -> MoMask:
    return tiny()
