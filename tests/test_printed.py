"""Every command of the README and the documents runs as printed, in a fresh process, from a fresh copy, nothing added.

The few that show the main paths always; all of them with ``-m slow``, before a release.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import Unknown, of_readme
from tests.conftest import REPOSITORY
from tests.printed import Ended, filled, fresh_copy, run

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PRINTED = list(dict.fromkeys(command.line for path in DOCUMENTS for command in of_readme(path)))
#: installs, or the tests themselves; Python snippets; a tool named without what it needs
NOT_RUN = re.compile(
    r"^make |-m venv |-m pip |^python (from|import) |ckpt=outputs/…$"
    r"|^python -m (tests\.parity|hmu\.tools\.(parity|pack|…))$"
)
MAIN = ("unlearn.py method=esd concept=kick", "seed=0,1", "bvh=exact", "hmu.tools.report outputs/sweeps/<sweep>")


def tidy(ended: Ended, line: str) -> None:
    """No trace, and at most one line for a mistake."""
    assert "Traceback" not in ended.err + ended.out, f"{line}\n{ended.err[-3000:]}"
    assert len(ended.mistakes) <= 1, ended.err


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    return fresh_copy(tmp_path_factory.mktemp("printed") / "hmu")


@pytest.mark.parametrize("mark", MAIN)
def test_the_main_paths_run_as_printed(clone, mark):
    line = next(line for line in PRINTED if mark in line and "suite" not in line)
    command, complete = filled(line, clone)
    assert complete, command
    ended = run(command, clone)
    tidy(ended, command)
    assert ended.code == 0, ended.err[-3000:]


def test_what_they_left_behind(clone):
    if not (clone / "outputs").is_dir():
        pytest.skip("runs after the main paths only")
    (table,) = clone.glob("outputs/sweeps/*/sweep.csv")
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3
    assert list(clone.glob("outputs/unlearn/demo/salad_demo/esd-kick/*/report.html"))
    assert list(clone.glob("outputs/generate/*/bvh/*.bvh"))
    assert list(clone.glob("outputs/sweeps/*/report/report.html"))
    known = {path.name for path in REPOSITORY.iterdir()} | {".cache"}
    assert {path.name for path in clone.iterdir()} <= known  # nothing lands beside outputs/


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in PRINTED if not NOT_RUN.search(line)], ids=lambda line: line[:90])
def test_every_printed_command_runs_or_says_what_it_needs(clone, line):
    command, complete = filled(line, clone)
    ended = run(command, clone)
    tidy(ended, command)
    if ended.code != 0 and "hmu.tools.doctor" not in command:  # it prints what is missing, and exits with 1
        (mistake,) = ended.mistakes
        brought = not complete or any(not (clone / word).exists() for word in re.findall(r"[\w./-]+/[\w./-]+", command))
        own = re.search(
            r"outputs/unlearn/humanml3d|dataset=(humanml3d|motion_x|kit_ml|bandai|bvh|gait)\b|experiment=|source=|clip",
            command,
        )
        assert brought or own, f"{command}\n{mistake}"
        assert len(mistake) < 700


def test_what_is_printed_is_known_as_a_command():
    bad = []
    for path in DOCUMENTS:
        for command in of_readme(path):
            try:
                if not NOT_RUN.search(command.line):
                    _ = command.target
            except Unknown as error:
                bad.append(str(error))
    assert not bad
    assert len(PRINTED) > 80
