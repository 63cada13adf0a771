from __future__ import annotations

import pytest
import torch

from hmu.backbones.salad import Salad
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from tests import published
from tests.compact import compact

WORDS = ["a", "person", "kicks", "walks", "waves", "slowly"]


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small only lose time by splitting their work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(**changes) -> Salad:
    """A model of a few thousand weights; ``changes`` are constructor arguments."""
    torch.manual_seed(0)
    text = compact(WORDS, width=16, layers=1, heads=2, buckets=32, dropout=0.0, word_dropout=0.0)
    options = {
        "text": text,
        "vae": {"latent_dim": 4, "dropout": 0.0},
        "denoiser": {"latent_dim": 16, "n_heads": 2, "n_layers": 3, "ff_dim": 24, "dropout": 0.0, "max_positions": 400},
        "sampling": {"steps": 3, "guidance": 2.0},
        **changes,
    }
    model: Salad = published.backbone("salad", **options)
    generator = torch.Generator().manual_seed(1)
    model.statistics.assign(torch.randn(model.features, generator=generator), torch.rand(model.features) + 0.5)
    return model.eval()


def motions(lengths, features: int = 263, texts=("a person kicks", "a person walks slowly", "a person waves")):
    lengths = torch.tensor(lengths)
    generator = torch.Generator().manual_seed(2)
    motion = torch.randn(len(lengths), int(lengths.max()), features, generator=generator)
    motion = motion * length_mask(lengths, motion.shape[1])[:, :, None]
    captions = tuple(Caption(texts[i % len(texts)]) for i in range(len(lengths)))
    return MotionBatch(motion, lengths, captions, tuple(str(i) for i in range(len(lengths))))


@pytest.fixture
def model() -> Salad:
    return tiny()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
