"""Commands as they are printed, run in fresh processes from a fresh copy of the repository, with nothing added.

``HMU_DEBUG=fast`` cuts steps and limits; folders and everything else are what a user has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

_PLACE = re.compile(r"<[^>]*>|…")
#: what people put for a placeholder alone: the newest folder of the kind that an earlier command has made
KINDS = {
    "run folder": "outputs/unlearn/demo/salad_demo/*/*/edit",
    "run": "outputs/unlearn/demo/salad_demo/*/*/edit",
    "a run of the table above": "outputs/unlearn/demo/salad_demo/*/*/edit",
    "golden": "../shared/golden",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, what it printed, seconds."""

    code: int
    out: str
    err: str

    @property
    def mistakes(self) -> list[str]:
        """The lines that name a mistake."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def fresh_copy(target: Path) -> Path:
    """What a clone of the repository holds: tracked files, and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def filled(line: str, clone: Path) -> tuple[str, bool]:
    """The command with its placeholders filled in by what earlier commands made, and whether all could be."""
    words = []
    for word in _split(line):
        for match in reversed(list(_PLACE.finditer(word))):
            kind = KINDS.get(match.group()[1:-1])
            start = max(word.rfind(mark, 0, match.start()) for mark in "=[,") + 1
            end = next((i for i in range(match.end(), len(word)) if word[i] in ":,]"), len(word))
            pattern = kind or _PLACE.sub("*", word[start:end])
            found = sorted(clone.glob(pattern), key=lambda path: path.stat().st_mtime) if pattern.strip("*") else []
            if found:
                made = found[-1].parent if pattern.endswith("/edit") else found[-1]
                begin, stop = (match.start(), match.end()) if kind else (start, end)
                word = word[:begin] + str(made.relative_to(clone)) + word[stop:]
        words.append(word)
    whole = " ".join(words)
    return _PLACE.sub("PLACEHOLDER", whole), _PLACE.search(whole) is None


def _split(line: str) -> list[str]:
    """Words at blanks outside quotes and placeholders, the quotes kept; comments dropped."""
    line = re.split(r"\s#\s", line)[0]
    return re.findall(r"(?:<[^>]*>|'[^']*'|\"[^\"]*\"|\S)+", line)


def run(line: str, clone: Path, timeout: float = 900) -> Ended:
    """Run a printed line in a shell in ``clone``, as a user whose virtual environment is active."""
    line = re.sub(r"^\.venv\\Scripts\\", "", line).replace("\\", "/") if line.startswith(".venv") else line
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HMU_", "HYDRA_", "PYTEST"))}
    environment |= {"HMU_DEBUG": "fast", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = ["bash", "-c", line] if os.name != "nt" else line
    done = subprocess.run(
        shell, cwd=clone, env=environment, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    return Ended(done.returncode, done.stdout, done.stderr)
