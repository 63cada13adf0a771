import numpy as np
import pytest
from PIL import Image

from hmu.errors import DataError
from hmu.viz.plots import Rate, detector_bars


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
    array = picture(detector_bars(rates, tmp_path / "bars.png", concept="kick"))
    # base: 0.9 and 1.0; unlearned: 0.85 and 0: bar areas have that ratio
    assert share(array, "#9aa3b2") / share(array, "#d04c42") == pytest.approx(1.9 / 0.85, rel=0.12)
    again = detector_bars(rates, tmp_path / "again.png", concept="kick")
    assert again.read_bytes() == (tmp_path / "bars.png").read_bytes()


def test_bars_with_many_actions_and_gaps(tmp_path):
    rates = {f"action {i}": {"base": Rate(0.5)} if i % 2 else {"base": Rate(0.5), "lora": Rate(0.4)} for i in range(16)}
    assert picture(detector_bars(rates, tmp_path / "b.png")).shape[1] > 1000


def test_nothing_to_plot(tmp_path):
    with pytest.raises(DataError, match="nothing to plot"):
        detector_bars({}, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_intervals_never_point_the_wrong_way(tmp_path):
    plots = [detector_bars({"walk": {"base": r}}, tmp_path / "b.png") for r in (Rate(0.5, 0.6, 0.4), Rate(0.5))]
    assert len(plots) == 2  # matplotlib refuses negative lengths
