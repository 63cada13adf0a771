"""Trainings that diverge: found at the first step whose loss is no number, said in one line, never written."""

from __future__ import annotations

from hmu.errors import ConfigError

#: steps between two looks at what the device has found; a look waits for the device
LOOK = 10


class Diverged(ConfigError):
    """A loss or a weight is no longer finite; the line says since when, and which key to change."""

    def __init__(self, what: str, step: int, key: str, value: float) -> None:
        super().__init__(
            f"the training diverged: {what} is not finite at step {step}, it was not saved; lower {key} (now {value:g})"
        )
