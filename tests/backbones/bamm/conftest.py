from __future__ import annotations

import pytest
import torch
from torch import nn

from hmu.backbones.bamm import Bamm
from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from tests import published
from tests.compact import compact

CODES, TEXT = 12, 10


def options(**changes) -> BidirectionalOptions:
    sizes = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "max_tokens": 9}
    return published.options(BidirectionalOptions, **{**sizes, "positions": 64, **changes})


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


WORDS = ["a", "person", "kicks", "walks", "waves", "slowly"]
SIZES = {"latent_dim": 16, "n_heads": 2, "n_layers": 2, "ff_size": 24, "dropout": 0.0, "positions": 64}
RVQ = {"codes": CODES, "code_dim": 8, "quantizers": 3, "width": 16, "depth": 1, "dropout": 0.0}


def tiny(**changes) -> Bamm:
    """A model of a few thousand weights with filled codebooks; ``changes`` are constructor arguments."""
    torch.manual_seed(0)
    text = compact(WORDS, width=16, layers=1, heads=2, buckets=32, dropout=0.0, word_dropout=0.0)
    model: Bamm = published.backbone("bamm", **{
        "text": text,
        "rvq": RVQ,
        "masked": {**SIZES, "max_tokens": 12},
        "residual": SIZES,
        "sampling": {"guidance": 2.0},
        "min_frames": 8,
        "max_frames": 48,
        **changes,
    })  # fmt: skip
    for number, codes in enumerate(model.codebooks().values()):
        codes.copy_(torch.randn(codes.shape, generator=seeded(number)) / (number + 1))
    for name, parameter in model.generator.named_parameters():
        if parameter.dim() > 1 and "emb" not in name.split(".")[-1]:
            nn.init.normal_(parameter, std=0.3)
    model.statistics.assign(torch.randn(model.features, generator=seeded(1)), torch.rand(model.features) + 0.5)
    return model.eval()


def motions(lengths, texts=("a person kicks", "a person walks slowly", "a person waves")) -> MotionBatch:
    lengths = torch.tensor(lengths)
    motion = torch.randn(len(lengths), int(lengths.max()), 263, generator=seeded(2))
    motion = motion * length_mask(lengths, motion.shape[1])[:, :, None]
    captions = tuple(Caption(texts[i % len(texts)]) for i in range(len(lengths)))
    return MotionBatch(motion, lengths, captions, tuple(str(i) for i in range(len(lengths))))


@pytest.fixture
def model() -> Bamm:
    return tiny()
