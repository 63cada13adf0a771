"""The files that the commands of ``mistakes.csv`` name: made here, none is packaged."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path


def things(home: Path) -> None:
    """Fill ``home`` with a folder of the user's (``notes/``) and a finished run (``run/``)."""
    (home / "notes").mkdir()
    (home / "notes" / "notes.txt").write_text("mine\n", encoding="utf-8")
    (home / "run").mkdir()
    record = {"status": "complete", "host": platform.node(), "process": os.getpid()}
    (home / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
