"""Procedural data sets: made into the cache folder once, checked when they are opened."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hmu.checkpoints.sealed import Seal, everything, sealed_folder

log = logging.getLogger(__name__)


def recipe_key(generator: Callable[[Path], object] | None) -> str:
    """Identity of a generator, so that data are made anew whenever the code that makes them changes.

    Made of its source code, that of the motion package below it, and the arguments it was given.
    """
    function = getattr(generator, "func", generator)
    arguments = (getattr(generator, "args", ()), sorted(getattr(generator, "keywords", {}).items()))
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    digest = hashlib.sha256(f"{name}|{arguments!r}".encode())
    file = getattr(sys.modules.get(getattr(function, "__module__", "")), "__file__", None)
    if file is not None:
        home, package = Path(file).parent, (Path(file).parent / "__init__.py").is_file()
        code = [*sorted(home.glob("*.py")), *sorted(home.glob("*.yaml"))] if package else [Path(file)]
        for path in [*code, *sorted(Path(__file__).parents[1].joinpath("motion").glob("*.py"))]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass
class Generated:
    """The folder of a procedural data set ``name``; a damaged one is made again.

    The name of ``root`` changes with what is generated; ``generator`` fills an empty folder, always with equal bytes.
    """

    name: str
    root: Path
    generator: Callable[[Path], object]
    _seal: Seal | None = None

    def ready(self) -> Seal:
        """Make the folder where it is missing or damaged. Looks once, at all sizes and at lists and statistics."""
        if self._seal is None:
            self._seal = sealed_folder(self.root, self._generate, lambda name: "/" not in name)
        return self._seal

    def check(self) -> None:
        """As :meth:`ready`, for readers of motions and captions: looks at the content of every file."""
        self._seal = sealed_folder(self.root, self._generate, everything)

    def _generate(self, folder: Path) -> None:
        log.info("generating data set '%s' into %s (once)", self.name, self.root)
        self.generator(folder)
