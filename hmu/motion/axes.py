"""The vertical axes that a file may have, as rotations to ours."""

from __future__ import annotations

# vertical axis of a file -> sign and axis that become x, y, z; rotations all of them, so that left stays left
UP = {
    "y": ((1, 0), (1, 1), (1, 2)),
    "z": ((1, 0), (1, 2), (-1, 1)),
    "x": ((-1, 1), (1, 0), (1, 2)),
    "-y": ((1, 0), (-1, 1), (-1, 2)),
    "-z": ((1, 0), (-1, 2), (1, 1)),
    "-x": ((1, 1), (-1, 0), (1, 2)),
}
