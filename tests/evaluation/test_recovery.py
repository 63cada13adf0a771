"""Recovery, drift, ratios and the scoreboard, on numbers that can be checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hmu.evaluation.counting import Measured, with_draws
from hmu.evaluation.recovery import compare, half_width, recovery, separated
from hmu.evaluation.results import Results, Row, summarise
from hmu.evaluation.scoreboard import harms, scoreboard
from hmu.report.numbers import Numbers
from hmu.report.text import board_line, markdown, summary, warnings


def measured(
    model: str, set_: str, metric: str, value: float, *, spread: float = 0.1, n: int = 40, shared: bool = True, **more
) -> Measured:
    """A row with draws around its value; ``shared``: the same prompts moved all models alike."""
    seed = 0 if shared else hash((model, metric)) % 1000
    noise = torch.randn(400, generator=torch.Generator().manual_seed(seed)).double()
    return with_draws(
        summarise(model, set_, metric, [value, value], n, **more), value + spread * (noise - noise.median())
    )


def test_recovery_is_0_at_the_base_and_1_at_the_reference():
    base, reference = measured("base", "forget", "fid", 2.0), measured("reference", "forget", "fid", 6.0)
    for value, expected in ((2.0, 0.0), (6.0, 1.0), (4.0, 0.5), (10.0, 2.0), (0.0, -0.5)):
        found, low, high = recovery(base, measured("unlearned", "forget", "fid", value), reference)
        assert found == pytest.approx(expected)
        assert low == pytest.approx(
            expected, abs=1e-6
        )  # all three moved alike with the prompts: the pairing cancels it
        assert high == pytest.approx(expected, abs=1e-6)


def test_unpaired_noise_widens_the_interval():
    found = [measured(m, "forget", "fid", v, shared=False) for m, v in (("base", 2.0), ("unlearned", 4.0), ("r", 6.0))]
    value, low, high = recovery(*found)
    assert value == pytest.approx(0.5)
    assert low < 0.48 < 0.52 < high


def test_recovery_is_not_told_where_base_and_reference_are_alike():
    base = measured("base", "forget", "fid", 2.0, shared=False)
    reference = measured("reference", "forget", "fid", 2.05, shared=False)
    assert not separated(base, reference)
    assert recovery(base, measured("unlearned", "forget", "fid", 9.0), reference) == (None, None, None)


def test_without_draws_the_repeats_decide_whether_two_models_differ():
    def plain(*values: float) -> Measured:
        return Measured(summarise("m", "forget", "ncs@5", values, 10))

    assert separated(plain(1.0, 1.1, 1.0), plain(3.0, 3.1, 3.0))
    assert not separated(plain(1.0, 2.0, 3.0), plain(3.0, 1.0, 2.5))
    assert recovery(plain(1.0), plain(2.0), plain(3.0)) == (0.5, None, None)
    assert recovery(plain(1.0), plain(math.nan), plain(3.0)) == (None, None, None)


def world(reference: bool = True, unlearned: float = 5.0) -> Results:
    models = {"base": 2.0, "unlearned": unlearned} | ({"reference": 6.0} if reference else {})
    found = {
        model: [
            measured(model, "forget", "fid", fid),
            measured(model, "retain", "mm_dist", 1.0 + 0.1 * (model == "unlearned"), direction="lower"),
            measured(model, "retain", "energy", 2.0 if model == "base" else 0.5, direction="same"),
            measured(model, "implicit", "detector_rate", 1 - fid / 10, label="kick", share=True, direction="lower"),
        ]
        for model, fid in models.items()
    }
    results = Results({"concept": "kick", "title": "t", "evaluator_width": 8}, compare(found))
    return replace(results, scoreboard=scoreboard(results))


def test_rows_of_a_referenced_evaluation():
    results = world()
    row = results.get("unlearned", "forget", "fid")
    assert row.recovery == pytest.approx(0.75)
    assert row.direction == "reference"
    assert Numbers(results.rows).arrow(row.key) == "→↑"
    assert Numbers(results.rows).arrow(("implicit", "detector_rate", "kick")) == "→↓"
    assert row.drift is None
    assert results.get("base", "forget", "fid").recovery is None
    kept = results.get("unlearned", "retain", "mm_dist")
    assert kept.drift == pytest.approx(0.1 / half_width(measured("base", "retain", "mm_dist", 1.0)))
    assert kept.direction == "lower"


def test_a_model_that_stands_still_is_seen_by_its_energy():
    row = world().get("unlearned", "retain", "energy_ratio")
    assert row.value == pytest.approx(0.25)
    assert row.boot_low < 0.25 < row.boot_high
    assert world().get("base", "retain", "energy_ratio") is None


def test_without_a_reference_the_columns_stay_empty():
    results = world(reference=False)
    assert all(row.recovery is None for row in results.rows)
    assert results.scoreboard["forget"] is results.scoreboard["hold"] is results.scoreboard["harmonic"] is None
    assert results.scoreboard["keep"] == pytest.approx(1 - (0.1 + 0.75) / 2)
    assert Numbers(results.rows).arrow(("forget", "fid", None)) == "→"
    (line,) = (line for line in markdown(results).splitlines() if line.startswith("| fid"))
    assert line.endswith("|  |  |")
    assert "Forget – · Keep 0.57 · Hold –" in summary(results)


def test_scoreboard_of_a_referenced_evaluation():
    board = world().scoreboard
    assert board["forget"] == pytest.approx(0.75)
    assert board["hold"] == pytest.approx(1.0)  # implicit prompts: (0.5 - 0.8) / (0.4 - 0.8) = 0.75 too
    assert board["weakest"] == "implicit"
    assert 0 < board["harmonic"] < 1
    over = world(unlearned=9.0).scoreboard
    assert over["forget"] == 1.0
    assert over["overshoot"] == ["fid"]
    assert "beyond the reference: fid" in board_line(over)


def test_hold_is_what_the_weakest_attack_leaves():
    rows = [
        Row("unlearned", "forget", "fid", 1.0, recovery=0.9),
        Row("unlearned", "paraphrase", "detector_rate", 0.1, label="kick", recovery=0.8),
        Row("unlearned", "implicit", "detector_rate", 0.9, label="kick", recovery=0.2),
    ]
    board = scoreboard(Results({"concept": "kick"}, rows))
    assert board["hold"] == pytest.approx(0.3)
    assert board["weakest"] == "implicit"


def test_a_model_that_has_forgotten_nothing_has_nothing_to_hold():
    rows = [
        Row("unlearned", "forget", "fid", 1.0, recovery=0.05),
        Row("unlearned", "paraphrase", "detector_rate", 0.9, label="kick", recovery=0.04),
    ]
    board = scoreboard(Results({"concept": "kick"}, rows))
    assert board["forget"] == pytest.approx(0.05)
    assert board["hold"] is board["harmonic"] is None
    assert board["hold_parts"] == {"paraphrase": pytest.approx(0.04)}


def test_only_harm_counts_against_keep():
    rows = [
        Row(model, "retain", metric, value, direction=direction)
        for model, values in (("base", (2.0, 0.5, 4.0)), ("unlearned", (1.0, 0.4, 5.0)))
        for metric, value, direction in zip(
            ("fid", "r_precision_1", "diversity"), values, ("lower", "higher", "same"), strict=True
        )
    ]
    assert harms(Results({}, rows)) == pytest.approx({"fid": 0.0, "r_precision_1": 0.2, "diversity": 0.25})


def test_report_tells_the_scoreboard_recovery_drift_and_small_sets():
    results = world()
    text = markdown(results)
    assert "| metric | base | unlearned | reference | change | drift | recovery |" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| fid"))
    assert "| 0.75 [0.75, 0.75] |" in line
    assert "+150 %" in line  # against the unlearned model, not against the reference
    assert "## Scoreboard" in text
    assert "| **Forget** (median recovery) | 0.75 | fid 0.75 |" in text
    assert warnings(results)[0].startswith("Warning: FID on 'forget' is from n = 40 motions, fewer than 10 × 8")
    assert "n = 40" in text
    assert "Warning" in summary(results)
    enough = [replace(row, n=80) for row in results.rows]
    assert warnings(Results(results.context, enough)) == []


def test_scoreboard_and_recovery_survive_the_file(tmp_path):
    results = world()
    results.save(tmp_path / "metrics.json")
    back = Results.load(tmp_path / "metrics.json")
    assert back.rows == list(results.rows)
    assert back.scoreboard == results.scoreboard
