"""Parity of TMR at the published widths, weights by rule (``tmr_full``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.evaluators.tmr.authors import from_parts
from hmu.evaluators.tmr.evaluator import TMREvaluator
from hmu.evaluators.tmr.settings import PARTS
from tests.parity.case import Case, Table, facts_of, read_arrays, strange
from tests.parity.checks import Check, deviation, nearest
from tests.parity.fills import Fill, filled, fills
from tests.parity.guo import F32, whole
from tests.parity.guo_full import formula_checks
from tests.parity.tmr import MODULE_ROWS, decoded, empty, encoded

RESULTS = ("enc", "out", "dec", "recon", "sim", "score", "mu", "logvar", "latent", "unit")
#: the authors' defaults, where a case states no sizes
PUBLISHED = {"latent_dim": 256, "ff_size": 1024, "num_layers": 6, "num_heads": 4, "dropout": 0.1, "activation": "gelu"}
#: what inputs are called here: a case may name them otherwise
SYNONYMS = {
    "words": "text",
    "tokens": "text",
    "text_tokens": "text",
    "text_f": "text",
    "motions": "motion",
    "x": "motion",
}
KINDS_OF_TEXT = ("text", "word", "tok", "cap", "sent")


def _named(arrays: dict[str, Any]) -> dict[str, Any]:
    """Inputs under the names that the rows use: motions, texts, their lengths and masks, and latents to decode."""
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        stem, half = re.sub(r"_(f16|f32)$", "", name), "_f16" if name.endswith("_f16") else ""
        kind = "text" if any(word in stem for word in KINDS_OF_TEXT) else "decode" if "dec" in stem else "motion"
        if value.dtype == bool and value.ndim == 2:
            stem, half = f"{kind}_mask", ""
        elif value.dtype.kind in "iu" and value.ndim == 1:
            stem, half = {"decode": "decode_lengths2"}.get(kind, f"{kind}_len"), ""
        elif value.ndim == 3 and not any(part in stem for part in RESULTS):
            stem = SYNONYMS.get(stem, "text" if kind == "text" else "motion" if stem.startswith("motion") else stem)
        elif value.ndim == 2 and kind == "decode" and stem.endswith("z"):
            stem = "decode_z"
        else:
            found[name] = value
            continue
        found[f"{stem}{half}"] = value
    return found


def _half(case: Case, evaluator: TMREvaluator, which: str, part: str) -> Tensor:
    """Mean, log-variance or unit latent of one side, however the two words are ordered."""
    tokens = encoded(case, evaluator, "text" if which in KINDS_OF_TEXT else "motion")
    if part == "unit":
        return F.normalize(tokens[:, 0], dim=-1)
    return tokens[:, 1] if part == "logvar" else tokens[:, 0]


def _reconstructed(case: Case, evaluator: TMREvaluator) -> Tensor:
    """Motions of the stored latents, else of the motions' own."""
    if "decode_z" in case:
        return decoded(case, evaluator)
    latent = encoded(case, evaluator, "motion")[:, 0]
    from_motion = Case(case.folder, {**case.stored, "decode_z": latent.detach().numpy()}, dtype=case.dtype)
    return decoded(from_motion, evaluator)


FULL_ROWS: Table = {
    **MODULE_ROWS,
    "(text|motion)_(mu|mean|logvar|unit|latent)": _half,
    "(mu|mean|logvar|unit|latent)_(text|motion)": lambda case, evaluator, part, which: _half(
        case, evaluator, which, part
    ),
    "(?:dec|decoded|decode_out|recon|motion_dec|decoder_out)": _reconstructed,
    "(?:sim|similarity|cosine)": MODULE_ROWS["sim_matrix"],
    "score": MODULE_ROWS["score_matrix"],
    "sent_emb|sentences": lambda case, _: None,
}


def full(folder: Path) -> Iterator[Check]:
    """Encoders and decoder on the stored inputs."""
    yield from strange(folder, ".npz", ".json")
    arrays = {n: a for path in sorted(folder.rglob("*.npz")) for n, a in read_arrays(path).items()}
    case = Case(folder, _named(arrays), facts=facts_of(folder))
    model, listed = _model(case), case.facts.get("check", {})

    def made() -> Iterator[TMREvaluator]:
        settings = {
            part: {"heads": s["num_heads"], "dropout": s["dropout"], "activation": s["activation"]}
            for part, s in model.items()
        }
        like = {part: getattr(empty(model), part).state_dict() for part in PARTS}
        for fill in fills(folder.name, moved=(True, False)):
            values = {p: Fill(fill.rule, f"{p}.", fill.moved).state(state) for p, state in like.items()}
            single = {p: {n: v.float() for n, v in state.items()} for p, state in values.items()}
            evaluator = from_parts(single, folder.name, settings, unit=False, variant="upstream")
            for part in PARTS:
                filled(getattr(evaluator, part), Fill(fill.rule, f"{part}.", fill.moved))
            yield evaluator

    def error(evaluator: TMREvaluator) -> float:
        told = sum(check.deviation for check in formula_checks(networks(evaluator), listed))
        first = next((n for n in ("motion_enc", "text_enc", "motion_enc_f64", "text_enc_f64") if n in case), None)
        if first is None:
            return told
        fresh = Case(folder, case.stored)
        return told + deviation(encoded(fresh, evaluator, first.split("_")[0]), case.raw(first))

    with torch.no_grad():
        evaluator = nearest(made(), error)
        assert evaluator is not None
        yield from formula_checks(networks(evaluator), listed)
        yield from case.table(evaluator, FULL_ROWS, F32)
    yield from case.unread()


def _model(case: Case) -> dict[str, dict[str, Any]]:
    """The sizes of the three networks: a ``model`` node anywhere in the JSON, else arrays and published ones."""
    found = _find(dict(case.facts))
    if found is not None:
        return {part: {**PUBLISHED, **found[part]} for part in PARTS}
    flat: dict[str, Any] = {key: whole(case.facts[key]) or case.facts[key] for key in PUBLISHED if key in case.facts}
    flat["latent_dim"] = case.last("motion_enc", "text_enc", "decode_z") or flat.get("latent_dim", 256)
    widths = {"motion_encoder": case.last("motion") or 263, "text_encoder": case.last("text") or 768}
    widths["motion_decoder"] = widths["motion_encoder"]
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


def networks(evaluator: TMREvaluator) -> dict[str, torch.nn.Module]:
    """The three networks by name."""
    return {part: getattr(evaluator, part) for part in PARTS}


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"tmr_full": full}
