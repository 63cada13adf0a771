"""Where configurations lie: our own folder, those of installed plug-ins, and those of ``--config-dir``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def tree() -> list[Path]:
    """The folders that configurations are composed of: ours, registered plug-ins', and those of ``--config-dir``."""
    running = GlobalHydra.instance().is_initialized()
    with initialised():
        entries = GlobalHydra.instance().config_loader().get_search_path().get_path()
    folders = []
    for place in (entry.path or "" for entry in entries):
        if place.startswith("pkg://") and not place.startswith("pkg://hydra."):  # Hydra's own configure Hydra alone
            package, *inner = place.removeprefix("pkg://").replace("/", ".").split(".")
            folders.append(Path(str(resources.files(package).joinpath(*inner))))
        elif place.startswith("file://") or (place and "://" not in place):
            folders.append(Path(place.removeprefix("file://")))
    folders += [] if running else _added(sys.argv[1:])
    return [folder for folder in folders if folder.is_dir()] or [CONFIGS]


def initialised() -> AbstractContextManager[object]:
    """Hydra as it runs, or for the block one that composes our configurations."""
    running = GlobalHydra.instance().is_initialized()
    return nullcontext() if running else initialize_config_dir(str(CONFIGS), version_base="1.3")


def _added(words: Sequence[str]) -> list[Path]:
    """The folders of ``--config-dir``, before Hydra has read it."""
    names = ("--config-dir", "-cd")
    pairs = itertools.zip_longest(words, words[1:], fillvalue="")
    given = [after if word in names else word.partition("=")[2] for word, after in pairs if word.split("=")[0] in names]
    return [Path(folder) for folder in given if folder]


def is_group(key: str) -> bool:
    """Whether ``key`` (``method``, ``text@backbone.text``) names a group of choices."""
    name = key.partition("@")[0]
    return bool(name) and any((folder / name).is_dir() for folder in tree())


def options(group: str) -> dict[str, Path]:
    """The public choices of a group and their files, of the whole tree; private ones begin with ``_``.

    Of two files of one name the first on the search path counts, as for Hydra. Those of sub-folders come last.
    """
    files: dict[str, Path] = {}
    for folder in tree():
        for path in sorted((folder / group).rglob("*.yaml")):
            parts = path.relative_to(folder / group).with_suffix("").parts
            if not any(part.startswith("_") for part in parts):
                files.setdefault("/".join(parts), path)
    return dict(sorted(files.items(), key=lambda item: (item[0].count("/"), item[0])))
