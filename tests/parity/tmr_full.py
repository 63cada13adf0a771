"""Parity of TMR at the published widths, weights by rule (``tmr_full``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from hmu.evaluators.tmr.evaluator import TMREvaluator
from hmu.evaluators.tmr.settings import PARTS
from tests.parity.case import Case, Table, read_arrays
from tests.parity.checks import Checks, nearest
from tests.parity.fills import filled, fills
from tests.parity.guo import F32, formula_checks, whole
from tests.parity.kinds import compares
from tests.parity.tmr import MODULE_ROWS, decoded, encoded, networks, sized

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
    inputs: dict[str, Any] = {}
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
            stem, half = name, ""
        inputs[f"{stem}{half}"] = value
    return inputs


def _half(case: Case, evaluator: TMREvaluator, which: str, part: str) -> Tensor:
    """Mean, log-variance or unit latent of one side, however the two words are ordered."""
    which, part = (part, which) if part in ("text", "motion") else (which, part)
    tokens = encoded(case, evaluator, which)
    if part == "unit":
        return F.normalize(tokens[:, 0], dim=-1)
    return tokens[:, 1] if part == "logvar" else tokens[:, 0]


def _reconstructed(case: Case, evaluator: TMREvaluator) -> Tensor:
    """Motions of the stored latents, else of the motions' own."""
    if "decode_z" in case:
        return decoded(case, evaluator)
    latent = encoded(case, evaluator, "motion")[:, 0]
    from_motion = Case(case.folder, {**case.stored, "decode_z": latent.numpy()}, dtype=case.dtype)
    return decoded(from_motion, evaluator)


FULL_ROWS: Table = {
    **MODULE_ROWS,
    "(text|motion)_(mu|mean|logvar|unit|latent)": _half,
    "(mu|mean|logvar|unit|latent)_(text|motion)": _half,
    "(?:dec|decoded|decode_out|recon|motion_dec|decoder_out)": _reconstructed,
    "(?:sim|similarity|cosine)": MODULE_ROWS["sim_matrix"],
    "score": MODULE_ROWS["score_matrix"],
    "sent_emb|sentences": lambda case, _: None,
}


@compares("tmr_full", files=())
def full(folder: Case) -> Checks:
    """Encoders and decoder on the stored inputs."""
    arrays = {n: a for path in sorted(folder.folder.rglob("*.npz")) for n, a in read_arrays(path).items()}
    case = Case(folder.folder, _named(arrays), facts=folder.facts)
    model, listed = _model(case), case.facts.get("check", {})
    first = case.first("motion_enc", "text_enc", "motion_enc_f64", "text_enc_f64")

    def candidates() -> Iterator[TMREvaluator]:
        for fill in fills(case.folder.name, moved=(True, False)):
            evaluator = sized(model).eval()
            for part, module in networks(evaluator).items():
                filled(module, fill.under(f"{part}."))
            yield evaluator

    def error(evaluator: TMREvaluator) -> float:
        off = sum(check.deviation for check in formula_checks(networks(evaluator), listed))
        return off + (case.off(evaluator, FULL_ROWS, first) if first else 0.0)

    evaluator = nearest(candidates(), error)
    yield from formula_checks(networks(evaluator), listed)
    yield from case.table(evaluator, FULL_ROWS, F32)
    yield from case.unread()


def _model(case: Case) -> Mapping[str, Mapping[str, Any]]:
    """The sizes of the three networks: a ``model`` node anywhere in the JSON, else arrays and published ones."""
    if (node := _find(case.facts)) is not None:
        return {part: {**PUBLISHED, **node[part]} for part in PARTS}
    flat: dict[str, Any] = {key: whole(case.facts[key]) or case.facts[key] for key in PUBLISHED if key in case.facts}
    flat["latent_dim"] = case.last("motion_enc", "text_enc", "decode_z") or flat.get("latent_dim", 256)
    features, text = case.last("motion") or 263, case.last("text") or 768
    return {part: {**PUBLISHED, **flat, "nfeats": text if "text" in part else features} for part in PARTS}


def _find(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, Mapping):
        if all(isinstance(content.get(p), Mapping) and "nfeats" in content[p] for p in PARTS):
            return content
        content = list(content.values())
    nodes = map(_find, content if isinstance(content, list) else ())
    return next((node for node in nodes if node is not None), None)
