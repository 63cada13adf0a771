"""The section that tells what is generated instead."""

from __future__ import annotations

from hmu.report.page import page
from hmu.report.page.evaluation import confusion_view
from hmu.report.page.rendering import render
from tests.report.page.web_sample import evaluated


def words_of(content: dict, concept: str) -> str:
    return render("confusion.html", confusion=confusion_view(content, {}), concept=concept)


FOUND = {
    "set": "forget",
    "models": ["base", "unlearned"],
    "prompts": 4,
    "seen": {"unlearned": {"labels": ["kick", "raise_arms", "bow"], "counts": [[1, 3, 0], [0, 0, 0], [0, 2, 0]]}},
    "nearest": {"base": [{"caption": "kicks <b>", "share": 0.75}], "unlearned": [{"caption": "stands", "share": 1.0}]},
}


def test_a_table_holds_what_occurred_and_shades_by_share_of_a_row():
    text = words_of(FOUND, "kick")
    assert "raise arms" in text
    assert text.count("<tr>") == 3  # heading, kick, bow: nothing was raised arms before
    assert '<td class="number" style="--share: 0.75">3</td>' in text
    assert text.count("<td") == 4  # nothing became a bow


def test_captions_are_escaped_and_listed_with_their_share():
    text = words_of(FOUND, "kick")
    assert "kicks &lt;b&gt;" in text
    assert "<b>" not in text
    assert text.index("kicks") < text.index("stands")


def test_nothing_is_told_where_nothing_was_found():
    assert confusion_view({}, {}) is None
    assert "generated instead" not in page(**evaluated())
    assert "generated instead" in page(**evaluated(confusion=FOUND))


def test_rare_labels_share_a_column():
    labels = [f"step{i}" for i in range(9)]
    table = {"labels": labels, "counts": [list(range(9, 0, -1)), *([0] * 9 for _ in range(8))]}
    text = words_of(FOUND | {"seen": {"unlearned": table}}, "kick")
    assert text.count("step") == 6 + 1  # six columns, one row
    assert ">others</th>" in text
    assert f">{3 + 2 + 1}</td>" in text
