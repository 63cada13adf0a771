"""Stick-figure animations: several motions side by side, as GIF or MP4."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hmu.documents import write_bytes
from hmu.errors import DataError, MissingExtra
from hmu.motion.stick import Figure, Stick
from hmu.viz import scene
from hmu.viz.draw import SUPERSAMPLING, Drawing, font, wrap
from hmu.viz.scene import Camera

Panel = tuple[str, Figure]  #: a title and one motion

SMOOTH = 25.0  # frames per second that are enough for the eye
_TITLE, _CAPTION_LINE, _MARGIN = 30, 20, 10


def steps(stick: Stick) -> int:
    """Every how many-th frame is shown: about 25 a second, all of slower motions."""
    return max(1, round(stick.fps / SMOOTH))


def render_frames(
    panels: Sequence[Panel],
    stick: Stick,
    *,
    caption: str = "",
    size: tuple[int, int] = (300, 320),
    azimuth: float = 32.0,
    elevation: float = 16.0,
) -> Iterator[Image.Image]:
    """Pictures of all panels side by side, every :func:`steps`-th frame; who ends earlier holds the last pose.

    Args:
        panels: title and motion ``(frames, joints, 3)``, metres, each; stick: how the joints are joined.
        caption: one text below all (the prompt); size: width and height of one panel's scene in pixels.
        azimuth, elevation: degrees from which the scene is seen, 0 = from the front, at the height of the person.

    DataError without a panel, for a wrong shape, or NaN.
    """
    if not panels:
        raise DataError("nothing to draw: give at least one (title, figure) panel")
    camera = Camera(size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING, azimuth, elevation)
    drawings = [Drawing(figure, stick, camera, steps(stick)) for _, figure in panels]
    frame_image, corner = _frame([title for title, _ in panels], caption, size)
    for index in range(max(map(len, drawings))):
        image = frame_image.copy()
        for column, drawing in enumerate(drawings):
            image.paste(drawing.draw(index).reduce(SUPERSAMPLING), (column * size[0], corner))
        pen = ImageDraw.Draw(image)
        for column, drawing in enumerate(drawings):
            _progress(pen, column * size[0], corner + size[1] - 4, size[0], (index + 1) / len(drawing))
            if column:
                pen.line([column * size[0], 8, column * size[0], corner + size[1]], fill=scene.GRID, width=1)
        yield image


def _frame(titles: Sequence[str], caption: str, size: tuple[int, int]) -> tuple[Image.Image, int]:
    """What is the same in all frames: titles above, caption below; and the row where the scenes begin."""
    width = size[0] * len(titles)
    lines = wrap(caption, font(14), width - 4 * _MARGIN)
    top = _TITLE if any(titles) else 0
    height = top + size[1] + (len(lines) * _CAPTION_LINE + _MARGIN if lines else 0)
    # Even sizes: video encoders need them.
    image = Image.new("RGB", (width + width % 2, height + height % 2), scene.BACKGROUND)
    pen = ImageDraw.Draw(image)
    for column, title in enumerate(titles):
        for line in wrap(title, font(14, bold=True), size[0] - 2 * _MARGIN, lines=1):
            centre = (column + 0.5) * size[0]
            pen.text((centre, top / 2 + 3), line, fill=scene.INK, font=font(14, bold=True), anchor="mm")
    for row, line in enumerate(lines):
        y = top + size[1] + _CAPTION_LINE * (row + 0.5) + _MARGIN / 2
        pen.text((width / 2, y), line, fill=scene.FAINT, font=font(14), anchor="mm")
    return image, top


def _progress(pen: ImageDraw.ImageDraw, x: int, y: int, width: int, share: float) -> None:
    left, right = x + 2 * _MARGIN, x + width - 2 * _MARGIN
    pen.line([left, y, right, y], fill=scene.GRID, width=2)
    pen.line([left, y, left + round((right - left) * min(1.0, share)), y], fill=scene.FAINT, width=2)


def render_gif(panels: Sequence[Panel], path: Path | str, stick: Stick, **options: Any) -> Path:
    """Write :func:`render_frames` as an endless GIF, atomically. ``options`` as there.

    A GIF counts hundredths of a second: the frame time is rounded to them (20 fps is exact).
    """
    frames = list(render_frames(panels, stick, **options))
    palette = _palette(frames)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    duration = max(2, round(100 * steps(stick) / stick.fps)) * 10
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=duration, loop=0, optimize=False)
    write_bytes(path, buffer.getvalue())
    return Path(path)


def _palette(frames: list[Image.Image]) -> Image.Image:
    """One palette for all frames, from a few of them: colours do not flicker and later frames need no search."""
    picks = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, 4).round().astype(int))]
    width, height = picks[0].size
    sample = Image.new("RGB", (width, height * len(picks)))
    for row, pick in enumerate(picks):
        sample.paste(pick, (0, row * height))
    return sample.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def render_mp4(panels: Sequence[Panel], path: Path | str, stick: Stick, **options: Any) -> Path:
    """Write :func:`render_frames` as an MP4 (H.264), atomically; MissingExtra without the extra ``video``."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingExtra("imageio-ffmpeg", "video", "Writing MP4 videos") from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = render_frames(panels, stick, **options)
    first, rate = next(frames), stick.fps / steps(stick)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    writer = imageio_ffmpeg.write_frames(
        str(temporary), first.size, fps=rate, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    try:
        writer.send(None)
        writer.send(first.tobytes())
        for frame in frames:
            writer.send(frame.tobytes())
        writer.close()
        os.replace(temporary, path)
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)
    return path


def render(panels: Sequence[Panel], path: Path | str, stick: Stick, **options: Any) -> Path:
    """GIF or MP4 by the file's ending. Raises :class:`DataError` for another one."""
    write = {".gif": render_gif, ".mp4": render_mp4}.get(Path(path).suffix.lower())
    if write is None:
        raise DataError(f"{path}: animations end in .gif or .mp4")
    return write(panels, path, stick, **options)
