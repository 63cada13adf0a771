"""Drawing one stick figure on a Pillow image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmu.motion.stick import Figure, Stick
from hmu.viz import scene
from hmu.viz.scene import CHAIN_COLOURS, Camera, Floats

SUPERSAMPLING = 2  # drawn so many times larger and averaged down: smooth edges
THIN = 0.045  # metres: limbs without a width
ON_GROUND = np.array([1.0, 0.0, 1.0])


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The typeface that comes with matplotlib, so that every machine draws the same letters."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def wrap(text: str, face: ImageFont.FreeTypeFont, width: float, lines: int = 2) -> list[str]:
    """Break a text into at most ``lines`` lines of ``width`` pixels; the last one ends in ``…`` if more follows."""
    result: list[str] = []
    for word in text.split():
        longer = f"{result[-1]} {word}" if result else word
        if result and face.getlength(longer) <= width:
            result[-1] = longer
        else:
            result.append(word)
    if len(result) > lines:
        last = result[lines - 1]
        while last and face.getlength(f"{last}…") > width:
            last = last[:-1]
        result = [*result[: lines - 1], f"{last.rstrip()}…"]
    return result


class Drawing:
    """A motion prepared for drawing: everything that does not depend on the pixel canvas is projected at once.

    Args:
        figure: one motion, ``(frames, joints, 3)`` metres; stick: how its joints are joined.
        camera: size and view, in supersampled pixels; step: every how many-th frame is drawn.
    """

    def __init__(self, figure: Figure, stick: Stick, camera: Camera, step: int) -> None:
        self.joints, arrows = (part[::step] for part in scene.points_of(figure, stick))
        self.camera, self.stick = camera, stick
        self.targets = scene.camera_targets(self.joints, stick.fps / step)
        self.pixels, self.scales = camera.project(self.joints, self.targets[:, None])
        self.shadows, _ = camera.project(self.joints * ON_GROUND, self.targets[:, None])
        self.arrows, _ = camera.project(arrows, self.targets[:, None, None])
        bones = range(len(stick.bones))
        self.widths = stick.widths or (THIN,) * len(stick.bones)
        chains, sides = stick.chains or (None,) * len(stick.bones), stick.sides or (0,) * len(stick.bones)
        self.colours = [scene.SIDE_COLOURS[sides[i]] if (c := chains[i]) is None else CHAIN_COLOURS[c] for i in bones]

    def __len__(self) -> int:
        return len(self.joints)

    def draw(self, frame: int) -> Image.Image:
        """One frame (the last one is held beyond the end)."""
        frame = min(frame, len(self) - 1)
        image = Image.new("RGB", (self.camera.width, self.camera.height), scene.BACKGROUND)
        pen = ImageDraw.Draw(image)
        self._ground(pen, frame)
        for parent, child in self.stick.bones:  # the shadow
            points, width = self.shadows[frame], 0.075 * float(self.scales[frame, 0])
            _limb(pen, points[parent], points[child], width, scene.SHADOW)
        if frame > 1:
            path, _ = self.camera.project(self.joints[: frame + 1, 0] * ON_GROUND, self.targets[frame])
            pen.line([tuple(p) for p in path.tolist()], fill=scene.TRAIL, width=2 * SUPERSAMPLING, joint="curve")
        self._body(pen, frame)
        for tail, head in self.arrows[frame]:
            _arrow(pen, tail, head, 0.045 * float(self.scales[frame, 0]))
        return image

    def _ground(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        pieces, visible = scene.ground_segments(self.targets[frame])
        ends, _ = self.camera.project(pieces, self.targets[frame])
        shown = visible > 0.02
        for (start, end), share in zip(ends[shown].tolist(), visible[shown].tolist(), strict=True):
            pen.line([*start, *end], fill=scene.mix(scene.GRID, scene.BACKGROUND, min(1.0, 1.6 * share)), width=2)

    def _body(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        """Far parts first, so that near ones cover them; a bone's depth is its middle's."""
        points, scales, stick = self.pixels[frame], self.scales[frame], self.stick
        depths = [float(scales[list(bone)].mean()) for bone in stick.bones]
        order: list[int | None] = [*np.argsort(depths, kind="stable").tolist()]
        if stick.torso:
            depth = 0.985 * float(scales[list(stick.torso)].mean())
            order.insert(sum(other <= depth for other in depths), None)
        for number in order:
            if number is None:
                pen.polygon([tuple(p) for p in points[list(stick.torso)].tolist()], fill=scene.TORSO)
                continue
            (parent, child), width = stick.bones[number], self.widths[number] * depths[number]
            # A pale rim parts crossing limbs.
            _limb(pen, points[parent], points[child], width + 2.0 * SUPERSAMPLING, scene.BACKGROUND, caps=False)
            _limb(pen, points[parent], points[child], width, self.colours[number])
        if stick.head is not None:
            _disc(pen, points[stick.head], stick.head_radius * float(scales[stick.head]), scene.SIDE_COLOURS[0])


def _limb(
    pen: ImageDraw.ImageDraw, start: Floats, end: Floats, width: float, colour: scene.Colour, caps: bool = True
) -> None:
    pen.line([float(start[0]), float(start[1]), float(end[0]), float(end[1])], fill=colour, width=max(1, round(width)))
    if caps:
        _disc(pen, start, width / 2, colour)
        _disc(pen, end, width / 2, colour)


def _disc(pen: ImageDraw.ImageDraw, centre: Floats, radius: float, colour: scene.Colour) -> None:
    x, y = float(centre[0]), float(centre[1])
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def _arrow(pen: ImageDraw.ImageDraw, tail: Floats, head: Floats, width: float) -> None:
    """An arrow of ``width`` pixels; none where it is shorter than it is wide."""
    along = head - tail
    size = float(np.hypot(*along))
    if size < 2 * width:
        return
    along = along / size
    across, neck = np.array([-along[1], along[0]]), head - 2.5 * width * along
    pen.line([tuple(tail), tuple(neck)], fill=scene.FORCE, width=max(2, round(width)))
    pen.polygon([tuple(head), tuple(neck + 1.3 * width * across), tuple(neck - 1.3 * width * across)], fill=scene.FORCE)
