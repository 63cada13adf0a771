"""Parity of TMR at the published widths, weights by formula (``tmr_full``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.data.batch import length_mask
from hmu.evaluators.tmr.authors import from_parts
from hmu.evaluators.tmr.evaluator import TMREvaluator
from hmu.evaluators.tmr.settings import PARTS
from tests.parity.checks import Check, compare
from tests.parity.guo import F32, F64, Arrays, as_tensor, formula, formula_checks, read_json
from tests.parity.tmr import empty

State = dict[str, dict[str, Tensor]]
WORDS = ("text", "word", "tok", "cap", "sent")
RESULTS = ("enc", "out", "dec", "recon", "sim", "score", "mu", "logvar", "latent", "unit")
#: what the authors' defaults are where a case states no sizes
PUBLISHED = {"latent_dim": 256, "ff_size": 1024, "num_layers": 6, "num_heads": 4, "dropout": 0.1, "activation": "gelu"}


def full(case: Path) -> Iterator[Check]:
    """Encoders and decoder on the stored inputs; arrays are told apart by their names and shapes."""
    told = [read_json(path) for path in sorted(case.rglob("*.json"))]
    arrays = {n: a for path in sorted(case.rglob("*.npz")) for n, a in np.load(path).items()}
    model = _model(told, arrays)
    listed: Any = next((t["check"] for t in told if isinstance(t, Mapping) and "check" in t), {})
    evaluator = _fitting(case.name, model, listed)
    yield from formula_checks(networks(evaluator), listed)
    inputs = _inputs(arrays, model)
    with torch.no_grad():
        for double in (True, False):
            dtype = torch.float64 if double else torch.float32
            outputs = _outputs(evaluator.to(dtype), inputs, dtype)
            for name in sorted(set(arrays) - set(inputs.names)):
                if ("f64" in name) == double:
                    yield _compared(name, arrays[name], outputs, F64 if double else F32)


@dataclass
class Inputs:
    """What the case feeds to the networks, and under which names."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def take(self, kind: str, name: str, value: np.ndarray) -> None:
        """Remember an input."""
        self.values[kind] = value
        self.names.append(name)

    def mask(self, kind: str, count: int) -> Tensor:
        """True at real entries ``(batch, count)``; everything where neither mask nor lengths are stored."""
        if f"{kind}_mask" in self.values:
            return torch.from_numpy(self.values[f"{kind}_mask"])
        lengths = self.values.get(f"{kind}_lengths", np.full(len(self.values[kind]), count))
        return length_mask(torch.from_numpy(lengths), count)


def _inputs(arrays: Arrays, model: Mapping[str, Mapping[str, Any]]) -> Inputs:
    widths = {"text": model["text_encoder"]["nfeats"], "motion": model["motion_encoder"]["nfeats"]}
    found = Inputs()
    for name, value in arrays.items():
        if value.ndim == 3 and not any(part in name for part in RESULTS):
            kind = next((k for k, width in widths.items() if width == value.shape[-1] and k in name), None)
            kind = kind or next((k for k, width in widths.items() if width == value.shape[-1]), "")
            found.take(kind, name, value)
    for name, value in arrays.items():
        kind = "text" if any(part in name for part in WORDS) else "decode" if "dec" in name else "motion"
        if value.dtype == bool and value.ndim == 2:
            found.take(f"{kind}_mask", name, value)
        elif value.dtype.kind in "iu" and value.ndim == 1:
            found.take(f"{kind}_lengths", name, value)
        elif value.ndim == 2 and "sent" in name:  # only losses read sentence embeddings
            found.take("sentences", name, value)
        elif value.ndim == 2 and "dec" in name and name.split("_f")[0].endswith("z"):
            found.take("decode", name, value)
    return found


def _outputs(evaluator: TMREvaluator, inputs: Inputs, dtype: torch.dtype) -> dict[str, list[Tensor]]:
    """What the networks make of the inputs; several candidates where the case may mean either."""
    motion, text = (as_tensor(inputs.values[kind], dtype) for kind in ("motion", "text"))
    masks = {kind: inputs.mask(kind, value.shape[1]) for kind, value in (("motion", motion), ("text", text))}
    encoded = {
        "motion": evaluator.motion_encoder(motion, masks["motion"]),
        "text": evaluator.text_encoder(text, masks["text"]),
    }
    latent = as_tensor(inputs.values["decode"], dtype) if "decode" in inputs.values else encoded["motion"][:, 0]
    decoded = [evaluator.motion_decoder(latent, masks["motion"])] if len(latent) == len(motion) else []
    if "decode_lengths" in inputs.values:
        lengths = torch.from_numpy(inputs.values["decode_lengths"])
        decoded.append(evaluator.motion_decoder(latent, length_mask(lengths, int(lengths.max()))))
    unit = {kind: F.normalize(value[:, 0], dim=-1) for kind, value in encoded.items()}
    cosines = unit["text"] @ unit["motion"].mT
    halves = {f"{k} {n}": [v[:, i]] for k, v in encoded.items() for i, n in enumerate(("mean", "logvar"))}
    halves |= {f"{k} unit": [v] for k, v in unit.items()} | {f"{k} tokens": [v] for k, v in encoded.items()}
    return {**halves, "decoded": decoded, "sim": [cosines], "score": [cosines / 2 + 0.5]}


def _compared(name: str, expected: np.ndarray, outputs: Mapping[str, list[Tensor]], tolerance: float) -> Check:
    """The candidate that fits best; expected arrays may hold the first rows or columns only."""
    kind = "text" if any(part in name for part in WORDS) else "motion"
    part = "logvar" if "logvar" in name else "unit" if "unit" in name else "mean"
    if "score" in name or "sim" in name:
        key = "score" if "score" in name else "sim"
    elif "dec" in name or "recon" in name:
        key = "decoded"
    else:
        key = f"{kind} tokens" if expected.ndim == 3 else f"{kind} {part}"
    known = any(part in name for part in RESULTS) and expected.dtype.kind == "f"
    made = [x[tuple(map(slice, expected.shape))] for x in outputs[key] if known and x.ndim >= expected.ndim]
    checks = [compare(name, value, expected, tolerance) for value in made]
    return min(checks, key=lambda check: check.deviation, default=Check(f"unknown array {name}", float("inf"), 0.0))


def _model(told: list[Any], arrays: Arrays) -> dict[str, dict[str, Any]]:
    """The sizes of the three networks: a ``model`` node anywhere in the JSON files, else the published ones."""
    for content in told:
        found = _find(content)
        if found is not None:
            return {part: {**PUBLISHED, **found[part]} for part in PARTS}
    flat = {k: v for t in told if isinstance(t, Mapping) for k, v in t.items() if k in PUBLISHED}
    inputs = [a.shape[-1] for n, a in arrays.items() if a.ndim == 3 and not any(part in n for part in RESULTS)]
    motion = int(next(a.shape[-1] for n, a in arrays.items() if n.startswith("motion") and a.shape[-1] in inputs))
    text = int(next((width for width in inputs if width != motion), 768))
    widths = {"motion_encoder": motion, "text_encoder": text, "motion_decoder": motion}
    return {part: {**PUBLISHED, **flat, "nfeats": widths[part]} for part in PARTS}


def _find(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, Mapping):
        if all(isinstance(content.get(p), Mapping) and "nfeats" in content[p] for p in PARTS):
            return content
        content = list(content.values())
    for item in content if isinstance(content, list) else ():
        found = _find(item)
        if found is not None:
            return found
    return None


def _settings(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"heads": part["num_heads"], "dropout": part["dropout"], "activation": part["activation"]}


def _fitting(name: str, model: Mapping[str, Mapping[str, Any]], listed: Mapping[str, Any]) -> TMREvaluator:
    """Weights by formula; whether LayerNorm weights are moved to 1 is decided by the listed values."""
    shapes = {part: module.state_dict() for part, module in networks(empty(model)).items()}
    settings = {part: _settings(model[part]) for part in PARTS}
    fits = [
        from_parts(_filled(shapes, moved), name, settings, unit=False, variant="upstream") for moved in (True, False)
    ]
    return min(fits, key=lambda made: sum(check.deviation for check in formula_checks(networks(made), listed)))


def networks(evaluator: TMREvaluator) -> dict[str, torch.nn.Module]:
    """The three networks by name."""
    return {part: getattr(evaluator, part) for part in PARTS}


def _filled(shapes: Mapping[str, Mapping[str, Tensor]], moved: bool) -> State:
    state: State = {}
    for part, tensors in shapes.items():
        state[part] = {}
        for name, value in tensors.items():
            filled = formula(f"{part}.{name}", value.shape)
            is_norm = ".norm" in name and name.endswith(".weight")
            state[part][name] = (filled + 1 if moved and is_norm else filled).float()
    return state


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"tmr_full": full}
