"""Edits: exact reverting, composition in any order, strength, PEFT compatibility, and files that are wrong."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import CheckpointError
from hmu.methods.applying import applied, merged
from hmu.methods.edit import AdapterEdit, DeltaEdit, fingerprint, load_edit, load_edits

from .fake import WIDTH, FakeBackbone

LAYERS = ["cross_attn.Wq", "cross_attn.Wk", "cross_attn.Wv", "cross_attn.Wo"]


def delta_edit(seed: int, backbone: FakeBackbone | None = None) -> DeltaEdit:
    g = torch.Generator().manual_seed(seed)
    names = {"cross_attn.Wk.weight": (WIDTH, WIDTH), "cross_attn.Wk.bias": (WIDTH,), "offset": (1,)}
    deltas = {name: torch.randn(shape, generator=g) for name, shape in names.items()}
    return DeltaEdit(deltas, method="esd", concept="kick", base=fingerprint(backbone) if backbone else "")


def adapter_edit(seed: int, rank: int = 2, alpha: float = 4.0) -> AdapterEdit:
    g = torch.Generator().manual_seed(seed)
    factors = {n: (torch.randn(rank, WIDTH, generator=g), torch.randn(WIDTH, rank, generator=g)) for n in LAYERS}
    return AdapterEdit(factors, alpha=alpha, method="lora", concept="kick")


def snapshot(backbone: FakeBackbone) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


EDITS = st.lists(st.tuples(st.integers(0, 99), st.booleans(), st.floats(-3, 3)), min_size=1, max_size=4)


def build(drawn: list[tuple[int, bool, float]]) -> list[tuple[DeltaEdit | AdapterEdit, float]]:
    return [(adapter_edit(seed) if adapter else delta_edit(seed), scale) for seed, adapter, scale in drawn]


@settings(max_examples=15, deadline=None)
@given(EDITS)
def test_reverting_is_bit_identical(drawn):
    backbone = FakeBackbone()
    before = snapshot(backbone)
    with applied(backbone, build(drawn)):
        pass
    assert same(before, snapshot(backbone))


@settings(max_examples=15, deadline=None)
@given(EDITS, st.randoms(use_true_random=False))
def test_the_order_of_edits_does_not_matter(drawn, random):
    backbone, edits = FakeBackbone(), build(drawn)
    with applied(backbone, edits):
        first = snapshot(backbone)
    random.shuffle(edits)
    with applied(backbone, edits):
        second = snapshot(backbone)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-6, atol=1e-6)


def test_strength_zero_is_the_identity_and_strengths_add_up():
    backbone = FakeBackbone()
    before = snapshot(backbone)
    edit = adapter_edit(1)
    with applied(backbone, [(edit, 0.0), (delta_edit(2), 0.0)]):
        assert same(before, snapshot(backbone))
    with applied(backbone, [(edit, 0.7)]):
        once = snapshot(backbone)
    with applied(backbone, [(edit, 0.4), (edit, 0.3)]):
        twice = snapshot(backbone)
    assert not same(before, once)
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-6, atol=1e-6)


def test_an_exception_inside_the_block_still_reverts():
    backbone = FakeBackbone()
    before = snapshot(backbone)
    with pytest.raises(RuntimeError), applied(backbone, [(delta_edit(1), 1.0)]):
        raise RuntimeError
    assert same(before, snapshot(backbone))


def test_adapter_delta_is_alpha_over_rank_times_ba():
    edit = adapter_edit(3, rank=2, alpha=5.0)
    a, b = edit.factors[LAYERS[0]]
    expected = 2.5 * b.double() @ a.double()
    torch.testing.assert_close(edit.deltas(FakeBackbone())[f"{LAYERS[0]}.weight"], expected)


@pytest.mark.parametrize("make", [delta_edit, adapter_edit])
def test_saved_edits_come_back_equal_and_replace_an_older_one(make, tmp_path):
    backbone = FakeBackbone()
    make(7).save(tmp_path / "run" / "edit")
    edit = make(8)
    edit.settings = {"lr": 0.1}
    edit.save(tmp_path / "run" / "edit")
    again = load_edit(tmp_path / "run")  # a run folder is as good as the edit's own
    assert (again.method, again.concept, again.settings) == (edit.method, "kick", {"lr": 0.1})
    expected, found = edit.deltas(backbone), again.deltas(backbone)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["edit"]


def test_half_precision_files_are_half_as_big(tmp_path):
    edit = delta_edit(1)
    edit.save(tmp_path / "e", dtype=torch.float16)
    again = load_edit(tmp_path / "e")
    assert sum(t.nbytes for t in again.tensors.values()) * 2 == sum(t.nbytes for t in edit.tensors.values())
    for name, delta in edit.deltas(FakeBackbone()).items():
        torch.testing.assert_close(again.deltas(FakeBackbone())[name], delta, rtol=1e-3, atol=1e-3)


def test_peft_itself_loads_the_adapter_and_computes_the_same(tmp_path):
    from peft import PeftModel

    edit = adapter_edit(4)
    edit.save(tmp_path / "e")
    backbone, x = FakeBackbone(), torch.randn(2, 5, 3)
    backbone.eval()
    condition = backbone.encode_text(["a person kicks", "a person walks"])
    arguments = (x, torch.tensor([0.2, 0.9]), condition.tokens, condition.mask)
    with applied(backbone, [(edit, 1.0)]), torch.no_grad():
        ours = backbone.denoiser(*arguments)
    theirs = PeftModel.from_pretrained(FakeBackbone().denoiser.eval(), str(tmp_path / "e"))
    with torch.no_grad():
        torch.testing.assert_close(theirs(*arguments), ours, rtol=1e-5, atol=1e-5)


def test_a_bare_peft_folder_is_accepted(tmp_path):
    adapter_edit(4).save(tmp_path / "e")
    (tmp_path / "e" / "edit.json").unlink()
    assert load_edit(tmp_path / "e").deltas(FakeBackbone()).keys() == {f"{layer}.weight" for layer in LAYERS}


def test_merged_edits_equal_the_composition(tmp_path):
    backbone, edits = FakeBackbone(), [(delta_edit(1), 0.5), (adapter_edit(2), -1.0)]
    with applied(backbone, edits):
        together = snapshot(backbone)
    merged(backbone, edits).save(tmp_path / "m")
    with applied(backbone, [(load_edit(tmp_path / "m"), 1.0)]):
        for name, value in snapshot(backbone).items():
            torch.testing.assert_close(value, together[name], rtol=1e-5, atol=1e-6)


def test_strengths_on_the_command_line(tmp_path):
    delta_edit(1).save(tmp_path / "a")
    pairs = load_edits([str(tmp_path / "a"), f"{tmp_path / 'a'}:0.25", f"{tmp_path / 'a'}:-1"])
    assert [scale for _, scale in pairs] == [1.0, 0.25, -1.0]


def test_other_base_weights_are_refused_or_warned_about(caplog):
    edit = delta_edit(1, FakeBackbone(seed=0))
    other = FakeBackbone(seed=1)
    before = snapshot(other)
    with pytest.raises(CheckpointError, match="other weights"), applied(other, [(delta_edit(2), 1.0), (edit, 1.0)]):
        pass
    assert same(before, snapshot(other))
    with applied(other, [(edit, 1.0)], strict=False):
        assert "other weights" in caplog.text
    with applied(FakeBackbone(seed=0), [(edit, 1.0)]):
        pass


def test_names_and_shapes_of_another_backbone_are_refused():
    backbone = FakeBackbone()
    with pytest.raises(CheckpointError, match=r"changes 'nowhere\.weight'"):
        DeltaEdit({"nowhere.weight": torch.zeros(2)}).deltas(backbone)
    with pytest.raises(CheckpointError, match="has shape"):
        DeltaEdit({"offset": torch.zeros(2)}).deltas(backbone)


def damage_bytes(folder):
    path = folder / "deltas.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def damage_kind(folder):
    meta = json.loads((folder / "edit.json").read_text())
    (folder / "edit.json").write_text(json.dumps(meta | {"kind": "magic"}))


def damage_without_checksum(folder):
    (folder / "edit.json").write_text('{"schema": 1, "kind": "delta"}')
    (folder / "deltas.safetensors").write_bytes(b"\x00" * 40)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_bytes, "corrupt"),
        (damage_kind, "kind"),
        (damage_without_checksum, "not a readable safetensors file"),
        (lambda f: (f / "deltas.safetensors").unlink(), "missing"),
        (lambda f: (f / "edit.json").write_text("{"), "broken JSON"),
        (lambda f: (f / "edit.json").write_text("[]"), "no JSON object"),
        (lambda f: (f / "edit.json").unlink(), "holds no edit"),
    ],
)
def test_damaged_edits_say_what_is_wrong_in_one_line(damage, message, tmp_path):
    folder = delta_edit(1).save(tmp_path / "e")
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_edit(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no edit at"):
        load_edit(tmp_path / "nothing")


@pytest.mark.parametrize("key", ["use_dora", "use_rslora"])
def test_lora_variants_with_another_delta_are_refused(key, tmp_path):
    folder = adapter_edit(1).save(tmp_path / "e")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {key: True}))
    with pytest.raises(CheckpointError, match=key):
        load_edit(folder)
