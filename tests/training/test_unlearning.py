"""The generic runner: cycling, caching, learning, restoring, stopping, and two processes that share the work."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from hmu.errors import ConfigError
from hmu.methods.applying import applied
from hmu.methods.edit import load_edit
from hmu.training.batches import SideCache, plan
from hmu.training.unlearning import run_method
from tests.methods.fake import FakeBackbone, FakeClips
from tests.methods.make import esd, finetune, lora

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level("ERROR", "lightning.pytorch")


def clips() -> tuple[FakeClips, FakeClips]:
    return FakeClips(["kicks"], 5, seed=1), FakeClips(["walks", "waves", "stands"], 24, seed=2)


def state(backbone: FakeBackbone) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def trained_base() -> FakeBackbone:
    """A base that has learned what every verb means."""
    backbone = FakeBackbone()
    everything = FakeClips(["kicks", "walks", "waves", "stands"], 40, seed=3)
    batch = everything.batch(range(40))
    texts = [text if i % 5 else "" for i, text in enumerate(batch.texts)]  # condition dropout
    target, condition = backbone.encode_target(batch), backbone.encode_text(texts)
    optimizer = torch.optim.Adam(backbone.denoiser.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    backbone.eval()
    for _ in range(300):
        optimizer.zero_grad()
        backbone.loss(target, condition, generator).mean().backward()
        optimizer.step()
    return backbone


@torch.no_grad()
def means(backbone: FakeBackbone, verb: str) -> torch.Tensor:
    """The answer to pure noise under a verb."""
    clips = FakeClips([verb], 16, seed=9)
    batch = clips.batch(range(16))
    noisy = backbone.corrupt(backbone.encode_target(batch), torch.Generator().manual_seed(1))
    noise = torch.randn(noisy.inputs.shape, generator=torch.Generator().manual_seed(2)) * noisy.valid[..., None]
    from hmu.backbones.base import State

    pure = State(noise, torch.ones(16), noisy.target, noisy.valid)
    backbone.eval()
    return backbone.predict(pure, backbone.encode_text(batch.texts))[pure.valid].mean(0)


# -- plan and cache ----------------------------------------------------------------------------------------------------
def test_the_shorter_side_is_cycled_and_reshuffled():
    chosen = plan(5, batch=4, steps=10, seed=0)
    assert chosen.shape == (2, 10, 4)
    decks = chosen[0].flatten().view(8, 5)
    assert (decks.sort(1).values == torch.arange(5)).all()  # every pass sees every clip once
    assert len({tuple(deck.tolist()) for deck in decks}) > 4  # in another order
    assert torch.equal(chosen, plan(5, 4, 10, seed=0))
    assert not torch.equal(chosen, plan(5, 4, 10, seed=1))


def test_targets_and_prompts_are_encoded_once():
    backbone, side = FakeBackbone(), FakeClips(["kicks", "walks"], 150, seed=1)
    cache = SideCache(backbone, side, plan(150, 8, 40, seed=0))
    assert sorted(i for batch in side.batches for i in batch) == cache.used.tolist()
    for step in range(40):
        batch = cache[step]
        assert len(batch) == len(batch.condition) == 8
    assert len(backbone.encoded) == len(set(backbone.encoded)) == 4


def test_cached_minibatches_are_those_of_the_plan():
    backbone, side = FakeBackbone(), FakeClips(["kicks", "walks"], 100, seed=1)
    chosen = plan(100, 6, 30, seed=3)
    cache = SideCache(backbone, side, chosen)
    for step in (0, 17, 29):
        indices = chosen[0, step].tolist()
        direct = backbone.encode_target(side.batch(indices))
        got = cache[step]
        frames = direct.tensors["mean"].shape[1]
        assert torch.equal(got.target.lengths, direct.lengths)
        torch.testing.assert_close(got.target.tensors["mean"][:, :frames], direct.tensors["mean"])
        texts = [side.caption(i, k).text for i, k in zip(indices, chosen[1, step].tolist(), strict=True)]
        assert torch.equal(got.condition.tokens, backbone.encode_text(texts).tokens)


# -- runs ----------------------------------------------------------------------------------------------------------
METHODS = {
    "esd": lambda: esd(steps=120, batch_size=12, lr=2e-2, eta=0.0, train="all"),
    "lora": lambda: lora(steps=120, batch_size=12, lr=3e-2, eta=0.0, rank=4, alpha=8.0),
    "hinge": lambda: lora(
        steps=120, batch_size=12, lr=3e-2, forget="hinge", lambda_forget=1.0, rank=4, alpha=8.0, stop_retain=None
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_concept_goes_the_rest_stays_and_the_base_comes_back(name, tmp_path):
    backbone = trained_base()
    backbone.vae.weight.requires_grad_(False)
    backbone.train()
    before, kick, walk = state(backbone), means(backbone, "kicks"), means(backbone, "walks")
    backbone.train()
    flags = [(p.requires_grad, m.training) for m in backbone.modules() for p in m.parameters()]
    edit = run_method(METHODS[name](), backbone, *clips(), seed=0, concept="kick")
    after = state(backbone)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert flags == [(p.requires_grad, m.training) for m in backbone.modules() for p in m.parameters()]
    assert edit.concept == "kick"
    assert edit.settings["training"]["steps"] == 120
    edit.save(tmp_path / "edit")
    with applied(backbone, [(load_edit(tmp_path / "edit"), 1.0)]):
        moved = (means(backbone, "kicks") - kick).norm()
        kept = (means(backbone, "walks") - walk).norm()
    assert moved > 4 * kept
    assert moved > (0.1 if name == "hinge" else 0.3)  # a hinge is content with twice the loss, small here


def test_equal_seeds_give_equal_edits():
    def run(seed: int) -> dict[str, torch.Tensor]:
        return run_method(lora(steps=5, batch_size=4, rank=2), FakeBackbone(), *clips(), seed=seed).tensors

    first, second, other = run(0), run(0), run(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_plain_ascent_is_stopped_before_it_wrecks_the_model():
    method = lora(
        steps=400, batch_size=8, lr=5e-2, rank=4, forget="ascent", preserve="target", stop_forget=2.0, stop_window=5
    )
    edit = run_method(method, trained_base(), *clips(), seed=0)
    training = edit.settings["training"]
    assert training["steps"] < 400
    assert "times its start" in training["stopped"]


def test_finetune_runs_by_epochs():
    edit = run_method(finetune(steps=None, epochs=2, batch_size=4), FakeBackbone(), *clips(), seed=0)
    assert edit.settings["training"]["steps"] == 4  # two passes over five forget clips


def test_an_exception_in_training_still_restores_the_base(monkeypatch):
    backbone = FakeBackbone()
    before = state(backbone)
    method = lora(steps=5, batch_size=4, rank=2)

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(method, "should_stop", fail)
    method.stop_window = 1
    with pytest.raises(RuntimeError, match="no"):
        run_method(method, backbone, *clips(), seed=0)
    assert before.keys() == state(backbone).keys()
    assert all(torch.equal(value, state(backbone)[name]) for name, value in before.items())


def test_a_method_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="does not fit backbone fake"):
        run_method(esd(steps=1, variant="upstream"), FakeBackbone(), *clips())


def test_two_processes_share_every_batch_and_agree(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, sys
            sys.path.insert(0, {str(ROOT)!r})
            import torch
            torch.set_num_threads(1)
            from tests.methods.make import lora
            from hmu.training.unlearning import run_method
            from tests.methods.fake import FakeBackbone, FakeClips

            trainer = dict(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False,
                           enable_progress_bar=False, enable_model_summary=False)
            forget, retain = FakeClips(["kicks"], 5, seed=1), FakeClips(["walks", "waves"], 24, seed=2)
            edit = run_method(lora(steps=6, batch_size=8, rank=2, lr=1e-2), FakeBackbone(), forget, retain, trainer, 0)
            rank = os.environ.get("LOCAL_RANK", "0")
            torch.save(dict(edit.tensors), {str(tmp_path)!r} + f"/rank{{rank}}.pt")
            torch.save(sorted(i for batch in retain.batches for i in batch), {str(tmp_path)!r} + f"/used{{rank}}.pt")
            """
        )
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=550, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(bool(value.abs().sum() > 0) for name, value in first.items() if "lora_B" in name)
    used = [torch.load(tmp_path / f"used{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert used[0] != used[1]
