"""Which function compares which kind of case."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import torch

from tests.parity.case import SILENT, Case
from tests.parity.checks import Checks, unchecked

CaseRunner = Callable[[Path], Checks]
Claim = Callable[[Path], bool]
#: of every kind, who claims a case of it and who compares it
KINDS: dict[str, list[tuple[Claim | None, CaseRunner]]] = {}
VECTORS = ("vectors.npz", "*.npz")


def compares(
    *kinds: str,
    known: tuple[str, ...] = (".npz", ".json"),
    files: tuple[str, ...] = VECTORS,
    claims: Claim | None = None,
) -> Callable[[Callable[[Case], Checks]], CaseRunner]:
    """Registers what compares the arrays of a case of these kinds; it is run without gradients.

    Files and folders that are not ``known`` (names, suffixes or patterns) and arrays that it did not read are noted.

    Args:
        kinds: beginnings of the cases' names.
        known: what a case's folder may hold.
        files: patterns of the arrays' files, of which the first that is there is read; none = it reads them itself.
        claims: which cases are this function's, where several know a kind.
    """

    def register(function: Callable[[Case], Checks]) -> CaseRunner:
        @wraps(function)
        @torch.no_grad()
        def run(folder: Path) -> Checks:
            yield from strange(folder, *known)
            case = Case.read(folder, *files)
            yield from function(case)
            yield from case.unread()

        for kind in kinds:
            KINDS.setdefault(kind, []).append((claims, run))
        return run

    return register


def strange(folder: Path, *known: str) -> Checks:
    """A note for every file or folder that is not among ``known``."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in {*known, *SILENT} and not any(path.match(pattern) for pattern in known):
            yield unchecked(f"'{path.name}'", "unknown kind")
