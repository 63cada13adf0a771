"""Trained methods on a BAMM of toy size: adapters learn, the edit reverts, the base is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.methods.applying import applied
from hmu.methods.edit import fingerprint
from hmu.training.unlearning import run_method
from tests.methods.make import esd, finetune, lora

from .conftest import SIZES, motions, seeded, tiny

METHODS = {
    "esd": lambda: esd(steps=2, batch_size=2, anchor="a person walks", preserve_weight=0.5),
    "esd all": lambda: esd(steps=2, batch_size=2, train="all", preserve="target"),
    "lora": lambda: lora(steps=2, batch_size=2, rank=2),
    "finetune": lambda: finetune(steps=2, batch_size=2),
}


def clips(text: str, count: int, seed: int) -> SimpleNamespace:
    lengths = torch.randint(3, 12, (count,), generator=seeded(seed)) * 4
    motion = motions(lengths.tolist()).motion

    def batch(indices: Sequence[int]) -> MotionBatch:
        index = torch.as_tensor(list(indices))
        return MotionBatch(motion[index], lengths[index], (Caption(text),) * len(index), ("x",) * len(index))

    class Clips(SimpleNamespace):
        def __len__(self) -> int:
            return count

    return Clips(batch=batch, lengths=lengths, caption=lambda index, which: Caption(text))


@pytest.mark.parametrize("unlearn", ["masked", "residual", "both"])
@pytest.mark.parametrize("name", METHODS)
def test_trained_methods_run(name, unlearn):
    backbone, method = tiny(unlearn=unlearn), METHODS[name]()
    before = fingerprint(backbone)
    edit = run_method(method, backbone, clips("a person kicks", 3, 1), clips("a person walks", 5, 2), seed=0)
    assert fingerprint(backbone) == before == edit.base
    deltas = edit.deltas(backbone)
    assert any(bool(delta.any()) for delta in deltas.values())
    assert all(key.startswith(backbone.parts) for key, delta in deltas.items() if delta.any())
    if name == "lora":
        assert {key.removesuffix(".weight") for key in deltas} == set(backbone.adapter_targets)
    with applied(backbone, [(edit, 1.0)]):
        assert fingerprint(backbone) != before
    assert fingerprint(backbone) == before


@pytest.mark.parametrize("blocks", ["official", "t2mgpt"])
def test_an_edit_changes_motions_and_leaves_no_trace(blocks):
    backbone = tiny(masked={**SIZES, "max_tokens": 12, "blocks": blocks})
    edit = run_method(METHODS["lora"](), backbone, clips("a person kicks", 3, 1), clips("a person walks", 5, 2))

    def sample() -> torch.Tensor:
        return backbone.sample(["a person kicks", "a person walks"], torch.tensor([40, 44]), generator=seeded(0))

    first = sample()
    with applied(backbone, [(edit, 300.0)]):
        edited = sample()
    assert torch.equal(sample(), first)
    assert not torch.equal(edited, first)
