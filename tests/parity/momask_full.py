"""MoMask at its published size: weights filled by the rules of the golden vectors, one file of arrays per network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.parity.checks import Check
from tests.parity.momask_files import Case, other_runner
from tests.parity.momask_masked import length_checks, mtrans_checks
from tests.parity.momask_residual import rtrans_checks
from tests.parity.momask_rvq import rvq_checks
from tests.parity.salad_files import Arrays

PARTS: dict[str, Callable[[Case], Iterator[Check]]] = {
    "rvq": rvq_checks,
    "mtrans": mtrans_checks,
    "rtrans": rtrans_checks,
    "rtrans_noshare": rtrans_checks,
    "length": length_checks,
}
#: inputs that one file keeps for another as well
BORROWED = {"rtrans_noshare": ("rtrans", ("motion_codes", "m_lens", "cond", "padding_mask"))}


class Joined(Arrays):
    """A file's arrays, with some of another file's where it lacks them."""

    def __init__(self, path: Path, other: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
        super().__init__(path)
        self._arrays |= {name: other[name] for name in names if name in other and name not in self._arrays}


def full(folder: Path) -> Iterator[Check]:
    """Every network of a folder, its weights filled by the rule in the folder's name."""
    files = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    if not files.keys() & PARTS.keys():
        elsewhere = other_runner(folder.name, full)
        if elsewhere is not None:
            yield from elsewhere(folder)
            return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            continue  # settings and manifests, read where they are needed
        if path.suffix != ".npz" or path.stem not in PARTS:
            yield Check(f"file '{path.name}' of unknown kind", float("inf"), 0.0)
            continue
        source, names = BORROWED.get(path.stem, ("", ()))
        arrays = Joined(path, Arrays(files[source]) if source in files else {}, names)
        for check in PARTS[path.stem](Case(folder, arrays, path.stem)):
            yield Check(f"{path.stem} {check.name}", check.deviation, check.tolerance)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"full_sine": full, "full_hash": full}
