"""All stages in order with the trainer that train.py uses, then save, load and generate."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from hmu.backbones.momask import build
from hmu.training.pretraining import PretrainingModule
from tests.training.make import recipe

from .conftest import motions, seeded, tiny


def fit(model, stage: str, ema: float | None = None) -> None:
    numbers = recipe(steps=2, batch_size=3, lr=1e-3, ema=ema)
    batches = DataLoader([motions([40, 24, 32])] * 2, batch_size=None)
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        callbacks=[] if ema is None else [EMAWeightAveraging(decay=ema)],
    )
    model.prepare_stage(stage, [])
    model.train()
    trainer.fit(PretrainingModule(model, stage, numbers, 2), batches, batches)
    model.eval()


@pytest.mark.filterwarnings("ignore")
def test_all_stages_train_save_load_and_generate(tmp_path):
    model = tiny(fill=False)
    model.prepare(torch.zeros(263), torch.ones(263), motions([24, 24]).captions)
    trained = {"rvq": model.rvq, "masked": model.masked, "residual": model.residual, "length": model.length}
    for stage, part in trained.items():
        before = {name: p.clone() for name, p in model.named_parameters()}
        fit(model, stage, 0.5 if stage == "masked" else None)
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        mine = {name for name, p in model.named_parameters() if any(p is q for q in part.parameters())}
        assert moved & mine
        text = {name for name in moved if name.startswith("text.")}
        assert moved <= mine | text
        assert bool(text) == (stage == "masked")
    model.save_pretrained(tmp_path)
    again = build(str(tmp_path), sampling=model.sampling)
    arguments = (["a person kicks"], torch.tensor([40]))
    motion = again.sample(*arguments, generator=seeded())
    assert torch.equal(motion, model.sample(*arguments, generator=seeded()))
    assert torch.isfinite(motion).all()
    assert int(again.estimate_lengths(["a person kicks"], seeded())) % 4 == 0
