"""Compare hmu with the authors' code: ``python -m tests.parity <folder of golden vectors> [only=a,b] [strict=true]``.

One line per case: the largest deviation, its tolerance, PASS or FAIL, and what could not be compared. Exit code 1 on
any failure, unknown case or case without a comparison; ``strict=true`` also fails what is not compared. Any folder of
the golden layout is read (docs/parity.md): a system (with ``dev/``, ``heldout/`` …), a set, or one case.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import parity
from tests.parity.kinds import KINDS, CaseRunner, Claim

Kinds = Mapping[str, Sequence[tuple[Claim | None, CaseRunner]]]
#: folders that hold what cases share, not cases
SHARED_FOLDERS = {"checkpoints"}
DEEPEST = 4  # levels of folders between the one that is given and a case
SHOWN = 3  # notes per line
LATER = {"mdm"}  # systems whose vectors are there before their reader
USAGE = "give one folder of golden vectors: python -m tests.parity <folder> [only=case,case] [strict=true]"


def known_kinds() -> Kinds:
    """Every kind of case that a module of this package compares."""
    for info in pkgutil.iter_modules(parity.__path__):
        if not info.name.startswith(("__", "test_", "synthetic")):
            importlib.import_module(f"{parity.__name__}.{info.name}")
    return KINDS


def fits(kind: str, name: str) -> bool:
    """Whether a case's name begins with a kind, or holds all its words in order (``rvq_shared_train``)."""
    pattern = r"(?:_.*)?_".join(map(re.escape, kind.split("_")))
    return name.startswith(kind) or ("_" in kind and re.fullmatch(rf"{pattern}(?:_.*)?", name) is not None)


def _system(case: Path) -> str:
    """Of a case in ``<system>/<set>/<case>``."""
    return case.parents[1].name if len(case.parents) > 1 else ""


def runner_for(case: Path, kinds: Kinds) -> CaseRunner | None:
    """The runner of the longest kind that a case's name fits, and of those the one that claims the case."""
    entries = kinds[max(named, key=len)] if (named := [kind for kind in kinds if fits(kind, case.name)]) else []
    if len(entries) < 2:
        return entries[0][1] if entries else None
    claimed = [runner for claims, runner in entries if claims is not None and claims(case)]
    general = [runner for claims, runner in entries if claims is None]
    return (claimed or general or [entries[-1][1]])[-1]


def find_cases(root: Path, kinds: Kinds, depth: int = DEEPEST) -> list[Path]:
    """Case folders under ``root``: the root itself if it is one, its children, or those of the sets in it."""
    files = any(p.is_file() and p.suffix != ".md" for p in root.glob("*.*"))  # a system's folder holds its README
    if any(fits(kind, root.name) for kind in kinds) and root.name not in SHARED_FOLDERS and files:
        return [root]
    children = sorted(p for p in root.iterdir() if p.is_dir() and p.name not in SHARED_FOLDERS)
    if any(runner_for(p, kinds) and _is_case(p, kinds) for p in children) or not depth:
        return children  # a case may hold folders named like cases
    below = [case for child in children for case in find_cases(child, kinds, depth - 1)]
    return below if any(runner_for(case, kinds) for case in below) else children


def _is_case(folder: Path, kinds: Kinds) -> bool:
    """A folder named like a case is one unless all that it holds are folders of which some are sets or cases."""
    entries = list(folder.iterdir())
    if any(p.is_file() and p.suffix != ".md" for p in entries):
        return True
    return not any(p.is_dir() and any(q.is_dir() and runner_for(q, kinds) for q in p.iterdir()) for p in entries)


def run_case(case: Path, runner: CaseRunner | None, strict: bool = False) -> tuple[str, bool]:
    """Run one case; returns its line and whether it passed."""
    blank = f"{case.name:32s} {'-':>10s} {'-':>10s} FAIL  "
    if runner is None:
        why = f"no reader for {_system(case)} yet" if _system(case) in LATER else "nothing in tests.parity handles it"
        return f"{blank}unknown kind of case: {why}", False
    try:
        rows = list(runner(case))
    except Exception as error:  # a broken case must not hide the others
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{error} is nowhere in the case" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
        return f"{blank}{type(error).__name__}: {why} ({Path(last.filename).name}:{last.lineno})", False
    checks, notes = [row for row in rows if not row.note], [f"{row.name} ({row.note})" for row in rows if row.note]
    aside = "; not compared: " + ", ".join(notes[:SHOWN]) if notes else ""
    aside += f" and {len(notes) - SHOWN} more" if len(notes) > SHOWN else ""
    if not checks:
        return f"{blank}the case holds nothing to compare{aside}", False
    failed = [check for check in checks if not check.passed]
    worst = max(failed or checks, key=lambda c: c.deviation / c.tolerance if c.tolerance else c.deviation * 1e300)
    count = f"{len(checks)} comparisons"
    count = f"{len(failed)} of {count}, worst: {worst.name}" if failed else count
    passed = not failed and not (strict and notes)
    numbers = f"{worst.deviation:10.2e} {worst.tolerance:10.1e}"
    return f"{case.name:32s} {numbers} {'PASS' if passed else 'FAIL'}  {count}{aside}", passed


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit code."""
    options = dict(a.split("=", 1) for a in arguments if a.startswith(("only=", "strict=")))
    paths = [a for a in arguments if not a.startswith(("only=", "strict="))]
    strict = options.get("strict", "false").lower()
    if len(paths) != 1 or not Path(paths[0]).is_dir() or strict not in ("true", "false"):
        return _error(USAGE)
    kinds = known_kinds()
    cases = find_cases(Path(paths[0]), kinds)
    only = set(filter(None, options.get("only", "").split(",")))
    if missing := only - {case.name for case in cases}:
        return _error(f"no such case: {', '.join(sorted(missing))}; found {', '.join(c.name for c in cases)}")
    cases = [case for case in cases if not only or case.name in only]
    if not cases:
        return _error(f"'{paths[0]}' holds no case that hmu knows")
    passed = 0
    sys.stdout.write(f"{'case':32s} {'deviation':>10s} {'tolerance':>10s}\n")
    for case in cases:
        runner = None if _system(case) in LATER else runner_for(case, kinds)
        line, good = run_case(case, runner, strict == "true")
        passed += good
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"{passed} of {len(cases)} cases pass\n")
    return 0 if passed == len(cases) else 1


def _error(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
