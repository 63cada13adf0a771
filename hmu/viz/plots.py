"""Plots as PNG: how often actions are detected, and what all plots have in common."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hmu.documents import write_bytes
from hmu.errors import DataError

INK, FAINT, GRID = "#2c303a", "#878c96", "#e3e5e8"
BASE, UNLEARNED, REFERENCE = "#9aa3b2", "#d04c42", "#2c70b2"
_CYCLE = (UNLEARNED, REFERENCE, "#eb8c46", "#42a5be", "#6b7f3a", "#7a5ba6", BASE)


class Rate(NamedTuple):
    """A share in 0 … 1 with its 95 % interval, None where it is not known."""

    value: float
    low: float | None = None
    high: float | None = None


def new_figure(width: float, height: float) -> Any:
    """A figure of its own (no global pyplot state), inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def lighten(axes: Any, x_label: str = "", y_label: str = "") -> None:
    """Light axes with a grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label, color=INK, fontsize=9)
    axes.set_ylabel(y_label, color=INK, fontsize=9)


def write_png(figure: Any, path: Path | str) -> Path:
    """Write a figure atomically; equal figures give equal files. A dollar in a name begins no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})  # no time stamp inside
    write_bytes(path, buffer.getvalue())
    return Path(path)


def detector_bars(rates: Mapping[str, Mapping[str, Rate]], path: Path | str, *, concept: str = "") -> Path:
    """Detection rate per action, one bar per model.

    ``rates``: by action and model, a missing one leaves a gap; ``concept``: this action comes first and is marked.
    """
    if not rates:
        raise DataError("nothing to plot: no detector rates were measured")
    actions = sorted(rates, key=lambda action: (action != concept, not action.startswith(f"{concept} ("), action))
    models = list(dict.fromkeys(model for of_action in rates.values() for model in of_action))
    colours = {"base": BASE, "unlearned": UNLEARNED, "reference": REFERENCE}
    figure = new_figure(max(5.0, 1.2 + 0.62 * len(actions)), 3.6)
    axes = figure.add_subplot()
    lighten(axes, y_label="share of motions detected")
    width = 0.8 / len(models)
    for index, model in enumerate(models):
        at = [i for i, action in enumerate(actions) if model in rates[action]]
        shown = [rates[actions[i]][model] for i in at]
        x = np.array(at, dtype=float) + (index - (len(models) - 1) / 2) * width
        colour = colours.get(model, _CYCLE[index % len(_CYCLE)])
        values = [rate.value for rate in shown]
        ends = np.array([[v if low is None else low, v if high is None else high] for v, low, high in shown]).T
        errors = np.maximum([values - ends[0], ends[1] - values], 0)  # never the wrong way
        axes.bar(x, values, width * 0.92, color=colour, label=model)
        axes.errorbar(x, values, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        # A bar of height 0 is a finding, not a gap: write it.
        for position, value in zip(x, values, strict=True):
            if value < 0.005:
                axes.text(position, 0.025, "0", ha="center", va="bottom", fontsize=8, color=colour)
    slant = {"rotation": 35, "ha": "right"} if len(actions) > 8 else {}
    axes.set_xticks(range(len(actions)), actions, **slant)
    axes.grid(False, axis="x")
    if concept in actions:
        axes.axvspan(-0.5, 0.5, color="#fbeceb", zorder=0)
        axes.get_xticklabels()[0].set_fontweight("bold")
    axes.set(xlim=(-0.5, len(actions) - 0.5), ylim=(0, 1.05))
    figure.legend(loc="outside upper right", frameon=False, ncols=len(models), fontsize=9)
    return write_png(figure, path)
