"""Cleaning cache folders of what killed processes left behind."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

log = logging.getLogger(__name__)

DAY = 24 * 3600.0


def remove_leftovers(folder: Path, prefix: str = "", older_than: float = DAY) -> list[Path]:
    """Delete temporary files and folders (``*.tmp``) of a cache folder whose writer must be long dead.

    Writers build under such a name and rename at the end, so one that was killed leaves it behind. What cannot be
    looked at or deleted is left alone: a cache is no reason to fail.

    Args:
        folder: one that only hmu writes to, unless ``prefix`` says which names are its own; need not exist.
        prefix: only names that start with it (dots in front of a name do not count).
        older_than: seconds since the last change; a folder counts as changed when an entry of it was.

    Returns:
        what was removed.
    """
    removed = []
    for path in sorted(folder.glob("*.tmp")) if folder.is_dir() else []:
        if not path.name.lstrip(".").startswith(prefix):
            continue
        try:
            parts = [path, *path.iterdir()] if path.is_dir() else [path]
            if time.time() - max(part.stat().st_mtime for part in parts) < older_than:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:  # another process was faster, or the file is not ours
            log.debug("left %s as it is: %s", path, error)
            continue
        removed.append(path)
    if removed:
        log.info("removed %d unfinished leftovers of killed processes from %s", len(removed), folder)
    return removed
