"""One line at the bottom of a terminal that says what is going on; log lines pass above it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from tqdm import tqdm

EVERY = 0.25  # seconds between two pictures

#: what is done, how much, of how much (None: unknown), and the words behind it
Line = Callable[[], tuple[str, int, int | None, str]]


class Bar:
    """Draws ``line()`` a few times a second from a thread of its own, so that whoever works only counts."""

    def __init__(self, line: Line, on: bool = True) -> None:
        self._line, self._on = line, on
        self._owner = os.getpid()
        self._end = threading.Event()

    def __enter__(self) -> Bar:
        if self._on:
            self._picture: tqdm[None] = tqdm(
                total=1, file=sys.stderr, leave=False, ncols=columns(), bar_format="{desc}"
            )
            self._draw()
            self._thread = threading.Thread(target=self._run, name="hmu-bar", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        if self._on:
            self._thread.join()
            if os.getpid() == self._owner:
                self._picture.close()

    def _run(self) -> None:
        while not self._end.wait(EVERY):
            self._draw()

    def _draw(self) -> None:
        picture = self._picture
        try:
            picture.desc, done, total, words = self._line()
        except IndexError:  # the job went on to another phase between two looks; the next picture will do
            return
        words = words.replace("{", "{{").replace("}", "}}")
        picture.bar_format = f"{{desc}} {{bar:20}} {words}" if total else f"{{desc}} {words}"
        picture.total, picture.n = total or 1, min(done, total or 1)
        picture.ncols = columns()
        picture.refresh()


def columns() -> int:
    """Width of the terminal behind standard error; 80 where it does not tell (0 columns under some terminals)."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
