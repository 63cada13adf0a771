"""Methods run on gait as on everything else: labels are captions, the condition is empty."""

from __future__ import annotations

import pytest
import torch

from hmu.data.concepts import Concept
from hmu.data.partition import partition_by_concept
from hmu.gait.source import GaitSource
from hmu.gait.trial import write_trial
from hmu.methods.edit import applied, fingerprint, load_edit
from hmu.methods.esd import Esd
from hmu.methods.finetune import Finetune
from hmu.methods.lora import Lora
from hmu.training.unlearning import run_method
from tests.backbones.gaitdynamics.conftest import toy
from tests.gait.conftest import demo_trial


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gait")
    for number in range(3):
        for style in ("walk", "crouch"):
            write_trial(folder / "t" / f"S{number}" / style / "t.npz", demo_trial(style, 0.5, 2.0, number))
    source = GaitSource("gait", folder / "t", cache_dir=folder / "cache", stride=25)
    parts = partition_by_concept(source, "train", Concept("crouch_gait", ["crouch"]))
    return source.clips("train", parts.forget), source.clips("train", parts.retain)


@pytest.mark.parametrize(
    "method",
    [
        Lora(rank=2, alpha=2.0, forget="hinge", steps=2, batch_size=2, lr=1e-2),
        Lora(rank=2, alpha=2.0, forget="npo", steps=2, batch_size=2, lr=1e-2, dropout=0.05),
        Finetune(train="attention", steps=2, batch_size=2, lr=1e-2),
    ],
    ids=["hinge", "npo", "finetune"],
)
def test_a_trained_method_leaves_the_base_alone_and_an_edit_behind(method, sides, tmp_path):
    model = toy(decoder={"window": 150})
    before = fingerprint(model)
    edit = run_method(method, model, *sides, seed=0, concept="crouch_gait")
    assert fingerprint(model) == before
    assert edit.settings["training"]["steps"] == 2
    loaded = load_edit(edit.save(tmp_path / "edit"))
    x, time = torch.randn(1, 12, 63), torch.tensor([300])
    base = model.decoder(x, time)
    with applied(model, [(loaded, 1.0)]):
        assert not torch.equal(model.decoder(x, time), base)
    assert torch.equal(model.decoder(x, time), base)


def test_a_method_that_needs_words_is_refused_by_name(sides):
    from hmu.errors import ConfigError

    with pytest.raises(ConfigError, match="gaitdynamics offers all, attention, rest"):
        run_method(Esd(train="cross", steps=1, batch_size=2), toy(), *sides)
