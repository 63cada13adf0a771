"""Plots of results as PNG: detector rates, trade-off, losses."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hmu.checkpoints.safe import write_bytes
from hmu.errors import DataError

INK, FAINT, GRID = "#2c303a", "#878c96", "#e3e5e8"
BASE, UNLEARNED, REFERENCE = "#9aa3b2", "#d04c42", "#2c70b2"
_CYCLE = (UNLEARNED, REFERENCE, "#eb8c46", "#42a5be", "#6b7f3a", "#7a5ba6", BASE)

_FORGET_SETS = ("forget", "paraphrase", "implicit")


@dataclass(frozen=True)
class Rate:
    """A share in 0..1 with its 95 % interval (``low == high == value`` when unknown)."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def errors(self) -> tuple[float, float]:
        """Distances from the value down to ``low`` and up to ``high``, never negative."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return max(0.0, self.value - low), max(0.0, high - self.value)


@dataclass(frozen=True)
class Point:
    """One model in the trade-off plane, both axes in 0..1."""

    label: str
    forgotten: float
    kept: float


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure of its own (no global pyplot state) with light axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _write(figure: Any, path: Path | str) -> Path:
    _as_it_is(figure)
    buffer = io.BytesIO()
    # No time stamp inside, so that equal results give equal files.
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return Path(path)


def _as_it_is(figure: Any) -> None:
    """Names and prompts may hold anything: a dollar in them begins no formula."""
    from matplotlib.text import Text

    powers = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"]
    kept = {label for axis in powers for label in axis.get_ticklabels(which="both")}
    for text in set(figure.findobj(Text)) - kept:
        text.set_parse_math(False)


def detector_bars(
    rates: Mapping[str, Mapping[str, Rate]], path: Path | str, *, concept: str = "", title: str = ""
) -> Path:
    """Detection rate per action, one bar per model.

    Args:
        rates: action -> model (``base``, ``unlearned``, ``reference`` ...) -> rate. A missing model leaves a gap.
        path: the PNG.
        concept: this action comes first and is marked.
        title: above the plot.
    """
    if not rates:
        raise DataError("nothing to plot: no detector rates were measured")
    actions = sorted(rates, key=lambda action: (action != concept, not action.startswith(f"{concept} ("), action))
    models = list(dict.fromkeys(model for of_action in rates.values() for model in of_action))
    colours = {"base": BASE, "unlearned": UNLEARNED, "reference": REFERENCE}
    figure, axes = _axes(max(5.0, 1.2 + 0.62 * len(actions)), 3.6)
    width = 0.8 / len(models)
    for index, model in enumerate(models):
        at = [i for i, action in enumerate(actions) if model in rates[action]]
        shown = [rates[actions[i]][model] for i in at]
        x = np.array(at, dtype=float) + (index - (len(models) - 1) / 2) * width
        colour = colours.get(model, _CYCLE[index % len(_CYCLE)])
        values, errors = [rate.value for rate in shown], np.array([rate.errors for rate in shown]).reshape(-1, 2).T
        axes.bar(x, values, width * 0.92, color=colour, label=model)
        axes.errorbar(x, values, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        # A bar of height 0 is a finding, not a gap: write it.
        for position, value in zip(x, values, strict=True):
            if value < 0.005:
                axes.text(position, 0.025, "0", ha="center", va="bottom", fontsize=8, color=colour)
    axes.set_xticks(
        range(len(actions)),
        actions,
        rotation=35 if len(actions) > 8 else 0,
        ha="right" if len(actions) > 8 else "center",
    )
    axes.grid(False, axis="x")
    if concept in actions:
        axes.axvspan(-0.5, 0.5, color="#fbeceb", zorder=0)
        axes.get_xticklabels()[0].set_fontweight("bold")
    axes.set(xlim=(-0.5, len(actions) - 0.5), ylim=(0, 1.05), ylabel="share of motions detected")
    figure.legend(loc="outside upper right", frameon=False, ncols=len(models), fontsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    return _write(figure, path)


class RateRow(Protocol):
    """What :func:`rates_plot` needs of a row of ``metrics.json``."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def set(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102


def rates_plot(rows: Iterable[RateRow], path: Path | str, *, concept: str = "", title: str = "") -> Path:
    """:func:`detector_bars` of the ``detector_rate`` rows of an evaluation.

    The concept is shown per prompt set that asks for it (``kick``, ``kick (paraphrase)`` ...), other actions on the
    sets that should be kept; rates that nobody asked for (another action on a forget prompt) are left out, and so is a
    rate without a value.
    """
    rates: dict[str, dict[str, Rate]] = {}
    for row in rows:
        wanted = row.label == concept if row.set in _FORGET_SETS else row.label != concept
        if row.label is None or not wanted or not np.isfinite(row.value):
            continue
        name = f"{row.label} ({row.set})" if row.set in _FORGET_SETS and row.set != "forget" else row.label
        rates.setdefault(name, {}).setdefault(row.model, Rate(row.value, row.low, row.high))
    return detector_bars(rates, path, concept=concept, title=title)


def tradeoff(points: Sequence[Point], path: Path | str, *, title: str = "", concept: str = "the concept") -> Path:
    """Scatter of what was forgotten (right is better) against what was kept (up is better)."""
    if not points:
        raise DataError("nothing to plot: no models were measured")
    figure, axes = _axes(5.0, 4.2)
    for index, point in enumerate(points):
        colour = BASE if point.label == "base" else _CYCLE[index % len(_CYCLE)]
        axes.scatter(point.forgotten, point.kept, s=70, color=colour, edgecolor="white", linewidth=1, zorder=3)
        left = point.forgotten > 0.7
        axes.annotate(
            point.label,
            (point.forgotten, point.kept),
            xytext=(-8 if left else 8, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.annotate("ideal", (0.98, 1.03), color=FAINT, fontsize=9, ha="right", va="bottom")
    axes.scatter(1, 1, marker="*", s=120, facecolor="none", edgecolor=FAINT, zorder=2)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.12))
    axes.set_xlabel(f"{concept} forgotten (1 − detection rate)", color=INK)
    axes.set_ylabel("the rest kept (share of the base)", color=INK)
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    return _write(figure, path)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: Path | str,
    *,
    title: str = "",
    x_label: str = "step",
    y_label: str = "loss",
    log: bool = False,
) -> Path:
    """Lines over steps: name -> (steps, values). Long noisy ones get a running mean over their faint raw values."""
    if not any(len(steps) for steps, _ in series.values()):
        raise DataError("nothing to plot: no loss was logged")
    figure, axes = _axes(6.0, 3.6)
    for index, (name, (steps, values)) in enumerate(series.items()):
        x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
        colour = _CYCLE[index % len(_CYCLE)]
        window = len(y) // 25
        if window >= 3:
            axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
            y = np.convolve(np.pad(y, (window - 1, 0), mode="edge"), np.ones(window) / window, mode="valid")
        axes.plot(x, y, color=colour, linewidth=1.8, label=name, marker="o" if len(y) == 1 else None)
    if log:
        axes.set_yscale("log")
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.legend(frameon=False, fontsize=9)
    return _write(figure, path)
