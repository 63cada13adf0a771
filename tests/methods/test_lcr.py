"""LCR: tables of codes, counts and rankings, destinations, noise, lists, the report, and that the base comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import ConfigError, DataError, MissingExtra
from hmu.methods.applying import applied
from hmu.methods.codebook import table as codes_module
from hmu.methods.codebook.encoding import encode, windows
from hmu.methods.codebook.ranking import best, log_odds, presence, published_choice, published_ratios, tokens, usage
from hmu.methods.codebook.rows import joined_lists
from hmu.methods.codebook.table import CodeTable, trimmed
from hmu.methods.edit import fingerprint
from hmu.methods.lcr import Lcr
from tests.methods.make import lcr

from .fake import FakeBackbone
from .fake_edits import CODES, KICK, LAYERS, UNIT, CodeBackbone, CodeClips


def table(rows: int = 4) -> CodeTable:
    codes = np.arange(rows * 6, dtype=np.int16).reshape(rows, 2, 3) % 5
    codes[-1, :, 2] = -1
    names = tuple(f"00{row}" for row in range(rows))
    return CodeTable(names, ("0",) * rows, ('says "hi", waves', *["ö"] * (rows - 1)), codes)


class Noted(torch.nn.Module):
    """Keeps something that is no tensor with its weights, as SALAD keeps its scale."""

    def get_extra_state(self) -> dict[str, float]:
        return {"scale": 1.0}


def sides(count: int = 12) -> tuple[CodeClips, CodeClips]:
    return CodeClips(["kicks"], count, seed=1, names="f"), CodeClips(["walks", "stands"], 2 * count, seed=2, names="r")


def edited(method: Lcr, backbone: CodeBackbone, seed: int = 0):
    return method.edit(backbone, *sides(), KICK, torch.Generator().manual_seed(seed))


def test_codes_are_kept_by_variant_and_a_state_may_hold_more_than_tensors(tmp_path):
    clips, backbone = CodeClips(["kicks", "walks"], 6), CodeBackbone()
    backbone.register_module("noted", Noted())
    made = encode(backbone, clips, folder=tmp_path)
    backbone.encode_codes = None  # read back: nothing is encoded
    assert np.array_equal(encode(backbone, clips, folder=tmp_path).codes, made.codes)
    backbone.variant = "upstream"
    with pytest.raises(TypeError, match="NoneType"):
        encode(backbone, clips, folder=tmp_path)


# -- tables ------------------------------------------------------------------------------------------------------------
def test_csv_has_the_published_columns_and_survives_a_round_trip(tmp_path):
    path = table().save(tmp_path / "codes.csv")
    assert (
        path.read_text("utf-8").splitlines()[0]
        == "name,rep,text,codes_0:0,codes_0:1,codes_0:2,codes_1:0,codes_1:1,codes_1:2"
    )
    again = CodeTable.load(path)
    assert again.names == ("000", "001", "002", "003")  # leading zeros
    assert again.texts == table().texts
    assert np.array_equal(again.codes, table().codes)


def test_parquet_survives_a_round_trip(tmp_path):
    pytest.importorskip("pyarrow")
    again = CodeTable.load(table().save(tmp_path / "codes.parquet"))
    assert again.names == table().names
    assert np.array_equal(again.codes, table().codes)


def test_parquet_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"hmu\[parquet\]"):
        table().save(tmp_path / "codes.parquet")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name,rep,text,codes_0:0\n1,0,a\n", "line 2: 3 cells"),
        ("name,rep,text,codes_0:0\n1,0,a,x\n", "no code"),
        ("name,rep,text\n1,0,a\n", "expected the columns"),
        ("name,rep,text,codes_0:1,codes_0:0\n1,0,a,1,2\n", "expected the columns"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, text, what):
    (tmp_path / "codes.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        CodeTable.load(tmp_path / "codes.csv")
    with pytest.raises(DataError, match="no such table"):
        CodeTable.load(tmp_path / "nothing.csv")


def test_every_clip_is_encoded_once_and_has_the_codes_it_has_alone():
    backbone, clips = CodeBackbone(), CodeClips(["kicks", "walks"], 9)
    found = encode(backbone, clips, batch_size=4)
    assert backbone.encoded_batches == 3
    assert found.names == clips.ids
    for row in range(9):
        alone = backbone.encode_codes(clips.batch([row]))[0].T.numpy()
        assert np.array_equal(trimmed(found.codes[[row]])[0], trimmed(alone[None])[0])


def test_only_the_layers_that_are_ranked_are_encoded():
    backbone, clips = CodeBackbone(), CodeClips(["kicks", "walks"], 9)
    everything = encode(backbone, clips)
    assert np.array_equal(encode(backbone, clips, layers=1).codes, everything.codes[:, :1])
    asked = lcr(layers=[0]).statistics(backbone, clips, clips)[0], lcr().statistics(backbone, clips, clips, True)[0]
    assert [found.layers for found in asked] == [1, LAYERS]


def test_random_windows_are_as_published_and_equal_ones_are_encoded_once(tmp_path):
    backbone, clips = CodeBackbone(), CodeClips(["kicks", "walks"], 9)
    start, lengths = windows(clips, 400)
    whole = clips.lengths[:, None] // UNIT * UNIT
    assert ((start >= 0) & (start + lengths <= clips.lengths[:, None])).all()
    assert set(np.unique(whole - lengths)) <= {0, UNIT}
    long = clips.lengths >= 2 * UNIT
    assert abs((whole - lengths)[long].astype(bool).mean() - 1 / 3) < 0.05
    again = windows(clips.subset([5, 2]), 400)
    assert np.array_equal(again[0], start[[5, 2]])
    assert np.array_equal(again[1], lengths[[5, 2]])

    found = encode(backbone, clips, batch_size=1, crops=20)
    keys = {(i, a, n) for i, row in enumerate(zip(*windows(clips, 20), strict=True)) for a, n in zip(*row, strict=True)}
    assert backbone.encoded_batches == len(keys) < 9 * 20
    assert found.names == tuple(name for name in clips.ids for _ in range(20))
    assert found.repeats == tuple(str(i) for i in range(20)) * 9
    start, lengths = windows(clips, 20)
    for row in (0, 33, 179):
        i, k = divmod(row, 20)
        batch = clips.windows(np.array([i]), start[i, [k]], lengths[i, [k]])
        alone = backbone.encode_codes(batch)[0].T.numpy()
        assert np.array_equal(trimmed(found.codes[[row]])[0], trimmed(alone[None])[0])
    assert np.array_equal(encode(backbone, clips.subset([8, 1]), folder=tmp_path, crops=20).repeats, found.repeats[:40])
    cached = encode(backbone, clips, folder=tmp_path, crops=20)
    assert np.array_equal(cached.codes, found.codes)


def test_clips_are_encoded_once_for_all_concepts(tmp_path):
    backbone, clips = CodeBackbone(), CodeClips(["kicks", "walks"], 9)
    first = encode(backbone, clips.subset([0, 3, 4]), folder=tmp_path)
    count = backbone.encoded_batches
    second = encode(backbone, clips, folder=tmp_path)
    assert backbone.encoded_batches == count + 1
    assert encode(backbone, clips.subset([4, 8, 0]), folder=tmp_path).names == ("x004", "x008", "x000")
    assert backbone.encoded_batches == count + 1
    assert np.array_equal(trimmed(second.codes[[0, 3, 4]]), trimmed(first.codes))
    assert np.array_equal(second.codes, encode(backbone, clips).codes)
    with torch.no_grad():
        backbone.books.codebook1 += 1
    encode(backbone, clips, folder=tmp_path)
    assert backbone.encoded_batches > count + 2  # other weights, other codes
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    assert np.array_equal(encode(backbone, clips, folder=tmp_path).codes, encode(backbone, clips).codes)


# -- counting ----------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_counts_agree_with_a_loop(seed):
    random = np.random.default_rng(seed)
    codes = random.integers(-1, 7, (6, 5)).astype(np.int16)
    assert presence(codes, 7).tolist() == [sum(c in row for row in codes) for c in range(7)]
    assert tokens(codes, 7).tolist() == [int((codes == c).sum()) for c in range(7)]


def test_the_prior_keeps_rare_codes_behind_well_founded_ones():
    codes = np.full((200, 1), 0, np.int16)
    codes[:40, 0] = 1  # in 40 of 50 forget clips, 0 of 150 others
    codes[40, 0] = 2  # in one forget clip only
    found = usage(codes, np.arange(200) < 50, 4)
    ratio, z = log_odds(found, 10.0)
    assert ratio[1] > ratio[2] > 0 > ratio[0]
    assert z[1] > z[2]
    assert ratio[3] == z[3] == 0  # seen nowhere
    raw, normalised = published_ratios(found)
    assert raw[1] > raw[2]
    assert best(normalised, 2) == [1, 2]


def test_log_odds_have_no_sign_where_both_sides_are_alike():
    codes = np.tile(np.array([[0, 1], [2, 3]], np.int16), (10, 1))
    ratio, _ = log_odds(usage(codes, np.arange(20) < 10, 4), 5.0)
    assert np.abs(ratio).max() < 1e-12


def test_ties_go_to_the_smaller_code():
    assert best(np.array([1.0, 3.0, 3.0, 2.0, 3.0]), 2) == [1, 2]
    codes = np.array([[4, 2, 3], [0, 0, 0]], np.int16)
    assert published_choice(usage(codes, np.array([True, False]), 6), 2) == [2, 3]


# -- the edit ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": [0, 1, 2]},
        {"destination": "code"},
        {"destination": "code", "noise": "edit"},
        {"destination": "orthogonal", "alpha": 0.7},
        {"ranking": "z_score", "noise": "edit", "alpha": 0.1},
        {"variant": "upstream", "destination": "code", "layers": [0, 1]},
        {"variant": "upstream", "destination": "orthogonal"},
    ],
    ids=str,
)
def test_only_listed_rows_change_and_the_base_comes_back(options, tmp_path):
    backbone = CodeBackbone()
    before = fingerprint(backbone)
    method = lcr(codes=2, **options)
    edit = edited(method, backbone)
    assert edit.base == before
    told = edit.settings["codes_found"]["layers"]
    assert sorted(told) == [str(layer) for layer in method.layers]
    for layer, facts in told.items():
        changed = edit.tensors[f"codebook{layer}"].abs().sum(1).nonzero()[:, 0].tolist()
        assert set(changed) <= set(facts["codes"])
        assert facts["forget_token_share"] > facts["retain_token_share"] or method.variant == "upstream" or layer != "0"
    with applied(backbone, [(edit, 1.0)]):
        assert fingerprint(backbone) != before
    assert fingerprint(backbone) == before


def test_listed_codes_become_the_nearest_code_that_retain_clips_use():
    backbone = CodeBackbone()
    method = lcr(codes=2)
    edit = edited(method, backbone)
    (facts,) = edit.settings["codes_found"]["layers"].values()
    found, mask = method.statistics(backbone, *sides())
    counts = usage(found.codes[:, 0], mask, CODES)
    book = backbone.books.codebook0
    scores = log_odds(counts, method.prior)[0]
    safe = [c for c in range(CODES) if counts.rest[c] and scores[c] <= 0 and c not in facts["codes"]]
    for code in facts["codes"]:
        assert counts.forget[code] >= 2
        wanted = min(safe, key=lambda other: float((book[other] - book[code]).norm()))
        torch.testing.assert_close(book[code] + edit.tensors["codebook0"][code], book[wanted])


def test_one_code_for_all_is_the_most_used_safe_one_or_the_asked_one():
    backbone = CodeBackbone()
    edit = edited(lcr(codes=2, destination="code"), backbone)
    (facts,) = edit.settings["codes_found"]["layers"].values()
    new = backbone.books.codebook0 + edit.tensors["codebook0"]
    assert torch.equal(new[facts["codes"][0]], new[facts["codes"][1]])
    other = next(c for c in range(CODES) if c not in facts["codes"])
    asked = edited(lcr(codes=2, destination="code", target_code=other), backbone)
    row = backbone.books.codebook0[other]
    torch.testing.assert_close((backbone.books.codebook0 + asked.tensors["codebook0"])[facts["codes"][0]], row)
    with pytest.raises(ConfigError, match="itself to be replaced"):
        edited(lcr(codes=2, destination="code", target_code=facts["codes"][0]), backbone)


def test_orthogonal_rows_lose_their_common_part():
    backbone = CodeBackbone()
    edit = edited(lcr(codes=3, layers=[1], destination="orthogonal"), backbone)
    (facts,) = edit.settings["codes_found"]["layers"].values()
    mean = backbone.books.codebook1[facts["codes"]].mean(0)
    left = (backbone.books.codebook1 + edit.tensors["codebook1"])[facts["codes"]] @ mean
    assert float(left.abs().max()) < 1e-5


def test_noise_per_sample_is_a_deviation_per_replaced_code():
    backbone = CodeBackbone()
    edit = edited(lcr(codes=2, noise="sample", alpha=0.5), backbone)
    (facts,) = edit.settings["codes_found"]["layers"].values()
    with applied(backbone, [(edit, 1.0)]):
        noise = backbone.codebook_noise()["noise0"].clone()
    assert noise.nonzero()[:, 0].tolist() == sorted(facts["codes"])
    assert float(noise.max()) == pytest.approx(0.5 * float(backbone.books.codebook0.std()), rel=1e-5)
    assert not bool(backbone.codebook_noise()["noise0"].any())
    assert "noise per decoded token" in str(lcr(noise="sample").fits(CodeBackbone(noisy=False)))


def test_equal_seeds_give_equal_noise():
    backbone, method = CodeBackbone(), lcr(codes=2, noise="edit")
    one, same, other = (edited(method, backbone, seed).tensors["codebook0"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_lists_of_several_concepts_are_joined(tmp_path):
    (tmp_path / "a.yaml").write_text("- [3, 1]\n")
    (tmp_path / "b.yaml").write_text("- [1, 5]\n- [2]\n")
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert joined_lists(paths) == [[3, 1, 5], [2]]
    assert joined_lists(paths, keep_duplicates=True) == [[3, 1, 1, 5], [2]]
    edit = edited(lcr(lists=[str(p) for p in paths], layers=[0, 2]), CodeBackbone())
    assert edit.settings["codes_found"]["layers"]["0"]["codes"] == [3, 1, 5]
    with pytest.raises(ConfigError, match="codes of 2 layers"):
        edited(lcr(lists=[str(p) for p in paths]), CodeBackbone())
    (tmp_path / "c.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="one list of codes per layer"):
        joined_lists([tmp_path / "c.yaml"])


def test_findings_can_be_joined_again(tmp_path):
    backbone, method = CodeBackbone(), lcr(codes=3, layers=[0, 1])
    edit = edited(method, backbone)
    files = method.save_findings(tmp_path)
    lists = yaml.safe_load(files[0].read_text())
    assert lists == [sorted(layer["codes"]) for layer in edit.settings["codes_found"]["layers"].values()]
    assert json.loads(files[1].read_text())["forget_rows"] == 12
    again = edited(lcr(lists=[str(files[0])], layers=[0, 1]), backbone)
    assert all(torch.equal(again.tensors[name], edit.tensors[name]) for name in edit.tensors)


def test_a_given_table_replaces_the_pass_over_the_data(tmp_path):
    backbone = CodeBackbone()
    method = lcr(codes=2)
    found, _ = method.statistics(backbone, *sides())
    path = found.save(tmp_path / "codes.csv")
    count = backbone.encoded_batches
    edit = edited(lcr(codes=2, table=str(path)), backbone)
    assert backbone.encoded_batches == count
    assert torch.equal(edit.tensors["codebook0"], edited(method, backbone).tensors["codebook0"])
    table(3).save(tmp_path / "other.csv")
    with pytest.raises(DataError, match="no clip of the forget side"):
        edited(lcr(table=str(tmp_path / "other.csv")), backbone)


def test_layers_that_share_a_codebook_change_it_together():
    backbone = CodeBackbone()
    backbone.codebooks = lambda: {"codebook0": backbone.books.codebook0}  # type: ignore[method-assign]
    backbone.encode_codes = lambda batch, layers=None: CodeBackbone.encode_codes(CodeBackbone(), batch, layers)  # type: ignore[method-assign]
    edit = edited(lcr(codes=2, layers=[0, 1]), backbone)
    listed = {code for layer in edit.settings["codes_found"]["layers"].values() for code in layer["codes"]}
    assert set(edit.tensors) == {"codebook0"}
    assert set(edit.tensors["codebook0"].abs().sum(1).nonzero()[:, 0].tolist()) == listed


def test_a_backbone_without_codebooks_is_refused_with_the_reason():
    assert "no codebook" in str(lcr().fits(FakeBackbone))
    assert lcr().fits(CodeBackbone) is None
    assert lcr(noise="sample").fits(CodeBackbone()) is None


def test_layers_that_do_not_exist_are_named():
    with pytest.raises(ConfigError, match=f"layers 0 to {LAYERS - 1}"):
        edited(lcr(layers=[5]), CodeBackbone())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"codes": 0}, "codes"),
        ({"layers": []}, "layers"),
        ({"layers": [1, 1]}, "layers"),
        ({"prior": 0.0}, "prior"),
        ({"destination": "zero"}, "method.destination=zero"),
        ({"destination": "orthogonal", "noise": "edit"}, "no meaning"),
    ],
)
def test_impossible_values_are_refused(options, what):
    with pytest.raises(ConfigError, match=what):
        lcr(**options)


def test_nothing_to_choose_is_said():
    with pytest.raises(ConfigError, match="lower it"):
        lcr(min_support=0.99).edit(CodeBackbone(), *sides(60)[::-1], KICK)
    assert codes_module.NONE == -1
