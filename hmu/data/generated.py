"""Data sets that are made up on first use: where they lie, and how they come to lie there whole."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)
Generator = Callable[[Path], object]


def recipe_key(generator: Generator | None) -> str:
    """Identity of a generator: its source code, that of the motion package below it, and the arguments it was given.

    Generated data are thus made anew whenever the code that makes them changes.
    """
    function = getattr(generator, "func", generator)
    arguments = (getattr(generator, "args", ()), sorted(getattr(generator, "keywords", {}).items()))
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    digest = hashlib.sha256(f"{name}|{arguments!r}".encode())
    file = getattr(sys.modules.get(getattr(function, "__module__", "")), "__file__", None)
    if file is not None:
        home = Path(file).parent
        code = [Path(file)] if not (home / "__init__.py").is_file() else sorted(home.glob("*.py"))
        for path in [*code, *sorted(Path(__file__).parents[1].joinpath("motion").glob("*.py"))]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def generate_into(root: Path, generator: Generator, name: str) -> None:
    """Make the data set called ``name`` in folder ``root``: whole, or not at all.

    A process that was faster wins.
    """
    building = root.with_name(f"{root.name}.{uuid.uuid4().hex[:8]}.tmp")
    building.mkdir(parents=True)
    try:
        log.info("generating data set '%s' into %s (once)", name, root)
        generator(building)
        os.replace(building, root)
    except OSError:
        if not root.is_dir():  # not another process that was faster
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
