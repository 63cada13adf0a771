"""Cases that MoMask and BAMM both have: from text to motion, and networks of the published size, filled by rule.

BAMM's tokenizer and residual transformer are MoMask's, so their code and their checks are too. What a file is about
follows from its arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.bamm.generation import generate_ids
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.sampling import decode_residual
from hmu.data.batch import length_mask
from tests.parity.bamm import authors_options, bamm_checks, stored_noise
from tests.parity.case import Case, Table, facts_of, read_arrays, strange
from tests.parity.checks import Check, exact
from tests.parity.momask_masked import length_checks, mtrans_checks
from tests.parity.momask_models import (
    NETWORK,
    SCALES,
    Chain,
    bamm_transformers,
    chains,
    nearest_chain,
    pick,
    residual_transformers,
    valid,
)
from tests.parity.momask_residual import SCALE, e2e_checks, greedy, rtrans_checks
from tests.parity.momask_rvq import rvq_checks

#: what tells the kind of a file, and who compares it
PARTS: dict[str, Callable[[Case], Iterator[Check]]] = {
    r"logits_(causal|cond).*": bamm_checks,
    r"q\d+_(logits|features).*": rtrans_checks,
    r"text_emb": length_checks,
    r"tf_ids": mtrans_checks,
    r"recon|encoder_out|decoded|indices": rvq_checks,
}


def full(folder: Path) -> Iterator[Check]:
    """Every network of a folder at its published size; a file may leave inputs out that another one holds."""
    yield from strange(folder, ".npz", ".json")
    files = {path.stem: read_arrays(path) for path in sorted(folder.glob("*.npz"))}
    for stem, arrays in files.items():
        others = {name: value for other in files.values() for name, value in other.items()}
        related = {name: v for s, f in files.items() if s.split("_")[0] == stem.split("_")[0] for name, v in f.items()}
        case = Case(folder, arrays, stem, facts=facts_of(folder), lent=_inputs(others) | _inputs(related))
        run = next((run for pattern, run in PARTS.items() if case.find(pattern)), None)
        yield from (check.inside(stem) for check in (case.unread() if run is None else run(case)))


def _inputs(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = (
        "ids",
        "tf_ids",
        "cond_idx",
        "cond",
        "m_lens",
        "padding_mask",
        "motion_codes",
        "motion_ids",
        "text_emb",
        "x",
    )
    return {name: arrays[name] for name in names if name in arrays}


# -- BAMM from text to motion ------------------------------------------------------------------------------------------
def _residual_ids(net: ResidualTransformer, base: Tensor, text: Tensor, real: Tensor, scale: float) -> Tensor:
    """All layers, greedily, as the authors' code: the model may answer "padding" inside a motion."""
    return decode_residual(net, base.clamp_min(0), text, real, greedy, scale=scale, padding=True)


class Replayed:
    """One run of a chain from recorded noise. The evaluator's writes -1 beyond the end and tells lengths in frames."""

    def __init__(self, case: Case, chain: Chain, scale: float, residual_scale: float) -> None:
        noise, stored = stored_noise(case), case.raw("base_ids")
        ours = generate_ids(chain.base, case["cond"], None, authors_options(scale, noise), noise, upstream=True)
        real = length_mask(ours.lengths, ours.ids.shape[1])
        self.base = torch.where(real, ours.ids, -1) if (stored < 0).any() else ours.ids
        frames = bool((stored < 0).any()) or bool((case.raw("pred_len") > stored.shape[1]).any())
        self.lengths = ours.lengths * (chain.rvq.unit_length if frames else 1)
        self.ids = _residual_ids(chain.residual, ours.ids, case["cond"], real, residual_scale)
        self.normalised = chain.rvq.decode(self.ids)
        self.motion = self.normalised * chain.std + chain.mean
        self.wrong = float((self.base.numpy() != stored).mean() + (self.ids.numpy() != case.raw("all_ids")).mean())


REPLAYED_ROWS: Table = {
    "base_ids": lambda case, run: run.base,
    "pred_len": lambda case, run: run.lengths,
    "all_ids": lambda case, run: run.ids,
    "normalised_motion": lambda case, run: run.normalised,
    "motion": lambda case, run: run.motion,
}
RESIDUAL_SCALES = {"gen": 5.0, "eval": 6.0}  # the authors' guidance in generation and in evaluation


def e2e(folder: Path) -> Iterator[Check]:
    """Base ids, residual ids, motion: MoMask's greedily, BAMM's with recorded noise."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder, "e2e")
    if "base_ids" in case:
        yield from e2e_checks(case)
        return
    told = case.facts.get("res_cond_scale", {})
    found: list[Chain] = []
    with torch.no_grad():
        for run in case.groups(".+"):
            part, usual = case.under(f"{run}/"), RESIDUAL_SCALES.get(run, SCALE)
            base = [float(case.facts["cond_scale"])] if case.facts.get("cond_scale") else SCALES
            known = told.get(run) if isinstance(told, Mapping) else told
            residual = dict.fromkeys((usual, *SCALES)) if known is None else [float(known)]
            found = found or list(chains(folder, bamm_transformers(folder), part.last("all_ids") or 0))

            def error(guess: tuple[Chain, tuple[float, float]], part: Case = part) -> float:
                return Replayed(part, guess[0], *guess[1]).wrong

            chain, scales = nearest_chain(case, product(found, product(base, residual)), error)
            yield from part.rows(Replayed(part, chain, *scales), REPLAYED_ROWS, NETWORK)
    for run, known in (("gen", "gen_pred_len"), ("eval", "eval_pred_len_frames")):
        if known in case.facts and f"{run}/pred_len" in case:
            yield exact(f"{known} of case.json", case.raw(f"{run}/pred_len").tolist(), case.facts[known])
    yield from case.unread()


def rtrans_force_mask(folder: Path) -> Iterator[Check]:
    """The residual transformer with its text taken away."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder, "rtrans")
    expected, base, text = case["all_indices_force_mask"], case["motion_ids"], case["cond"]
    real = valid(case, base.shape[1])
    if "m_lens" in case:
        yield exact("m_lens", (base >= 0).sum(1), case.raw("m_lens"))

    def fits(net: ResidualTransformer) -> bool:
        return (net.quantizers, net.cond_emb.in_features) == (expected.shape[-1], text.shape[1])

    def error(net: ResidualTransformer) -> float:
        return float((_residual_ids(net, base, text, real, 0.0) != expected).double().mean())

    with torch.no_grad():
        net = pick(case, residual_transformers(folder), fits, error)
        yield exact("all_indices_force_mask", _residual_ids(net, base, text, real, 0.0), expected)
    yield from case.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "e2e": e2e,
    "rtrans_force_mask": rtrans_force_mask,
    "full": full,
    "full_sine": full,
    "full_hash": full,
}
