from __future__ import annotations

from hmu.evaluation.results import Results, Row, summarise
from hmu.report.numbers import number
from hmu.report.text import headline, markdown, summary


def results() -> Results:
    rows = []
    for model, kick, kept, fid in (("base", 0.9, 0.8, 2.0), ("unlearned", 0.0, 0.76, 2.2)):
        rows.append(
            summarise(model, "forget", "detector_rate", [kick], 50, label="kick", share=True, direction="lower")
        )
        rows.append(summarise(model, "retain", "detector_rate", [kept], 100, share=True, direction="higher"))
        rows.append(summarise(model, "retain", "fid", [fid, fid + 0.1], 100, direction="lower"))
    return Results({"concept": "kick", "title": "t"}, rows)


def test_the_headline_says_what_was_forgotten_and_kept():
    text = headline(results())
    assert "90% of motions, the unlearned model in 0%" in text
    assert "keep 95%" in text
    assert "1.10 × the base's" in text


def test_a_base_alone_is_not_told_as_a_comparison():
    alone = Results(results().context, [row for row in results().rows if row.model == "base"])
    assert headline(alone) == "Only the base model was measured: asked for 'kick', it shows it in 90% of motions."


def test_real_clips_stand_beside_as_the_judges_ceiling():
    found = results()
    found.context["real_clips"] = {"forget": {"kick": 0.95}, "retain": {"kick": 0.0, "all": 0.85}}
    assert [line.split()[-2:] for line in summary(found).splitlines()[:2]] == [["real", "clips"], ["95.0", "%"]]
    text = markdown(found)
    assert "| metric | base | unlearned | change | real clips |" in text
    assert "| -5 % | 85.0 % |" in text
    assert "real_clips" not in text  # not told twice


def test_tables_hold_every_model_interval_and_arrow():
    text = markdown(results())
    assert "| metric | base | unlearned | change |" in text
    assert "detector_rate [kick] ↓ | 90.0 % [" in text
    assert "fid ↓" in text
    small = summary(results())
    assert "forget: detector_rate [kick] ↓" in small
    assert "implicit" not in small


def test_columns_stay_apart_however_long_their_numbers_are():
    long = results()
    for model, value in (("base", 0.00515), ("unlearned", 0.00218)):
        long.rows.append(Row(model, "retain", "mm_dist", value, low=value, high=0.00895, n=100))
    lines = summary(long).splitlines()
    row = next(line for line in lines if "mm_dist" in line)
    assert row.split()[-6:] == ["0.00515", "[0.00515,", "0.00895]", "0.00218", "[0.00218,", "0.00895]"]
    assert {len(line) for line in lines[:4]} == {len(row)}


def test_numbers_that_were_not_measured_are_dashes():
    assert number(None) == "–"
    assert number(Row("base", "retain", "fid", float("nan"))) == "–"


def test_without_a_detector_the_headline_does_not_claim_anything():
    assert "No detector" in headline(Results({"concept": "violence"}, []))
