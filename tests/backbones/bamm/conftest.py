from __future__ import annotations

import pytest
import torch
from torch import nn

from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer

CODES, TEXT = 12, 10


def options(**changes) -> BidirectionalOptions:
    sizes = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "max_tokens": 9}
    return BidirectionalOptions(**{**sizes, "positions": 64, **changes})


def network(**changes) -> BidirectionalTransformer:
    """A transformer with weights large enough that places and texts matter."""
    torch.manual_seed(0)
    net = BidirectionalTransformer(CODES, 8, TEXT, options(**changes))
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.4)
    return net.eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["official", "t2mgpt"])
def net(request) -> BidirectionalTransformer:
    return network(blocks=request.param)
