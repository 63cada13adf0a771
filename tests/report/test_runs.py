"""Runs found, read, compared: also those that are unfinished or broken."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.errors import ConfigError, DataError
from hmu.evaluation.results import Results, Row
from hmu.report.comparison import build_report
from hmu.report.comparison_files import latex, markdown, rows_csv, runs_csv, write_report
from hmu.report.front import Point, choose_axes, forget_score, fronts, keep_score, knee, not_beaten
from hmu.report.runs import Line, Run, find_runs, lines_of, read_runs
from tests.report.some_runs import CHOICES, write_run


@pytest.fixture
def sweep(tmp_path):
    """Four ranks: the first beaten, the second and third not, the last unfinished; and a broken one."""
    for rank, rates in ((4, (0.4, 0.7)), (8, (0.24, 0.8)), (16, (0.08, 0.72))):
        write_run(tmp_path / f"method.rank={rank}", f"method.rank={rank}", rates=rates)
    write_run(tmp_path / "method.rank=32", "method.rank=32", rates=None, status="running")
    (write_run(tmp_path / "method.rank=64", "method.rank=64") / "metrics.json").write_text('{"schema": 1, "ro')
    return tmp_path


def test_every_run_is_found_once_and_what_it_holds_is_not_searched(sweep):
    write_run(sweep / "method.rank=4" / "samples" / "inner")
    found = find_runs([sweep, sweep / "method.rank=8"])
    assert [path.name for path in found] == [f"method.rank={rank}" for rank in (16, 32, 4, 64, 8)]


def evaluated(folder, ckpt, **context):
    """A run of evaluate.py, whose own choices are the defaults, of something at ``ckpt``."""
    write_run(folder)
    choices = {"hydra": {"runtime": {"choices": {"backbone": "salad_demo", "dataset": "demo"}}}}
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(choices))
    (folder / "config.yaml").write_text(yaml.safe_dump({"job": "evaluate", "ckpt": str(ckpt)}))
    results = Results.load(folder / "metrics.json")
    replace(results, context={**results.context, **context}).save(folder / "metrics.json")
    return folder


def test_an_evaluation_whose_ckpt_is_gone_is_told_by_what_it_recorded(tmp_path):
    made_with = {"backbone": "momask_demo", "method": "esd"}
    evaluated(tmp_path / "new", tmp_path / "gone", backbone="momask", made_with=made_with)
    evaluated(tmp_path / "old", tmp_path / "lora-kick" / "gone", backbone="momask")
    new, old = read_runs([tmp_path])
    assert (new.choices["backbone"], new.choices["method"]) == ("momask_demo", "esd")
    assert (old.choices["backbone"], old.choices["method"]) == ("momask", "unknown (lora-kick/gone)")


def test_an_evaluation_of_a_run_that_is_there_has_its_backbone_and_method(tmp_path):
    run = write_run(tmp_path / "run", backbone="momask_demo", method="uce")
    (found,) = read_runs([evaluated(tmp_path / "measured", run)])
    assert (found.choices["backbone"], found.choices["method"]) == ("momask_demo", "uce")


@pytest.mark.parametrize("value", [[1], "x", 3, {"retain": 3, "forget": {"kick": "x"}}])
def test_circumstances_of_another_type_stop_no_report(tmp_path, value):
    evaluated(tmp_path / "runs" / "one", tmp_path / "gone", real_clips=value, made_with=value)
    assert write_report(build_report([tmp_path / "runs"]), tmp_path / "out").is_dir()


@pytest.mark.parametrize("change", [{"context": None}, {"scoreboard": None}, {"rows": [{"value": "0.5"}]}])
def test_numbers_of_another_type_stop_no_report(sweep, change):
    path = sweep / "method.rank=4" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    problems = {run.path.name: run.problem for run in build_report([sweep]).runs}
    assert "metrics.json' is not a metrics.json" in problems["method.rank=4"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        find_runs([tmp_path / "nowhere"])


def test_training_runs_measure_nothing_and_that_is_said(tmp_path):
    run = write_run(tmp_path / "trained", rates=None)
    (run / "config.yaml").write_text("job: train\n")
    with pytest.raises(DataError, match="1 training runs, which measure nothing"):
        read_runs([tmp_path])


def test_unfinished_and_broken_runs_are_listed_with_the_reason(sweep):
    (sweep / "method.rank=16" / "run.json").write_text("{")
    (sweep / "never" / ".hydra").mkdir(parents=True)
    problems = {run.path.name: run.problem for run in read_runs([sweep])}
    assert problems["method.rank=8"] is None
    assert "unfinished (running, or interrupted after: unlearn)" in problems["method.rank=32"]
    assert "metrics.json' is not a metrics.json" in problems["method.rank=64"]
    assert "run.json is broken" in problems["method.rank=16"]  # its numbers are there and count
    assert "ended before it began" in problems["never"]
    report = build_report([sweep])
    assert {run.path.name for run in report.unmeasured} == {"method.rank=32", "method.rank=64", "never"}
    assert len(report.lines) == 3


def test_what_tells_runs_apart_is_named_and_the_machine_is_not(tmp_path):
    write_run(tmp_path / "a", "method.rank=4", "threads=1", "trainer.accelerator=cpu", "dataset.root=x")
    write_run(tmp_path / "b", "method.rank=4", "dataset.root=x", "backbone.min_frames=24")
    assert [run.name for run in read_runs([tmp_path])] == ["lora rank=4", "lora rank=4 backbone.min_frames=24"]


def test_seeds_share_a_line_with_mean_and_range(tmp_path):
    for seed, rate in enumerate((0.1, 0.2, 0.6)):
        write_run(tmp_path / f"s{seed}", "method.rank=4", seed=seed, rates=(rate, 0.8))
    write_run(tmp_path / "again", "method.rank=4", seed=0)
    lines = lines_of(read_runs([tmp_path]))
    assert sorted(len(line.runs) for line in lines) == [1, 3]  # a seed twice is no further seed
    found = max(lines, key=lambda line: len(line.runs)).row("unlearned", ("forget", "detector_rate", "*"))
    assert found is not None
    assert (found.repeats, found.low, found.high) == (3, 0.1, 0.6)
    assert len(lines_of(read_runs([tmp_path]), seeds=False)) == 4


# -- the front ---------------------------------------------------------------------------------------------------------
def test_front_and_knee_of_a_sweep(sweep):
    (front,) = build_report([sweep]).fronts
    assert [point.line.first.settings["method.rank"] for point in front.best] == ["8", "16"]
    assert front.knee is front.best[1]  # (0.9, 0.9) is nearer to (1, 1) than (0.7, 1)
    assert (front.knee.forget, front.knee.keep) == pytest.approx((0.9, 0.9))


def test_tasks_have_fronts_of_their_own(sweep):
    write_run(sweep / "punch", concept="punch", rates=(0.0, 0.9))
    tasks = [front.task for front in build_report([sweep]).fronts]
    assert tasks == [("demo", "salad_demo", "kick"), ("demo", "salad_demo", "punch")]


def spot(forget: float, keep: float, seconds: float = 1.0, name: str = "a") -> Point:
    return Point(Line((Run(None, CHOICES | {"method": name}, seconds=seconds),)), forget, keep)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_beaten_and_all_else_is(places):
    points = [spot(*place) for place in places]
    best = not_beaten(points)

    def beaten(point: Point) -> bool:
        there = (point.forget, point.keep)
        return any(p.forget >= there[0] and p.keep >= there[1] and (p.forget, p.keep) != there for p in points)

    assert best
    assert all(beaten(point) != (point in best) for point in points)
    assert [p.forget for p in best] == sorted(p.forget for p in best)
    assert knee(best).distance == min(point.distance for point in points)


def test_of_equal_points_the_quicker_run_is_the_knee():
    assert knee([spot(0.9, 0.9, 100, "a"), spot(0.9, 0.9, 5, "b")]).line.first.choices["method"] == "b"


def test_scores_without_a_detector_come_from_recovery_then_from_r_precision():
    def results(*rows: Row) -> Results:
        return Results({"concept": "violence"}, rows)

    pair = [Row("base", "forget", "r_precision_1", 0.5), Row("unlearned", "forget", "r_precision_1", 0.1)]
    run = Run(None, CHOICES, results=results(*pair))  # type: ignore[arg-type]
    assert choose_axes([run])[0] == "forget/r_precision_1"
    assert forget_score(results(*pair), "forget/r_precision_1") == pytest.approx(0.8)
    fid = Row("unlearned", "forget", "fid", 5.0, recovery=1.4)
    assert forget_score(results(Row("base", "forget", "fid", 1.0), fid), "forget/fid") == 1.0
    assert forget_score(results(Row("base", "forget", "fid", 1.0), replace(fid, recovery=None)), "forget/fid") is None
    known = results(Row("base", "forget", "fid", 1.0), replace(fid, recovery=0.4))
    assert choose_axes([replace(run, results=known)])[0] == "board"


def test_keep_is_one_minus_the_harm():
    rows = [Row("base", "retain", "fid", 2.0, direction="lower"), Row("unlearned", "retain", "fid", 2.5)]
    assert keep_score(Results({}, rows), "retain/fid") == pytest.approx(0.75)


@pytest.mark.parametrize("axis", ["fid", "retained/fid", "forget/", "retain/mm_safe"])
def test_an_axis_that_does_not_exist_is_named(sweep, axis):
    with pytest.raises(ConfigError, match=f"keep={axis}"):
        build_report([sweep], keep=axis)


def test_runs_without_scores_are_not_in_the_plane(sweep):
    lines = lines_of(read_runs([sweep]))
    (front,) = fronts(lines, "forget/fid", "retain/fid")  # no reference: no recovery
    assert (front.points, front.knee, len(front.lines)) == ((), None, 3)


# -- formats -----------------------------------------------------------------------------------------------------------
def test_csv_has_every_run_and_every_row(sweep):
    report = build_report([sweep])
    runs = list(csv.DictReader(io.StringIO(runs_csv(report))))
    assert [row["method.rank"] for row in runs] == ["16", "32", "4", "64", "8"]
    first = runs[0]
    assert (first["forget detector_rate"], first["base forget detector_rate"], first["front"]) == ("0.08", "0.8", "★")
    assert "unfinished" in runs[1]["problem"]
    rows = list(csv.DictReader(io.StringIO(rows_csv(report))))
    assert len(rows) == 3 * 6
    assert {row["model"] for row in rows} == {"base", "unlearned"}


def test_markdown_has_the_base_the_knee_and_what_is_missing(sweep):
    text = markdown(build_report([sweep]))
    lines = text.splitlines()
    assert sum(line.startswith("| base |") for line in lines) == 1
    assert "| lora rank=16 | ★ | 8.0 % |" in text
    assert "Knee: lora rank=16, 90 % forgotten and 90 % kept (not beaten: 2 of 3 runs)." in text
    assert any("method.rank=32" in line and "unfinished" in line for line in lines)
    widths = {line.count("|") for line in lines if line.startswith("| ") and "rank=" in line and "%" in line}
    assert len(widths) == 1


def test_runs_that_were_not_measured_alike_are_told(sweep):
    run = sweep / "method.rank=8"
    results = Results.load(run / "metrics.json")
    replace(results, context={**results.context, "repeats": 10}).save(run / "metrics.json")
    assert "Not measured alike: repeats differ" in markdown(build_report([sweep]))


def test_latex_is_escaped_and_balanced(sweep):
    text = latex(build_report([sweep]))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert r"detector\_rate" in text
    assert r"8.0 \%" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows}) == 1


def test_files_of_a_report(sweep, tmp_path_factory):
    out = write_report(build_report([sweep]), tmp_path_factory.mktemp("out") / "report")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["report.html", "rows.csv", "runs.csv", "table.md", "table.tex"]
