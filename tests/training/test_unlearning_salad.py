"""Every trained method and variant on a real backbone of toy size; the base is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from hmu.backbones.salad.model import Salad
from hmu.data.batch import MotionBatch, length_mask
from hmu.data.captions import Caption
from hmu.methods.applying import applied
from hmu.methods.edit import fingerprint
from hmu.text.base import TextCondition, TextEncoder
from hmu.training.unlearning import run_method
from tests import published
from tests.methods.make import esd, finetune, lora


class Letters(TextEncoder):
    """One token per letter; trainable, as a compact encoder stored with its model is."""

    width = 8
    fingerprint = "letters"

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(128, self.width)

    def encode(self, texts: Sequence[str]) -> TextCondition:
        longest = max(len(text) + 1 for text in texts)
        codes = torch.zeros(len(texts), longest, dtype=torch.int64)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for i, text in enumerate(texts):
            codes[i, 1 : len(text) + 1] = torch.tensor([ord(c) % 128 for c in text], dtype=torch.int64)
            mask[i, : len(text) + 1] = True
        return TextCondition(self.table(codes), mask)


def salad() -> Salad:
    torch.manual_seed(0)
    vae = {"latent_dim": 4}
    denoiser = {"latent_dim": 8, "n_heads": 2, "n_layers": 3, "ff_dim": 8, "max_positions": 128, "time_features": 8}
    return published.backbone("salad", text=Letters(), vae=vae, denoiser=denoiser)


def clips(text: str, count: int, seed: int) -> SimpleNamespace:
    lengths = torch.randint(6, 12, (count,), generator=torch.Generator().manual_seed(seed)) * 4
    motion = torch.randn(count, 48, 263, generator=torch.Generator().manual_seed(seed))
    motion = motion * length_mask(lengths, 48)[..., None]

    def batch(indices: Sequence[int]) -> MotionBatch:
        index = torch.as_tensor(list(indices))
        return MotionBatch(motion[index], lengths[index], (Caption(text),) * len(index), ("x",) * len(index))

    class Clips(SimpleNamespace):
        def __len__(self) -> int:
            return count

    return Clips(batch=batch, lengths=lengths, caption=lambda index, which: Caption(text))


METHODS = {
    "esd": lambda: esd(steps=2, batch_size=2, anchor="a person stands"),
    "esd all": lambda: esd(steps=2, batch_size=2, train="all", preserve="target"),
    "esd upstream": lambda: esd(steps=2, batch_size=2, variant="upstream", preserve_weight=0.1, dropout=True),
    "lora": lambda: lora(steps=2, batch_size=2, rank=2),
    "lora hinge": lambda: lora(steps=2, batch_size=2, rank=2, forget="hinge", preserve="target"),
    "lora upstream": lambda: lora(steps=2, batch_size=2, rank=2, variant="upstream"),
    "finetune": lambda: finetune(steps=2, batch_size=2),
}


@pytest.mark.parametrize("name", METHODS)
def test_trained_methods_run_on_salad(name):
    backbone, method = salad(), METHODS[name]()
    before = fingerprint(backbone)
    edit = run_method(method, backbone, clips("a person kicks", 3, 1), clips("a person walks", 5, 2), seed=0)
    assert fingerprint(backbone) == before == edit.base
    assert edit.settings["training"]["steps"] == 2
    deltas = edit.deltas(backbone)
    assert any(bool(delta.abs().sum() > 0) for delta in deltas.values())
    if name.startswith("lora"):
        assert {key.removesuffix(".weight") for key in deltas} == set(backbone.adapter_targets)
    with applied(backbone, [(edit, 1.0)]):
        assert fingerprint(backbone) != before
    assert fingerprint(backbone) == before


def test_equal_generators_give_equal_motions_again_after_reverting():
    backbone = salad()
    edit = run_method(METHODS["lora"](), backbone, clips("a person kicks", 3, 1), clips("a person walks", 5, 2))

    def sample() -> torch.Tensor:
        lengths = torch.tensor([40, 44])
        texts = ["a person kicks", "a person walks"]
        return backbone.sample(texts, lengths, steps=2, generator=torch.Generator().manual_seed(0))

    first = sample()
    with applied(backbone, [(edit, 2.0)]):
        edited = sample()
    assert torch.equal(sample(), first)
    assert not torch.equal(edited, first)
