"""Pictures of gait: stick figures with force arrows, joint angles over the cycle, forces, paths of pressure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmu.checkpoints.safe import write_bytes
from hmu.errors import DataError
from hmu.gait.cycles import POINTS, Cycles
from hmu.gait.figure import EDGES, NAMES, SIDES
from hmu.motion.stick import Figure
from hmu.viz import scene
from hmu.viz.animate import _frame, _palette
from hmu.viz.draw import SUPERSAMPLING
from hmu.viz.plots import FAINT, GRID, INK, _write
from hmu.viz.scene import Camera

FPS = 25.0  # of animations; windows have 100
FORCE: scene.Colour = (62, 142, 84)
LIMBS: dict[int, scene.Colour] = {1: (208, 76, 66), -1: (44, 112, 178), 0: (58, 63, 76)}
WIDTH, HEAD = 0.045, 0.1  # metres: of a limb, of the head's radius
CURVES = {  # what is plotted, with its axis
    "hip_flexion": "hip flexion (°)",
    "knee_angle": "knee flexion (°)",
    "ankle_angle": "ankle dorsiflexion (°)",
    "force_y": "vertical force (body weights)",
    "force_x": "forward force (body weights)",
}
_COLOURS = ("#2c70b2", "#d04c42", "#6b7f3a", "#eb8c46", "#7a5ba6", "#42a5be", "#9aa3b2")

Floats = NDArray[np.float64]


class _Walker:
    """One window prepared for drawing, projected at once."""

    def __init__(self, figure: Figure, fps: float, size: tuple[int, int]) -> None:
        step = max(1, round(fps / FPS))
        joints, arrows = (part.detach().cpu().numpy()[::step] for part in (figure.positions, figure.arrows))
        if joints.ndim != 3:
            raise DataError(f"cannot draw a figure of shape {joints.shape}: expected one window (frames, joints, 3)")
        if not (np.isfinite(joints).all() and np.isfinite(arrows).all()):
            raise DataError("cannot draw a window that contains NaN or infinity; the motion itself is broken")
        self.camera = Camera(size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING, azimuth=20.0, elevation=8.0)
        self.targets = scene.camera_targets(joints, FPS, height=0.9)
        self.points, self.scales = self.camera.project(joints, self.targets[:, None])
        self.shadows, _ = self.camera.project(joints * np.array([1.0, 0.0, 1.0]), self.targets[:, None])
        self.arrows, _ = self.camera.project(arrows, self.targets[:, None, None])

    def __len__(self) -> int:
        return len(self.points)

    def draw(self, frame: int) -> Image.Image:
        """One frame; the last one is held beyond the end."""
        frame = min(frame, len(self) - 1)
        image = Image.new("RGB", (self.camera.width, self.camera.height), scene.BACKGROUND)
        pen = ImageDraw.Draw(image)
        pieces, visible = scene.ground_segments(self.targets[frame])
        ends, _ = self.camera.project(pieces, self.targets[frame])
        for (start, end), share in zip(ends.tolist(), visible.tolist(), strict=True):
            pen.line([*start, *end], fill=scene.mix(scene.GRID, scene.BACKGROUND, min(1.0, 1.6 * share)), width=2)
        points, scale = self.points[frame], float(self.scales[frame, 0])
        width = max(2, round(WIDTH * scale))
        for a, b in EDGES:
            pen.line([tuple(self.shadows[frame, a]), tuple(self.shadows[frame, b])], fill=scene.SHADOW, width=width)
        for (a, b), side in sorted(zip(EDGES, SIDES, strict=True), key=lambda edge: edge[1]):  # the left leg is far
            pen.line([tuple(points[a]), tuple(points[b])], fill=LIMBS[side], width=width)
            for x, y in (points[a], points[b]):
                pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=LIMBS[side])
        (x, y), radius = points[NAMES.index("head")], HEAD * scale
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=LIMBS[0])
        for tail, head in self.arrows[frame]:
            _arrow(pen, tail, head, width)
        return image


def _arrow(pen: ImageDraw.ImageDraw, tail: Floats, head: Floats, width: int) -> None:
    along = head - tail
    size = float(np.hypot(*along))
    if size < 2 * width:
        return
    along = along / size
    across = np.array([-along[1], along[0]])
    neck = head - 2.5 * width * along
    pen.line([tuple(tail), tuple(neck)], fill=FORCE, width=width)
    pen.polygon([tuple(head), tuple(neck + 1.3 * width * across), tuple(neck - 1.3 * width * across)], fill=FORCE)


def gait_frames(
    panels: Sequence[tuple[str, Figure]],
    *,
    caption: str = "",
    fps: float = 100.0,
    size: tuple[int, int] = (300, 320),
) -> Iterator[Image.Image]:
    """Pictures of windows side by side at 25 frames per second; one that ends earlier holds its last pose.

    Args:
        panels: title and figure of one window each. caption: below all. fps: of the windows.
        size: width and height of one panel in pixels.

    Raises:
        DataError: no panel, more than one window in a panel, or NaN.
    """
    if not panels:
        raise DataError("nothing to draw: give at least one (title, figure) panel")
    walkers = [_Walker(figure, fps, size) for _, figure in panels]
    frame_image, corner = _frame([title for title, _ in panels], caption, size)
    for index in range(max(map(len, walkers))):
        image = frame_image.copy()
        for column, walker in enumerate(walkers):
            image.paste(walker.draw(index).reduce(SUPERSAMPLING), (column * size[0], corner))
        yield image


def gait_gif(panels: Sequence[tuple[str, Figure]], path: Path | str, **options: Any) -> Path:
    """Write :func:`gait_frames` as an endless GIF in real time, atomically; ``options`` as there."""
    frames = list(gait_frames(panels, **options))
    palette = _palette(frames)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=round(1000 / FPS), loop=0)
    write_bytes(path, buffer.getvalue())
    return Path(path)


def cycle_plot(groups: Mapping[str, Cycles], path: Path | str, *, title: str = "") -> Path:
    """Angles and forces over the gait cycle, mean and standard deviation of every group of cycles.

    Raises:
        DataError: no group has a whole cycle.
    """
    shown = {name: cycles for name, cycles in groups.items() if len(cycles)}
    if not shown:
        raise DataError("nothing to plot: no window holds a whole gait cycle (two strikes of one foot)")
    figure = _figure(10.5, 5.2)
    percent = np.linspace(0, 100, POINTS)
    axes = [figure.add_subplot(2, 3, number + 1) for number in range(len(CURVES))]
    for ax, (name, label) in zip(axes, CURVES.items(), strict=True):
        for index, (group, cycles) in enumerate(shown.items()):
            colour, curves = _COLOURS[index % len(_COLOURS)], cycles.curves[name]
            mean, spread = curves.mean(0), curves.std(0)
            ax.fill_between(percent, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
            ax.plot(percent, mean, color=colour, linewidth=1.8, label=f"{group} ({len(cycles)} cycles)")
        _plain(ax, "gait cycle (%)", label)
        ax.set_xlim(0, 100)
    legend = figure.add_subplot(2, 3, 6)
    legend.axis("off")
    legend.legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return _write(figure, path)


def pressure_plot(groups: Mapping[str, Figure], path: Path | str, *, title: str = "", most: int = 12) -> Path:
    """Paths of the centres of pressure seen from above, relative to where each window's pelvis starts.

    Args:
        groups: figures ``(windows, frames, …)`` by name. most: windows drawn of each.

    Raises:
        DataError: no foot is ever on the ground.
    """
    figure = _figure(9.0, 1.2 + 1.9 * len(groups))
    drawn = 0
    for index, (group, found) in enumerate(groups.items()):
        ax = figure.add_subplot(len(groups), 1, index + 1)
        for window in found.arrows[:most].detach().cpu().numpy():
            for foot, colour in ((0, "#d04c42"), (1, "#2c70b2")):
                tail, head = window[:, foot, 0], window[:, foot, 1]
                walked = np.where((head - tail)[:, 1:2] > 0, tail, np.nan)
                drawn += int(np.isfinite(walked).any())
                ax.plot(walked[:, 0], walked[:, 2], color=colour, linewidth=1, alpha=0.6)
        _plain(ax, "forward (m)", "right (m)")
        ax.invert_yaxis()  # seen from above, walking to the right, the right foot is below
        ax.set_title(group, loc="left", fontsize=9, color=INK)
    if not drawn:
        raise DataError("nothing to plot: no foot is on the ground in any window")
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return _write(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plain(ax: Any, x_label: str, y_label: str) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=8)
    ax.grid(color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_xlabel(x_label, color=INK, fontsize=9)
    ax.set_ylabel(y_label, color=INK, fontsize=9)
