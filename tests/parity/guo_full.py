"""The HumanML3D evaluator at published widths, weights by rule (``guo_h3d_full``, ``guo_kit_full``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.evaluators.guo.vocabulary import CLASSES
from tests.parity.case import Case, Table, strange
from tests.parity.checks import Check, compare, deviation, nearest, unchecked
from tests.parity.fills import Fill, filled, fills
from tests.parity.guo import F32, UNIT, modules_of, widths


# -- published widths, weights by rule ---------------------------------------------------------------------------------
def formula_checks(modules: Mapping[str, nn.Module] | nn.ModuleDict, told: Any) -> Iterator[Check]:
    """config.json lists a few values per parameter: each of them must be among the filled weights."""
    for name, expected in told.items() if isinstance(told, Mapping) else ():
        part, _, parameter = name.partition(".")
        state = modules[part].state_dict() if part in modules else {}
        if parameter not in state:
            yield unchecked(f"check {name}", "no parameter of this name")
            continue
        values = torch.tensor(sorted(_floats(expected)), dtype=torch.float32)
        nearby = (state[parameter].flatten()[None] - values[:, None]).abs().amin(1)
        yield compare(f"check {name}", nearby, np.zeros(len(values)), 1e-6, absolute=True)


def _floats(told: Any) -> Iterator[float]:
    """All fractional numbers in a nested JSON value (whole numbers are indices)."""
    if isinstance(told, float):
        yield told
    elif isinstance(told, (list, Mapping)):
        for item in told.values() if isinstance(told, Mapping) else told:
            yield from _floats(item)


class Encoders(nn.ModuleDict):
    """The three encoders at published widths, on normalised motions and raw word vectors."""

    def movement(self, case: Case) -> Tensor:
        """Movement tokens of the stored motions."""
        return self["movement_encoder"](case["motions"][..., :-4])

    def motion(self, case: Case) -> Tensor:
        """Motion embeddings in the caller's order."""
        return self["motion_encoder"](self.movement(case), lengths_of(case, False) // UNIT)

    def text(self, case: Case) -> Tensor:
        """Text embeddings in the caller's order."""
        classes = F.one_hot(case["pos_index"].long(), len(CLASSES)).to(case.dtype)
        return self["text_encoder"](case["word"], classes, lengths_of(case, True))


def lengths_of(case: Case, of_text: bool) -> Tensor:
    """Frames of the motions, or tokens of the texts (all of them where none are stored)."""
    rows, classes = len(case.raw("motions")), case.raw("pos_index")
    named = [
        n for n in case.names() if "len" in n and case.dims(n) == 1 and n != "me_lens" and len(case.raw(n)) == rows
    ]
    found = [name for name in named if _names_text(name) == of_text]
    if not found and of_text:
        return torch.full((rows,), classes.shape[1])
    return case[found[0]] if found else torch.full((rows,), case.raw("motions").shape[1])


def _names_text(name: str) -> bool:
    return any(part in name for part in ("cap", "sent", "te_", "text", "word"))


def _authors_order(case: Case) -> np.ndarray:
    lengths = lengths_of(case, False).numpy()
    return case.raw("order") if "order" in case else np.argsort(lengths, kind="stable")[::-1].copy()


def _tokens(case: Case, encoders: Encoders, name: str) -> Tensor:
    """Movement tokens; the stored array may hold the first ones only."""
    expected = next(case.raw(n) for n in case.names() if re.fullmatch(rf"{re.escape(name)}(_f64)?", n))
    return encoders.movement(case)[tuple(slice(0, n) for n in expected.shape)].reshape(expected.shape)


def _me(case: Case, encoders: Encoders) -> Tensor:
    return encoders["motion_encoder"](case["me_in"], case["me_lens"])


FULL_ROWS: Table = {
    "co_motion_callerorder": lambda case, encoders: encoders.motion(case),
    "co_text_callerorder": lambda case, encoders: encoders.text(case),
    "(?:co|gm)_motion": lambda case, encoders: encoders.motion(case)[_authors_order(case)],
    "(?:co|gt)_text": lambda case, encoders: encoders.text(case)[_authors_order(case)],
    "((?:mv_|mov|first).*)": _tokens,
    "me_out": _me,
}


def full(folder: Path) -> Iterator[Check]:
    """Published widths with weights by rule."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder)
    sizes = widths(case, folder.name.replace("_full", ""))
    first = next(name for name in ("co_motion", "co_motion_callerorder_f64", "me_out") if name in case)

    def made() -> Iterator[Encoders]:
        for fill in fills(folder.name, moved=(True, False)):
            parts = modules_of(sizes)
            for part, module in parts.items():
                filled(module, Fill(fill.rule, f"{part}.", fill.moved))
            yield Encoders(parts).eval()

    def error(encoders: Encoders) -> float:
        listed = sum(check.deviation for check in formula_checks(encoders, case.facts.get("check", {})))
        outputs = {
            "co_motion": lambda: encoders.motion(case)[_authors_order(case)],
            "me_out": lambda: _me(case, encoders),
        }
        return listed + deviation(outputs.get(first, lambda: encoders.motion(case))(), case.raw(first))

    with torch.no_grad():
        encoders = nearest(made(), error)
        assert encoders is not None
        yield from formula_checks(encoders, case.facts.get("check", {}))
        yield from case.table(encoders, FULL_ROWS, F32)
    yield from case.unread()


def claims(folder: Path) -> bool:
    """Cases without stored weights."""
    return next(folder.rglob("finest.tar"), None) is None


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = dict.fromkeys(
    ("guo_h3d", "guo_kit", "guo_h3d_full", "guo_kit_full"), full
)
