from __future__ import annotations

import json

import pytest
import torch

from hmu.backbones.bamm import Bamm, build
from hmu.backbones.bamm.options import SamplingOptions
from hmu.backbones.momask import MoMask
from hmu.errors import CheckpointError, ConfigError
from tests import published

from .conftest import RVQ, SIZES, motions, seeded, tiny

LENGTHS = torch.tensor([40, 16])
TEXTS = ["a person kicks", "a person waves"]


def momask(tmp_path):
    """A MoMask folder with the sizes of :func:`tiny`."""
    donor = tiny()

    sizes = {"rvq": RVQ, "masked": SIZES, "residual": SIZES, "min_frames": 8, "max_frames": 48}
    model = published.backbone("momask", text=donor.text, **sizes)
    model.rvq.load_state_dict(donor.rvq.state_dict())
    model.residual.load_state_dict(donor.residual.state_dict())
    model.statistics.load_state_dict(donor.statistics.state_dict())
    return model.eval(), model.save_pretrained(tmp_path / "momask")


@pytest.mark.parametrize("blocks", ["official", "t2mgpt"])
def test_a_folder_gives_the_same_model(tmp_path, blocks):
    model = tiny(masked={**SIZES, "max_tokens": 12, "blocks": blocks}, unlearn="residual")
    again = Bamm.load_pretrained(model.save_pretrained(tmp_path / "m"))
    assert (again.unlearn, again.masked.options, again.sampling) == ("residual", model.masked.options, model.sampling)
    runs = [m.sample(TEXTS, LENGTHS, generator=seeded(1)) for m in (model, again)]
    assert torch.equal(*runs)
    assert not any(p.requires_grad for p in again.text.parameters())
    assert again.provenance()["format"] == "hmu"


def test_half_precision_halves_the_file(tmp_path):
    model = tiny()
    full, half = (model.save_pretrained(tmp_path / d, d) for d in ("float32", "float16"))
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (full, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert torch.equal(Bamm.load_pretrained(half).statistics.std, model.statistics.std)


def test_settings_may_be_replaced_on_loading(tmp_path):
    folder = tiny().save_pretrained(tmp_path / "m")
    model = build(
        str(folder), sampling=published.options(SamplingOptions, guidance=7.0), unlearn="masked", variant="upstream"
    )
    assert (model.sampling.guidance, model.unlearn, model.variant) == (7.0, "masked", "upstream")
    with pytest.raises(ConfigError, match=r"backbone.features=251, but .* generates 263"):
        build(str(folder), features=251)


def test_families_refuse_each_other_by_name(tmp_path):
    _, folder = momask(tmp_path)
    with pytest.raises(CheckpointError, match="holds a 'momask' model, expected 'bamm'; choose backbone=momask"):
        Bamm.load_pretrained(folder)
    with pytest.raises(CheckpointError, match="holds a 'bamm' model, expected 'momask'; choose backbone=bamm"):
        MoMask.load_pretrained(tiny().save_pretrained(tmp_path / "bamm"))


def test_damaged_folders_are_refused_in_one_line(tmp_path):
    folder = tiny().save_pretrained(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "surprise": 1}))
    with pytest.raises(CheckpointError, match="written by another version"):
        Bamm.load_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**config, "masked": {**config["masked"], "ff_size": 32}}))
    with pytest.raises(CheckpointError, match=r"has another shape for 'masked\.seqTransEncoder"):
        Bamm.load_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        build(str(tmp_path / "nowhere"))


# -- on a trained MoMask -----------------------------------------------------------------------------
def test_borrows_everything_but_its_own_transformer(tmp_path):
    donor, folder = momask(tmp_path)
    model = published.backbone("bamm", text=None, masked={**SIZES, "max_tokens": 12}, rvq_from=str(folder))
    model.prepare(torch.zeros(263), torch.ones(263), ["some words"])
    batch = motions([40, 16])
    assert torch.equal(model.encode_codes(batch), donor.encode_codes(batch))
    for name in ("residual", "statistics", "text"):
        for key, value in getattr(donor, name).state_dict().items():
            assert torch.equal(getattr(model, name).state_dict()[key], value), key
    assert model.text.vocabulary == donor.text.vocabulary
    parameters = list(model.stage_parameters("masked"))
    assert {id(p) for p in parameters} == {id(p) for p in model.masked.parameters()}
    model.train()
    model.stage_loss("masked", batch, seeded(1))["loss"].backward()
    assert all(p.grad is None for p in model.text.parameters())
    assert model.sample(TEXTS, LENGTHS, generator=seeded(1)).shape == (2, 40, 263)
    again = Bamm.load_pretrained(model.save_pretrained(tmp_path / "trained"))
    assert {id(p) for p in again.stage_parameters("masked")} == {id(p) for p in again.masked.parameters()}


def test_borrows_from_a_run_folder_and_from_bamm(tmp_path):
    tiny().save_pretrained(tmp_path / "run" / "model")
    model = published.backbone("bamm", text=None, masked={**SIZES, "max_tokens": 12}, rvq_from=str(tmp_path / "run"))
    assert model.provenance()["tokenizer"]["model"]["file"].endswith("model")
    with pytest.raises(CheckpointError, match=r"rvq_from=.*no model folder of ours"):
        published.backbone("bamm", text=None, rvq_from=str(tmp_path))
