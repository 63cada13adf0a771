"""Compare hmu with the authors' code: ``python -m tests.parity <folder of golden vectors> [only=a,b]``.

One line per case: the largest deviation, its tolerance, PASS or FAIL. Exit code 1 on any failure, unknown case or
missing case. Any folder of the golden layout is read: a system (with ``dev/``, ``heldout/`` …), a set, or one case.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests import parity
from tests.parity.checks import Check

CaseRunner = Callable[[Path], Iterator[Check]]
Claim = Callable[[Path], bool]

#: folders that hold what cases share, not cases
SHARED_FOLDERS = {"checkpoints"}


def known_kinds() -> dict[str, CaseRunner]:
    """Every kind of case that a module of this package handles.

    Of several modules that know a kind, one whose ``claims(case)`` is true runs the case, else the last without one.
    """
    known: dict[str, list[tuple[Claim | None, CaseRunner]]] = {}
    for info in pkgutil.iter_modules(parity.__path__):
        if not info.name.startswith("__"):
            module = importlib.import_module(f"{parity.__name__}.{info.name}")
            for kind, runner in getattr(module, "KINDS", {}).items():
                known.setdefault(kind, []).append((getattr(module, "claims", None), runner))
    return {kind: entries[0][1] if len(entries) == 1 else claimed(entries) for kind, entries in known.items()}


def claimed(entries: Sequence[tuple[Claim | None, CaseRunner]]) -> CaseRunner:
    """A runner that leaves a case to the module that claims it."""

    def run(case: Path) -> Iterator[Check]:
        wanted = [runner for claims, runner in entries if claims is not None and claims(case)]
        others = [runner for claims, runner in entries if claims is None]
        yield from (wanted or others)[-1](case)

    return run


def runner_for(name: str, kinds: dict[str, CaseRunner]) -> CaseRunner | None:
    """The runner whose kind is the longest known prefix of a case's name."""
    matches = [kind for kind in kinds if name == kind or name.startswith(kind)]
    return kinds[max(matches, key=len)] if matches else None


def find_cases(root: Path, kinds: dict[str, CaseRunner]) -> list[Path]:
    """Case folders under ``root``: the root itself if it is one, its children, or the children of its sets."""
    files = any(p.is_file() and p.suffix != ".md" for p in root.glob("*.*"))  # a system's folder holds its README
    if runner_for(root.name, kinds) is not None and root.name not in SHARED_FOLDERS and files:
        return [root]
    children = sorted(p for p in root.iterdir() if p.is_dir())
    sets = [p for p in children if runner_for(p.name, kinds) is None and _holds_cases(p, kinds)]
    if sets and not any(runner_for(p.name, kinds) for p in children):  # a case may hold folders named like cases
        return [case for folder in sets for case in find_cases(folder, kinds)]
    return [p for p in children if p.name not in SHARED_FOLDERS]


def _holds_cases(folder: Path, kinds: dict[str, CaseRunner]) -> bool:
    return any(runner_for(p.name, kinds) is not None for p in folder.iterdir() if p.is_dir())


def run_case(case: Path, runner: CaseRunner | None) -> tuple[str, bool]:
    """Run one case; returns its line and whether it passed."""
    if runner is None:
        return (
            f"{case.name:32s} {'-':>10s} {'-':>10s} FAIL  unknown kind of case: nothing in tests.parity handles it",
            False,
        )
    try:
        checks = list(runner(case))
    except Exception as error:  # a broken case must not hide the others
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return (
            f"{case.name:32s} {'-':>10s} {'-':>10s} FAIL  {type(error).__name__}: {str(error)[:160]} ({where})",
            False,
        )
    if not checks:
        return f"{case.name:32s} {'-':>10s} {'-':>10s} FAIL  the case holds nothing to compare", False
    failed = [c for c in checks if not c.passed]
    worst = max(failed or checks, key=lambda c: c.deviation / c.tolerance if c.tolerance else c.deviation * 1e300)
    note = (
        f"{len(failed)} of {len(checks)} comparisons, worst: {worst.name}" if failed else f"{len(checks)} comparisons"
    )
    return (
        f"{case.name:32s} {worst.deviation:10.2e} {worst.tolerance:10.1e} {'FAIL' if failed else 'PASS'}  {note}",
        not failed,
    )


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit code."""
    paths = [a for a in arguments if not a.startswith("only=")]
    only = {name for a in arguments if a.startswith("only=") for name in a[5:].split(",")}
    if len(paths) != 1 or not Path(paths[0]).is_dir():
        sys.stderr.write("error: give one folder of golden vectors: python -m tests.parity <folder> [only=case,case]\n")
        return 2
    kinds = known_kinds()
    cases = find_cases(Path(paths[0]), kinds)
    if only:
        missing = only - {case.name for case in cases}
        if missing:
            sys.stderr.write(
                f"error: no such case: {', '.join(sorted(missing))}; found {', '.join(c.name for c in cases)}\n"
            )
            return 2
        cases = [case for case in cases if case.name in only]
    if not cases:
        sys.stderr.write(f"error: '{paths[0]}' holds no case that hmu knows\n")
        return 2
    passed = 0
    sys.stdout.write(f"{'case':32s} {'deviation':>10s} {'tolerance':>10s}\n")
    for case in cases:
        line, good = run_case(case, runner_for(case.name, kinds))
        passed += good
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"{passed} of {len(cases)} cases pass\n")
    return 0 if passed == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
