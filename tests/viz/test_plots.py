from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hmu.errors import DataError
from hmu.viz.plots import Point, Rate, curves, detector_bars, rates_plot, tradeoff


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def share(array, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(array - rgb).sum(-1) < 12).mean())


def test_bars_show_the_rates(tmp_path):
    rates = {
        "walk": {"base": Rate(0.9, 0.8, 1.0), "unlearned": Rate(0.85)},
        "kick": {"base": Rate(1.0), "unlearned": Rate(0.0)},
    }
    array = picture(detector_bars(rates, tmp_path / "bars.png", concept="kick", title="ESD"))
    # base: 0.9 and 1.0; unlearned: 0.85 and 0: bar areas have that ratio
    assert share(array, "#9aa3b2") / share(array, "#d04c42") == pytest.approx(1.9 / 0.85, rel=0.12)
    again = detector_bars(rates, tmp_path / "again.png", concept="kick", title="ESD")
    assert again.read_bytes() == (tmp_path / "bars.png").read_bytes()


def test_bars_with_many_actions_and_gaps(tmp_path):
    rates = {f"action {i}": {"base": Rate(0.5)} if i % 2 else {"base": Rate(0.5), "lora": Rate(0.4)} for i in range(16)}
    assert picture(detector_bars(rates, tmp_path / "b.png")).shape[1] > 1000


def test_tradeoff_and_curves(tmp_path):
    tradeoff([Point("base", 0.0, 1.0), Point("esd", 1.0, 0.9)], tmp_path / "t.png", concept="kick")
    steps = list(range(200))
    curves({"forget": (steps, np.random.default_rng(0).random(200)), "retain": ([0], [1.0])}, tmp_path / "c.png")
    curves({"kl": (steps, np.exp(-np.array(steps)))}, tmp_path / "l.png", log=True)
    assert all(picture(tmp_path / f"{name}.png").std() > 3 for name in "tcl")


def test_nothing_to_plot(tmp_path):
    for call in (lambda p: detector_bars({}, p), lambda p: tradeoff([], p), lambda p: curves({"a": ([], [])}, p)):
        with pytest.raises(DataError, match="nothing to plot"):
            call(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_intervals_never_point_the_wrong_way():
    assert Rate(0.5, 0.6, 0.4).errors == (0.0, 0.0)
    assert Rate(0.5).errors == (0.0, 0.0)


def row(model, set_, label, value):
    return SimpleNamespace(model=model, set=set_, label=label, value=value, low=value, high=None)


def test_rows_of_an_evaluation(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("hmu.viz.plots.detector_bars", lambda rates, path, **_: seen.update(rates) or path)
    rows = [
        row("base", "forget", "kick", 0.9),
        row("unlearned", "forget", "kick", 0.1),
        row("base", "forget", "walk", 0.5),
        row("base", "paraphrase", "kick", 0.8),
        row("base", "retain", "kick", 0.0),
        row("base", "retain", "walk", 1.0),
        row("base", "neighbours", "walk", 0.2),
        row("base", "retain", "jump", float("nan")),
    ]
    rates_plot(rows, tmp_path / "r.png", concept="kick")
    assert list(seen) == ["kick", "kick (paraphrase)", "walk"]
    assert seen["kick"]["unlearned"].value == 0.1
    assert seen["walk"]["base"].value == 1.0
