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
    received(home)


def received(home: Path) -> None:
    """Folders that somebody else has sent: each would run something, look something up, or exhaust memory."""
    nodes = {
        "theirs": "concept: {_target_: sympy.sympify, a: 1}",
        "nested": "dataset: {_target_: hmu.data.dataset.DatasetSource, generator: {_target_: os.system}}",
        "lookup": "concept: {name: '${oc.env:HOME}'}",
        "bomb": "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30))]),
        "deep": "[" * 100_000,
        "tagged": "concept: !!python/object/apply:os.system [true]",
    }
    for name, text in nodes.items():
        (home / name / "edit").mkdir(parents=True)
        (home / name / "config.yaml").write_text(text, encoding="utf-8")
    (home / "model").mkdir()
    (home / "model" / "config.json").write_text('{"family": "os.system"}', encoding="utf-8")
