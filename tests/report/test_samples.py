"""What the bar plot of a run folder shows."""

from __future__ import annotations

from hmu.evaluation.results import Row
from hmu.report.samples import rates_of


def test_rows_of_an_evaluation():
    rows = [
        Row(model, set_, "detector_rate", value, value, label=label)
        for model, set_, label, value in (
            ("base", "forget", "kick", 0.9),
            ("unlearned", "forget", "kick", 0.1),
            ("base", "forget", "walk", 0.5),
            ("base", "paraphrase", "kick", 0.8),
            ("base", "typo", "kick", 0.7),
            ("base", "retain", "kick", 0.0),
            ("base", "retain", "walk", 1.0),
            ("base", "neighbours", "walk", 0.2),
            ("base", "retain", "jump", float("nan")),
        )
    ]
    rates = rates_of([*rows, Row("base", "retain", "fid", 1.0)], "kick")
    assert list(rates) == ["kick", "kick (paraphrase)", "kick (typo)", "walk"]
    assert rates["kick"]["unlearned"].value == 0.1
    assert rates["walk"]["base"].value == 1.0
