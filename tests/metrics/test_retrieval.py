"""Retrieval recalls: order, batches, ties, meaning; and searching a gallery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import ConfigError, DataError
from hmu.metrics.base import EvalSamples
from hmu.metrics.motion_search import Gallery, first_ranks, search
from hmu.metrics.ncs import ncs_compute, read_records, write_records
from hmu.metrics.retrieval import dissimilar, ranks, retrieval_scores
from tests.metrics.made import made


def samples(count: int, seed: int = 0) -> EvalSamples:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(count, 6, generator=generator)
    return EvalSamples(
        text=text,
        generated=text + 0.8 * torch.randn(count, 6, generator=generator),
        sentence=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        ids=tuple(f"clip{i}" for i in range(count)),
    )


def part(whole: EvalSamples, index: torch.Tensor) -> EvalSamples:
    rows = {n: whole[n][index] for n in ("text", "generated", "sentence")}
    return EvalSamples(**rows, ids=tuple(whole["ids"][i] for i in index))


METRICS = (
    lambda: made("retrieval_all"),
    lambda: made("retrieval_small", count=5, shuffles=3),
    lambda: made("retrieval_threshold", threshold=0.8),
    lambda: made("retrieval_nsim", count=7),
)


@settings(max_examples=8, deadline=None)
@given(st.integers(9, 20), st.integers(1, 6), st.integers(0, 3))
def test_values_depend_on_neither_batch_size_nor_order(count: int, size: int, which: int) -> None:
    whole = samples(count)
    once, split = METRICS[which](), METRICS[which]()
    once.update(whole)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    for index in order.split(size):
        split.update(part(whole, index))
    assert split.compute() == pytest.approx(once.compute())


def test_names_and_direction_of_the_scores() -> None:
    metric = made("retrieval_all", ks=(1, 3))
    metric.update(samples(12))
    names = {"R01", "R03", "MedR"}
    assert set(metric.compute()) == {f"retrieval_all/{way}/{name}" for way in ("t2m", "m2t") for name in names}
    perfect = samples(12)
    exact = made("retrieval_all")
    exact.update(EvalSamples(**{**perfect, "generated": perfect["text"]}))
    assert exact.compute()["retrieval_all/t2m/R01"] == 100
    assert exact.compute()["retrieval_all/t2m/MedR"] == 1


def test_equal_motions_share_their_ranks() -> None:
    alike = torch.ones(4, 4)
    assert ranks(alike).tolist() == [1.5] * 4
    collapsed = made("retrieval_all", ks=(1,))
    text = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    collapsed.update(EvalSamples(text=text, generated=torch.ones(8, 3), ids=tuple("abcdefgh")))
    assert collapsed.compute()["retrieval_all/t2m/R01"] == 0


def test_captions_of_equal_meaning_count_for_each_other() -> None:
    similarity = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.3, 0.0], [0.0, 0.0, 1.0]])
    right = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert retrieval_scores(similarity, right)["t2m/R01"] == 100
    assert retrieval_scores(similarity)["t2m/R01"] == pytest.approx(200 / 3)


def test_dissimilar_rows_are_chosen_without_regard_to_doubles() -> None:
    sentences = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [-1, 0], [0.01, 1]]), dim=-1)
    chosen = dissimilar(sentences, 3).tolist()
    assert len({frozenset({0, 1}) & {i} or frozenset({2, 4}) & {i} or frozenset({i}) for i in chosen}) == 3
    assert 3 in chosen


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="protocol"):
        made("retrieval_all", protocol="guo")
    with pytest.raises(ConfigError, match="threshold"):
        made("retrieval_threshold", threshold=0)
    with pytest.raises(DataError, match="sentence"):
        made("retrieval_threshold").update(EvalSamples(text=torch.ones(2, 2), generated=torch.ones(2, 2)))


# -- galleries --------------------------------------------------------------------------------------------------------
def gallery(cosine: bool = True) -> Gallery:
    latents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 0.1]])
    ids = ("000001", "M000002", "000003#0", "000003#1")
    return Gallery(ids, ("a kick", "a walk", "a jump", "he kicks"), latents, cosine)


def test_search_finds_the_nearest_and_leaves_out_the_own_recording() -> None:
    query = torch.tensor([[1.0, 0.05], [0.0, 2.0]])
    found = search(query, gallery(), 2)
    assert [[hit.keyid for hit in hits] for hits in found] == [["000003#1", "000001"], ["M000002", "000003#0"]]
    assert found[0][0].to_json()["score"] == pytest.approx(0.5 + 0.5 * found[0][0].nearness)
    without = search(query, gallery(), 4, own=["000003", "000002#1"])
    assert [[hit.keyid for hit in hits] for hits in without] == [
        ["000001", "M000002"],
        ["000003#0", "000003#1", "000001"],
    ]
    assert [h[0].keyid for h in search(query, gallery(False), 1)] == ["000001", "M000002"]
    with pytest.raises(DataError, match="equally many"):
        Gallery((), (), torch.zeros(0, 2))


@pytest.mark.parametrize("own", [None, ["000001", "9", "M000003#7"]])
def test_first_ranks_agree_with_the_whole_search(own: list[str] | None, monkeypatch) -> None:
    monkeypatch.setattr("hmu.metrics.motion_search.CHUNK", 2)
    query = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    answers, named = gallery(), torch.tensor([True, False, False, True])
    expected = []
    for hits in search(query, answers, 4, own):
        rank = next((i for i, hit in enumerate(hits, 1) if "kick" in hit.description), 5)
        expected.append(min(rank, 3))
    assert first_ranks(query, answers, named, top=2, own=own).tolist() == expected


def test_records_are_read_in_both_forms_and_written_as_published(tmp_path: Path) -> None:
    retrieval = [[{"description": "a Kick"}, {"description": "kicks"}], [{"description": "walk"}, {"description": "x"}]]
    records = [{"name": "a", "repeat": r, "retrieval": found} for r, found in enumerate(retrieval)]
    write_records(tmp_path / "records.json", records, dataset_name="demo", ckpt="x", split="test")
    heading, read = read_records(tmp_path / "records.json")
    assert heading == {"dataset_name": "demo", "ckpt": "x", "split": "test"}
    assert read == records
    upstream = ncs_compute(read, ["kick"])
    assert (upstream["ncs@1"], upstream["ncs@2"], upstream["mean_rank"], upstream["min_ncs@2"]) == (0, 0.5, 2.5, 1)
    ours = ncs_compute(read, lambda text: "kick" in text.lower())
    assert ours["ncs@1"] == 0.5
    (tmp_path / "list.json").write_text('[{"name": "b"}]')
    assert read_records(tmp_path / "list.json") == ({}, [{"name": "b", "repeat": 0}])
    with pytest.raises(DataError, match="no retrieval"):
        ncs_compute([{"name": "b", "repeat": 0}], ["kick"])
    with pytest.raises(DataError, match="no retrieval"):  # no answer would count as the best rank
        ncs_compute([{"name": "b", "repeat": 0, "retrieval": []}], ["kick"])
    (tmp_path / "list.json").write_text('[{"prompt": "b"}]')
    with pytest.raises(DataError, match="no 'name'"):
        read_records(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], "list of records is empty"),
        ([{"name": "a"}, {"name": "b", "repeat": "1"}], "record 1 has repeat '1'; expected a whole number"),
        ([{"name": "a", "files": "foo.npy"}], "record 0 has files 'foo.npy'"),
        ([{"name": ["a"]}], "record 0 has no 'name'"),
    ],
)
def test_records_of_another_kind_are_refused(tmp_path: Path, records: list, expected: str) -> None:
    (tmp_path / "list.json").write_text(json.dumps(records))
    with pytest.raises(DataError, match=expected):
        read_records(tmp_path / "list.json")
