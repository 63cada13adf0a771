"""A whole unlearning with every file of its cache damaged in turn: one line, the same edit, the same numbers."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from hmu.checkpoints.store import ROWS
from hmu.data.packed import MOTION
from tests.checkpoints.damage import DAMAGES, copied, files
from tests.workflows.test_interrupted import numbers
from tests.workflows.toy import QUIET, run
from unlearn import unlearn

KINDS = ("flip", "cut", "empty", "delete", "append", "garbage", "swap")
SMALL = ["suite.limits={forget:2,retain:2,neighbours:2,paraphrase:1,implicit:1}", "suite.repeats=1", "concept=kick"]


def outcome(cache: Path, folder: Path) -> tuple[bytes, list[tuple[object, ...]]]:
    """The edit and the numbers of an unlearning that keeps everything in ``cache``."""
    shutil.rmtree(folder, ignore_errors=True)
    here = [f"paths.cache={cache}", f"hydra.run.dir={folder}", "dataset.generator.clips=60", "logger=none"]
    run("unlearn", unlearn, "backbone=momask_demo", "method=lcr", *here, *SMALL, *QUIET)
    (edit,) = (folder / "edit").glob("*.safetensors")
    return edit.read_bytes(), numbers(folder)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> tuple[Path, tuple[bytes, list[tuple[object, ...]]]]:
    root = tmp_path_factory.mktemp("sound")
    return root / "cache", outcome(root / "cache", root / "run")


def one_of_each(cache: Path) -> list[Path]:
    """Of the files that are alike (motions of one evaluation, embeddings) the first."""
    alike: dict[str, Path] = {}
    for name in files(cache):
        alike.setdefault(name.parts[0] if name.parts[0] in ("generated", "embeddings") else str(name), name)
    return list(alike.values())


def unread(name: Path, kind: str) -> bool:
    """Whether nothing reads what was done: a lost file is simply made again, clips are not read while the pack that was
    made from them is sound, of a pack only the blocks of the clips that the command uses, of a file of rows the rows.
    How long work took (``seconds.json``) is a guess that no number of a run depends on.
    """
    around = name.name == ROWS and kind in ("flip", "empty", "append", "swap")
    clip = name.parent.name in ("new_joint_vecs", "new_joints", "texts")
    return kind == "delete" or name.name == "seconds.json" or clip or around or (kind == "flip" and name.name == MOTION)


class Lines(logging.Handler):
    """What is said about damage; Hydra takes the handlers of others away from the root."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "damaged (" in record.getMessage():
            self.said.append(record.getMessage())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_unlearning_with_a_damaged_cache(sound, tmp_path, monkeypatch, record_property, kind):
    cache, expected = sound
    counts = {"noticed": 0, "without effect": 0}
    for name in one_of_each(cache):
        lines = Lines()
        monkeypatch.setattr(logging.getLogger("hmu"), "handlers", [lines])
        place = copied(cache, tmp_path / "cache")
        DAMAGES[kind](place / name)
        assert outcome(place, tmp_path / "run") == expected, f"{kind} {name}"
        assert len(lines.said) <= 1, lines.said
        counts["noticed" if lines.said else "without effect"] += 1
        assert lines.said or unread(name, kind), f"{kind} {name}"
    for what, count in counts.items():
        record_property(what, count)
