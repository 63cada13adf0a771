"""Drawing one stick figure on a Pillow image."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmu.motion.skeleton import Skeleton
from hmu.viz import scene
from hmu.viz.scene import Camera, Floats

SUPERSAMPLING = 2  # drawn so many times larger and averaged down: smooth edges


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


class Figure:
    """A motion prepared for drawing: everything that does not depend on the pixel canvas is projected at once.

    Args:
        joints: ``(frames, joints, 3)`` metres.
        skeleton: which joints form which chains.
        camera: size and view, in supersampled pixels.
        fps: frames per second (smoothing of the camera's path).
    """

    def __init__(self, joints: Floats, skeleton: Skeleton, camera: Camera, fps: float) -> None:
        self.joints, self.camera, self.skeleton = joints, camera, skeleton
        self.targets = scene.camera_targets(joints, fps)
        self.pixels, self.scales = camera.project(joints, self.targets[:, None])
        flat = joints * np.array([1.0, 0.0, 1.0])
        self.shadows, _ = camera.project(flat, self.targets[:, None])
        self.bones = [
            (parent, child, index) for index, chain in enumerate(skeleton.chains) for parent, child in pairwise(chain)
        ]

    def draw(self, frame: int, trail: bool = True) -> Image.Image:
        """One frame (the last one is held beyond the end)."""
        frame = min(frame, len(self.joints) - 1)
        image = Image.new("RGB", (self.camera.width, self.camera.height), scene.BACKGROUND)
        pen = ImageDraw.Draw(image)
        self._ground(pen, frame)
        self._shadow(pen, frame)
        if trail and frame > 1:
            self._trail(pen, frame)
        self._body(pen, frame)
        return image

    def _ground(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        pieces, visible = scene.ground_segments(self.targets[frame])
        ends, _ = self.camera.project(pieces, self.targets[frame])
        shown = visible > 0.02
        for (start, end), share in zip(ends[shown].tolist(), visible[shown].tolist(), strict=True):
            pen.line([*start, *end], fill=scene.mix(scene.GRID, scene.BACKGROUND, min(1.0, 1.6 * share)), width=2)

    def _shadow(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        points, scale = self.shadows[frame], float(self.scales[frame, 0])
        for parent, child, _ in self.bones:
            _limb(pen, points[parent], points[child], 0.075 * scale, scene.SHADOW)

    def _trail(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        path = self.joints[: frame + 1, 0] * np.array([1.0, 0.0, 1.0])
        pixels, _ = self.camera.project(path, self.targets[frame])
        pen.line([tuple(p) for p in pixels.tolist()], fill=scene.TRAIL, width=2 * SUPERSAMPLING, joint="curve")

    def _body(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        points, scales = self.pixels[frame], self.scales[frame]
        right_hip, left_hip, right_shoulder, left_shoulder = self.skeleton.facing
        torso = [right_hip, left_hip, left_shoulder, right_shoulder]
        # Far parts first, so that near ones cover them; a bone's depth is its middle's.
        parts: list[tuple[float, tuple[int, int, int] | None]] = [
            (float(scales[bone[0]] + scales[bone[1]]) / 2, bone) for bone in self.bones
        ]
        for scale, bone in sorted([*parts, (0.985 * float(scales[torso].mean()), None)], key=lambda part: part[0]):
            if bone is None:
                pen.polygon([tuple(p) for p in points[torso].tolist()], fill=scene.TORSO)
                continue
            parent, child, chain = bone
            colour = scene.CHAIN_COLOURS[chain % len(scene.CHAIN_COLOURS)]
            width = scene.CHAIN_WIDTHS[chain % len(scene.CHAIN_WIDTHS)] * scale
            # A pale rim parts crossing limbs.
            _limb(pen, points[parent], points[child], width + 2.0 * SUPERSAMPLING, scene.BACKGROUND, caps=False)
            _limb(pen, points[parent], points[child], width, colour)
        spine = max(self.skeleton.chains, key=lambda chain: self.joints[0, chain[-1], 1])
        head, radius = points[spine[-1]], scene.HEAD_RADIUS * float(scales[spine[-1]])
        _disc(pen, head, radius, scene.CHAIN_COLOURS[2])


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
