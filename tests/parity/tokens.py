"""Cases that MoMask and BAMM both have: from text to motion, and networks of the published size, filled by rule.

BAMM's tokenizer and residual transformer are MoMask's, so their code and their checks are too. What a file is about
follows from its arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.generation import generate_ids
from hmu.backbones.momask.authors import load_masked
from hmu.backbones.momask.masked import decode_base
from hmu.backbones.tokens.authors import load_residual
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq
from hmu.backbones.tokens.sampling import decode_residual
from hmu.checkpoints.authors import read_statistics
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from tests.parity.bamm import authors_options, bamm_checks, stored_noise
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, deviation, exact, inside, nearest
from tests.parity.kinds import compares
from tests.parity.momask_masked import length_checks, mtrans_checks
from tests.parity.momask_models import NETWORK, SCALES, STEPS, stored, valid
from tests.parity.momask_residual import SCALE, greedy, rtrans_checks
from tests.parity.momask_rvq import rvq_checks, tokenizer

#: what tells the kind of a file, and who compares it
PARTS: dict[str, Callable[[Case], Checks]] = {
    r"logits_(causal|cond).*": bamm_checks,
    r"q\d+_(logits|features).*": rtrans_checks,
    r"text_emb": length_checks,
    r"tf_ids": mtrans_checks,
    r"recon|encoder_out|decoded|indices": rvq_checks,
}
#: what a file may leave out that another one of its folder holds
TOKENS = ("ids", "tf_ids", "cond_idx", "motion_ids", "motion_codes")
INPUTS = (*TOKENS, "cond", "m_lens", "padding_mask", "text_emb", "x")
RESIDUAL_SCALES = {"gen": 5.0, "eval": 6.0}  # the authors' guidance in generation and in evaluation


@compares("full", "full_sine", "full_hash", files=())
def full(folder: Case) -> Checks:
    """Every network of a folder at its published size; a file may leave inputs out that another one holds."""
    cases = list(Case.each(folder.folder, folder.facts))
    for case in cases:
        # of files that hold the same input the one of the same network comes first
        family = sorted(cases, key=lambda other: other.part.split("_")[0] == case.part.split("_")[0])
        case.lent = {name: other.stored[name] for other in family for name in INPUTS if name in other.stored}
        run = next((run for pattern, run in PARTS.items() if case.find(pattern)), None)
        if run is not None:
            yield from inside(case.part, run(case))
        yield from inside(case.part, case.unread())


# -- from text to motion -----------------------------------------------------------------------------------------------
class Chain(NamedTuple):
    """The networks from text to motion, and the tokenizer's statistics."""

    rvq: Rvq
    base: Any
    residual: ResidualTransformer
    mean: Tensor
    std: Tensor


def chains(folder: Path, base: Iterator[tuple[Path, Any]], quantizers: int) -> Iterator[Chain]:
    """Every base transformer with each tokenizer and residual transformer of its sizes, whatever ``opt.txt`` names."""
    residuals = [model for _, model in stored(folder, load_residual) if model.quantizers == quantizers]
    coders = [coder for coder in stored(folder, tokenizer) if coder[1].options.quantizers == quantizers]
    for (_, transformer), (path, rvq) in product(base, coders):
        if rvq.options.codes != transformer.codes:
            continue
        try:
            mean, std = (torch.from_numpy(x).float() for x in read_statistics(path / "meta", rvq.features))
        except CheckpointError:
            mean, std = torch.zeros(rvq.features), torch.ones(rvq.features)
        yield from (Chain(rvq, transformer, r, mean, std) for r in residuals if r.codes == transformer.codes)


@dataclass
class Run:
    """One run of a chain: base ids and lengths as the case has them, ids of all layers, and their motion."""

    chain: Chain
    base: Tensor
    ids: Tensor
    lengths: Tensor | None = None

    @property
    def normalised(self) -> Tensor:
        """The decoded motion ``(batch, frames, features)``."""
        return self.chain.rvq.decode(self.ids)

    @property
    def motion(self) -> Tensor:
        """The same in real units."""
        return self.normalised * self.chain.std + self.chain.mean


RUN_ROWS: Table = {
    "base_ids": lambda case, run: run.base,
    "pred_len": lambda case, run: run.lengths,
    "all_ids": lambda case, run: run.ids,
    "normalised_motion": lambda case, run: run.normalised,
    "motion": lambda case, run: run.motion,
}


def _greedy(case: Case, known: tuple[Chain, float], steps: int = 0, guidance: float = 0.0) -> Run:
    """MoMask's most likely ids with this residual guidance; without ``steps`` from the stored base ids.

    The decoder reads padding.
    """
    chain, scale = known
    text, base = case["cond"], case["base_ids"]
    real = valid(case, base.shape[1])
    if steps:
        start = torch.zeros_like(base)
        base = decode_base(chain.base, start, text, real, greedy, steps=steps, scale=guidance, variant="upstream")
    return Run(chain, base, decode_residual(chain.residual, base, text, real, greedy, scale=scale, padding=True))


def _replayed(case: Case, chain: Chain, scale: float, residual_scale: float) -> Run:
    """BAMM's ids from recorded noise. Its evaluation writes -1 beyond the end and tells lengths in frames."""
    noise, base, text = stored_noise(case), case.raw("base_ids"), case["cond"]
    ours = generate_ids(chain.base, text, None, authors_options(scale, noise), noise, upstream=True)
    real = length_mask(ours.lengths, ours.ids.shape[1])
    cut = bool((base < 0).any())
    frames = cut or bool((case.raw("pred_len") > base.shape[1]).any())
    start = ours.ids.clamp_min(0)  # the model may answer "padding" inside a motion
    ids = decode_residual(chain.residual, start, text, real, greedy, scale=residual_scale, padding=True)
    lengths = ours.lengths * (chain.rvq.unit_length if frames else 1)
    return Run(chain, torch.where(real, ours.ids, -1) if cut else ours.ids, ids, lengths)


def _off(case: Case, run: Run, *names: str) -> float:
    return sum(case.off(run, RUN_ROWS, name) for name in names if name in case)


@compares("e2e")
def e2e(case: Case) -> Checks:
    """Base ids, residual ids, motion: MoMask's greedily, BAMM's with recorded noise."""
    yield from _momask(case) if "base_ids" in case else _bamm(case)


def _momask(case: Case) -> Checks:
    """Greedy generation; guidance and steps that no JSON tells are guessed."""
    recorded = {n: [float(case.facts[n])] for n in ("res_cond_scale", "cond_scale", "timesteps") if case.facts.get(n)}
    candidates = chains(case.folder, stored(case.folder, load_masked), case.last("all_ids") or 0)
    guesses = product(candidates, recorded.get("res_cond_scale", [SCALE, *SCALES]))
    known = nearest(guesses, lambda guess: _off(case, _greedy(case, guess), "all_ids", "motion"), "complete chain")
    steps = product(map(int, recorded.get("timesteps", STEPS)), recorded.get("cond_scale", SCALES))
    best = nearest(steps, lambda steps: deviation(_greedy(case, known, *steps).base, case.raw("base_ids")))
    yield from case.rows(_greedy(case, known, *best), RUN_ROWS, NETWORK)


def _bamm(case: Case) -> Checks:
    recorded, candidates = case.facts.get("res_cond_scale", {}), list[Chain]()
    for run in case.groups(".+"):
        part, usual = case.under(f"{run}/"), RESIDUAL_SCALES.get(run, SCALE)
        base = [float(case.facts["cond_scale"])] if case.facts.get("cond_scale") else SCALES
        known = recorded.get(run) if isinstance(recorded, Mapping) else recorded
        residual = dict.fromkeys((usual, *SCALES)) if known is None else [float(known)]
        base_models = stored(case.folder, load_transformer)
        candidates = candidates or list(chains(case.folder, base_models, part.last("all_ids") or 0))

        def error(guess: tuple[Chain, float, float], part: Case = part) -> float:
            return _off(part, _replayed(part, *guess), "base_ids", "all_ids")

        guess = nearest(product(candidates, base, residual), error, "complete chain")
        yield from part.rows(_replayed(part, *guess), RUN_ROWS, NETWORK)
    for run, fact in (("gen", "gen_pred_len"), ("eval", "eval_pred_len_frames")):
        if fact in case.facts and f"{run}/pred_len" in case:
            yield exact(f"{fact} of case.json", case.raw(f"{run}/pred_len").tolist(), case.facts[fact])
