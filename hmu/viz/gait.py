"""Plots of gait: joint angles and forces over the cycle, paths of pressure; and how its animations are seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hmu.errors import DataError
from hmu.gait.cycles import POINTS, Cycles
from hmu.motion.stick import Figure
from hmu.viz.plots import INK, lighten, new_figure, write_png

VIEW = {"azimuth": 20.0, "elevation": 8.0}  #: of animations: from the side, since gait goes along x
DRAWN = 12  #: windows of each group in a plot of pressure
CURVES = {  # what is plotted, with its axis
    "hip_flexion": "hip flexion (°)",
    "knee_angle": "knee flexion (°)",
    "ankle_angle": "ankle dorsiflexion (°)",
    "force_y": "vertical force (body weights)",
    "force_x": "forward force (body weights)",
}
_COLOURS = ("#2c70b2", "#d04c42", "#6b7f3a", "#eb8c46", "#7a5ba6", "#42a5be", "#9aa3b2")


def cycle_plot(groups: Mapping[str, Cycles], path: Path | str, *, title: str = "") -> Path:
    """Angles and forces over the gait cycle: mean and standard deviation of every group; DataError without a cycle."""
    shown = {name: cycles for name, cycles in groups.items() if len(cycles)}
    if not shown:
        raise DataError("nothing to plot: no window holds a whole gait cycle (two strikes of one foot)")
    figure = new_figure(10.5, 5.2)
    percent = np.linspace(0, 100, POINTS)
    axes = [figure.add_subplot(2, 3, number + 1) for number in range(len(CURVES))]
    for ax, (name, label) in zip(axes, CURVES.items(), strict=True):
        for index, (group, cycles) in enumerate(shown.items()):
            colour, curves = _COLOURS[index % len(_COLOURS)], cycles.curves[name]
            mean, spread = curves.mean(0), curves.std(0)
            ax.fill_between(percent, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
            ax.plot(percent, mean, color=colour, linewidth=1.8, label=f"{group} ({len(cycles)} cycles)")
        lighten(ax, "gait cycle (%)", label)
        ax.set_xlim(0, 100)
    legend = figure.add_subplot(2, 3, 6)
    legend.axis("off")
    legend.legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return write_png(figure, path)


def pressure_plot(groups: Mapping[str, Figure], path: Path | str) -> Path:
    """Paths of the centres of pressure seen from above, relative to where each window's pelvis starts.

    ``groups``: figures ``(windows, frames, …)`` by name, of which the first :data:`DRAWN` are drawn. DataError where no
    foot is ever on the ground.
    """
    figure = new_figure(9.0, 1.2 + 1.9 * len(groups))
    drawn = 0
    for index, (group, windows) in enumerate(groups.items()):
        ax = figure.add_subplot(len(groups), 1, index + 1)
        for window in windows.arrows[:DRAWN].detach().cpu().numpy():
            for foot, colour in ((0, "#d04c42"), (1, "#2c70b2")):
                tail, head = window[:, foot, 0], window[:, foot, 1]
                walked = np.where((head - tail)[:, 1:2] > 0, tail, np.nan)
                drawn += int(np.isfinite(walked).any())
                ax.plot(walked[:, 0], walked[:, 2], color=colour, linewidth=1, alpha=0.6)
        lighten(ax, "forward (m)", "right (m)")
        ax.invert_yaxis()  # seen from above, walking to the right, the right foot is below
        ax.set_title(group, loc="left", fontsize=9, color=INK)
    if not drawn:
        raise DataError("nothing to plot: no foot is on the ground in any window")
    return write_png(figure, path)
