"""What is generated instead, and the numbers of a gallery's answers."""

from __future__ import annotations

import torch

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.evaluation.counting import Resampling, Tally
from hmu.evaluation.gallery import NcsGallery, rank_rows
from hmu.evaluation.sets import PromptSet
from hmu.metrics.motion_search import Gallery, Hit
from hmu.motion.representation import HUMANML3D, Representation, skeleton_representation
from hmu.report.confusion import NOTHING, Confusion, confusion_markdown, confusions, label_of_each
from tests.evaluation.toy import Words

KICK = Concept("kick", ("kick",))


def prompts(count: int = 3, representation: Representation = HUMANML3D) -> PromptSet:
    captions = tuple(Caption("a man kicks") for _ in range(count))
    return PromptSet("forget", captions, torch.full((count,), 40), None, {}, representation)


def test_one_label_per_motion_the_concept_first_then_the_rarest() -> None:
    seen = {"walk": torch.tensor([1, 1, 0, 1]), "kick": torch.tensor([1, 0, 0, 0]), "turn": torch.tensor([0, 0, 0, 1])}
    common = {"walk": 0.75, "kick": 0.25, "turn": 0.2}
    assert label_of_each(seen, "kick", common, NOTHING) == ["kick", "walk", NOTHING, "turn"]


def test_confusion_counts_pairs_and_leaves_empty_rows_out_of_the_table() -> None:
    table = Confusion.of(["kick", "kick", "walk"], ["walk", "kick", "turn"], "kick")
    assert table.labels[0] == "kick"
    assert sum(map(sum, table.counts)) == 3
    index = {label: i for i, label in enumerate(table.labels)}
    assert table.counts[index["kick"]][index["walk"]] == 1
    lines = table.markdown("base", "unlearned")
    assert len(lines) == 4  # head, rule, kick, walk: nothing was a turn before
    assert "turn" in lines[0]


def test_everything_is_reported_about_a_set() -> None:
    motions = {name: [torch.randn(3, 40, 263) * 0.01] for name in ("base", "unlearned")}
    hits = {"base": [[[Hit(0, "1", "he kicks", 0.9)]] * 3], "unlearned": [[[Hit(1, "2", "she walks", 0.9)]] * 3]}
    actions = {"kick": Concept("kick", ("kick",), detector="kick"), "walk": Concept("walk", ("walk",), detector="walk")}
    content = confusions(prompts(), motions, hits, KICK, actions)
    assert content["captions"]["unlearned"]["labels"] == ["kick", "walk"]
    assert content["captions"]["unlearned"]["counts"] == [[0, 3], [0, 0]]
    assert torch.tensor(content["seen"]["unlearned"]["counts"]).sum() == 3
    assert content["nearest"]["unlearned"] == [{"caption": "she walks", "share": 1.0}]
    text = "\n".join(confusion_markdown(content))
    assert "| kick | 3 | 3 |" in text
    assert "“she walks” 100 %" in text


def test_a_skeleton_without_rules_and_no_gallery_leave_both_tables_out() -> None:
    content = confusions(prompts(3, skeleton_representation(35)), {"base": [torch.zeros(3, 40, 35)]}, {}, KICK, {})
    assert "seen" not in content
    assert "captions" not in content
    assert len(confusion_markdown(content)) == 2


def test_ranks_become_rows_with_the_best_over_repeats() -> None:
    ranks = torch.tensor([[1, 4, 101], [2, 1, 101]])
    rows = {one.row.metric: one for one in rank_rows(Tally("base", "forget", Resampling(3, 50)), ranks)}
    assert rows["ncs@1"].row.values == (1 / 3, 1 / 3)
    assert rows["ncs@5"].row.value == 2 / 3
    assert rows["median_rank"].row.values == (4, 2)
    assert rows["mean_rank"].draws is not None
    assert rows["ncs@1"].row.direction == "lower"


def test_answers_of_the_forget_side_are_searched_and_recorded() -> None:
    latents = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    gallery = NcsGallery(Gallery(("1", "2"), ("a kick", "a walk"), latents), Words())
    embeddings = [torch.tensor([[1.0, 0.1], [0.1, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0]] * 3)]
    tally = Tally("base", "forget", Resampling(3, 0))
    rows = {one.row.metric: one.row for one in gallery.measured(tally, prompts(), embeddings, KICK)}
    assert rows["ncs@1"].values == (2 / 3, 1)
    assert rows["min_ncs@1"].value == 1
    records = gallery.records("base", prompts())
    assert len(records) == 6
    assert records[1]["retrieval"][0]["description"] == "a walk"
    assert records[3]["repeat"] == 1
    walk = Concept("climb", ("climb",))
    assert not list(gallery.measured(tally, prompts(), embeddings, walk))
