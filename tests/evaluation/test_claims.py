"""What may be claimed, at the borders: of the base's rate, of the judge, of the data, of the number of prompts."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hmu.evaluation import claims
from hmu.evaluation.claims import few, known_actions, objections, offer, rate, shown_rates
from hmu.evaluation.results import Results, Row, summarise
from hmu.report.comparison import build_report
from hmu.report.comparison_files import markdown as tables
from hmu.report.comparison_files import runs_csv
from hmu.report.page import page
from hmu.report.text import headline, markdown
from tests.report.some_runs import write_run


def results(
    base: float = 0.9,
    after: float = 0.0,
    n: int = 50,
    kept: float = 0.8,
    fid: float = 0.1,
    motions: int = 96,
    actions: dict[str, tuple[float, int]] | None = None,
    **context: object,
) -> Results:
    rows = []
    for model, kick in (("base", base), ("unlearned", after)):
        rows.append(summarise(model, "forget", "detector_rate", [kick], n, label="kick", share=True))
        rows.append(summarise(model, "retain", "detector_rate", [kept], 100, share=True))
        rows.append(summarise(model, "retain", "fid", [fid], motions))
        rows.append(summarise(model, "retain", "diversity_real", [13.5], motions))
        for label, (value, count) in (actions or {}).items():
            rows.append(summarise(model, "retain", "detector_rate", [value], count, label=label, share=True))
    return Results({"concept": "kick", "title": "t", **context}, rows)


def test_sound_numbers_stand_for_themselves() -> None:
    found = results(data_distance=0.1, real_clips={"forget": {"kick": 1.0}, "retain": {"all": 1.0}})
    assert objections(found) == []
    assert offer(found) == ""
    assert headline(found).startswith(
        "Asked for 'kick', the base model shows it in 90% of motions, the unlearned model"
    )
    assert "[" not in headline(found)


SEEN_IN_70 = {"real_clips": {"retain": {"all": 0.7}}}
BORDERS = [
    ({"base": 0.49}, {"base": 0.5}, "the base shows it in only 49% of motions: no basis"),
    ({"data_distance": 0.61}, {"data_distance": 0.6}, r"0\.6 standard deviations off"),
    ({"fid": 0.31 * 13.5**2 / 2}, {"fid": 0.29 * 13.5**2 / 2}, "retain FID 28.2, 31% of their spread"),
    ({"fid": 32.0, "motions": 40}, {"fid": 32.0, "motions": 39}, "retain FID 32"),
    (
        {"real_clips": {"forget": {"kick": 0.4}}},
        {"real_clips": {"forget": {"kick": 0.5}}},
        "the detector sees 'kick' in only 40% of the real clips",
    ),
    ({"kept": 0.49}, {"kept": 0.5}, "of the other actions the base shows only 49%"),
    ({"kept": 0.3, **SEEN_IN_70}, {"kept": 0.36, **SEEN_IN_70}, "shows only 30%"),
]  # fmt: skip


@pytest.mark.parametrize(("beyond", "within", "reason"), BORDERS, ids=range(len(BORDERS)))
def test_borders(beyond: dict, within: dict, reason: str) -> None:
    assert objections(results(**within)) == []
    (told,) = objections(results(**beyond))
    assert re.search(reason, told)
    text = headline(results(**beyond))
    assert text.startswith(f"No claim: {told}; ")
    assert "; " not in told  # the page takes the first clause for its title
    assert "; measured all the same: asked for 'kick', the base model shows it in" in text


def test_what_the_user_measured_outside_is_no_victory() -> None:
    """Retain FID 32 on six prompts read "100 % forgotten, 100 % kept"."""
    found = results(base=1.0, after=0.0, n=6, fid=32.0, motions=6, data_distance=1.1)
    assert headline(found).startswith("No claim: the data are not like those the base was trained on (1.1 standard")
    assert "100% [61–100, 6 prompts]" in headline(found)
    assert "0% [0–39, 6 prompts]" in headline(found)


def test_few_prompts_never_go_without_their_interval() -> None:
    assert few(results(n=19))
    assert not few(results(n=20))
    assert "90% [69–97, 19 prompts] of motions, the unlearned model in 0% [0–17, 19 prompts]" in headline(results(n=19))
    bare = Row("base", "forget", "detector_rate", 1.0, None, None, 6, label="kick")
    assert rate(bare) == "100% [61–100, 6 prompts]"  # metrics.json without intervals
    assert rate(replace(bare, n=0)) == "100% [0 prompts]"
    alone = Results({"concept": "kick"}, [bare])
    assert headline(alone) == "Only the base model was measured: asked for 'kick', it shows it in 100% [61–100, 6 prompts] of motions."  # noqa: E501  # fmt: skip


def test_concepts_that_the_base_knows_are_offered_from_its_own_answers() -> None:
    actions = {"walk": (1.0, 30), "jump": (1.0, 12), "bow": (0.8, 5), "wave": (0.79, 30), "sit": (1.0, 4)}
    found = results(base=0.25, actions=actions)
    assert [row.label for row in known_actions(found)] == ["walk", "jump", "bow"]
    assert offer(found) == "it does show walk (100%), jump (100%), bow (80%)"
    assert "no basis for unlearning; it does show walk (100%)" in headline(found)
    assert offer(results(base=0.9, actions=actions)) == ""
    alone = replace(found, rows=[row for row in found.rows if row.model == "base"])
    assert headline(alone).startswith(
        "Only the base model was measured: asked for 'kick', it shows it in 25% of motions; "
    )
    assert headline(alone).endswith("it does show walk (100%), jump (100%), bow (80%).")


def test_a_model_without_text_or_a_taught_one_needs_no_basis() -> None:
    assert objections(results(base=0.3, reads_text=False)) == []
    assert objections(results(base=0.0, after=0.9, edited="specialised")) == []


def test_without_a_detector_only_the_data_can_object() -> None:
    bare = Results({"concept": "violence"}, [])
    assert objections(bare) == []
    assert shown_rates(bare) == ""
    assert not few(bare)
    assert headline(replace(bare, context={"concept": "violence", "data_distance": 2.0})).startswith(
        "No claim: the data"
    )


def test_report_and_page_say_it_where_the_headline_stands() -> None:
    found = results(base=0.25)
    assert markdown(found).splitlines()[2].startswith("No claim: asked for 'kick', the base shows it in only 25%")
    made = page(found)
    (title,) = re.findall(r"<h1[^>]*>(.*?)</h1>", made, re.DOTALL)
    assert "No claim" in title
    assert "in 0" not in title


@pytest.mark.parametrize(("base", "told"), [((0.8, 0.8), "Knee: lora"), ((0.4, 0.8), "No claim: asked for 'kick'")])
def test_the_verdict_of_many_runs(tmp_path: Path, base: tuple[float, float], told: str) -> None:
    write_run(tmp_path / "one", rates=(0.0, 0.8), base=base)
    text = tables(build_report([tmp_path]))
    assert told in text
    assert ("forgotten and" in text) == (base[0] >= claims.BASIS)
    assert "Of few prompts: 'kick' seen in" in text
    (row,) = csv.DictReader(io.StringIO(runs_csv(build_report([tmp_path]))))
    assert (row["no claim because"] == "") == (base[0] >= claims.BASIS)
