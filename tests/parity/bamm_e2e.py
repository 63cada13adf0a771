"""BAMM from text to motion, its residual transformer without text, and full-size networks, against the authors' code.

Tokenizer and residual transformer are MoMask's, so their code and their checks are too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.generation import Generated, generate_ids
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.backbones.momask.rvq import Rvq
from hmu.backbones.momask.sampling import decode_residual
from hmu.backbones.tokens.authors import load_rvq
from hmu.checkpoints.authors import read_statistics
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from tests.parity.bamm import authors_options, bamm_checks, stored_noise
from tests.parity.checks import Check, exact
from tests.parity.momask_files import NETWORK, Case, check_all, folders, open_case, pick
from tests.parity.momask_full import BORROWED, PARTS, Joined
from tests.parity.momask_residual import residuals
from tests.parity.salad_files import Arrays


def claims(case: Path) -> bool:
    """Whether a case is BAMM's, whose option files alone have the key ``trans``; MoMask has cases of the same names."""
    return any("trans" in opt for _, opt in folders(case)) or any(case.glob("bamm*.npz"))


class Chain(NamedTuple):
    """The models of one chain of checkpoints."""

    net: BidirectionalTransformer
    rvq: Rvq
    residual: ResidualTransformer
    mean: Tensor
    std: Tensor


def chains(case: Path) -> Iterator[Chain]:
    """Every BAMM transformer beside the case with its tokenizer and each residual transformer of that."""
    options = {folder.name: opt for folder, opt in folders(case)}
    for folder, opt in folders(case):
        tokenizer = folder.parent / str(opt.get("vq_name", ""))
        try:
            rvq = load_rvq(tokenizer)[0]
            net = load_transformer(folder, rvq.options.codes)[0]
        except CheckpointError:
            continue  # another part's folder
        mean, std = (torch.from_numpy(x).float() for x in read_statistics(tokenizer / "meta", rvq.features))
        for name, residual in residuals(case).items():
            if options[name].get("vq_name") == opt.get("vq_name") and residual.quantizers == rvq.options.quantizers:
                yield Chain(net, rvq, residual, mean, std)


def settings_of(case: Path) -> Mapping[str, Any]:
    """``case.json``; empty if there is none."""
    path = case / "case.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def most_likely(step: int, logits: Tensor) -> Tensor:
    """The chooser of a greedy run."""
    return logits.argmax(-1)


def base_ids(net: BidirectionalTransformer, arrays: Arrays, run: str, scale: float) -> Generated:
    """Base tokens of a run, replayed."""
    noise = stored_noise(arrays, run)
    options = authors_options(scale, noise)
    return generate_ids(net, arrays.tensor(f"{run}/cond"), None, options, noise, upstream=True)


def e2e(folder: Path) -> Iterator[Check]:
    """Base ids with recorded noise, greedy residual ids, motion with the decoder that reads padding."""
    case, strange = open_case(folder, "e2e")
    yield from strange
    arrays, settings = case.arrays, settings_of(folder)
    with torch.no_grad():
        for run in sorted({name.split("/")[0] for name in arrays}):
            scale = float(settings.get("cond_scale", 4))
            chain, ours = _best(case, run, scale)
            yield from _run(chain, ours, arrays, run, float(settings["res_cond_scale"][run]))
    for run, known in (("gen", "gen_pred_len"), ("eval", "eval_pred_len_frames")):
        if known in settings and f"{run}/pred_len" in arrays:
            yield exact(f"{known} of case.json", arrays[f"{run}/pred_len"].tolist(), settings[known])
    yield from arrays.unread()


def _best(case: Case, run: str, scale: float) -> tuple[Chain, Generated]:
    """The chain whose ids differ least from the stored ones, and its base tokens."""
    arrays = case.arrays
    layers, classes = arrays[f"{run}/all_ids"].shape[-1], arrays[f"{run}/noise_pass1"].shape[-1]
    tried = []
    for chain in chains(case.folder):
        if (chain.rvq.options.quantizers, chain.net.codes + 1) != (layers, classes):
            continue
        ours = base_ids(chain.net, arrays, run, scale)
        valid = length_mask(ours.lengths, ours.ids.shape[1])
        stored = arrays.tensor(f"{run}/all_ids")
        ids = residual_ids(chain.residual, stored[..., 0], arrays.tensor(f"{run}/cond"), valid, 5.0)
        wrong = (stored[..., 0] != torch.where(valid, ours.ids, -1)).double().mean() + (ids != stored).double().mean()
        tried.append((float(wrong), chain, ours))
    if not tried:
        raise CheckpointError(f"case {case.folder.name}: no complete chain of fitting checkpoints beside it")
    return min(tried, key=lambda entry: entry[0])[1:]


def residual_ids(net: ResidualTransformer, base: Tensor, text: Tensor, valid: Tensor, scale: float) -> Tensor:
    """All layers, greedily, as the authors' code: the model may answer "padding" inside a motion."""
    return decode_residual(net, base.clamp_min(0), text, valid, most_likely, scale=scale, padding=True)


def _run(chain: Chain, ours: Generated, arrays: Arrays, run: str, scale: float) -> Iterator[Check]:
    """One run. The evaluator's writes -1 beyond the end and tells lengths in frames."""
    stored = arrays[f"{run}/base_ids"]
    valid = length_mask(ours.lengths, ours.ids.shape[1])
    marked = torch.where(valid, ours.ids, -1)
    text = arrays.tensor(f"{run}/cond")
    ids = residual_ids(chain.residual, ours.ids, text, valid, scale)
    motion = chain.rvq.decode(ids)
    frames = bool((stored < 0).any()) or (arrays[f"{run}/pred_len"] > stored.shape[1]).any()
    outputs = {
        "base_ids": marked if (stored < 0).any() else ours.ids,
        "pred_len": ours.lengths * (chain.rvq.unit_length if frames else 1),
        "all_ids": ids,
        "normalised_motion": motion,
        "motion": motion * chain.std + chain.mean,
    }
    yield from check_all(arrays, outputs, NETWORK, f"{run}/")


def rtrans_force_mask(folder: Path) -> Iterator[Check]:
    """The residual transformer with its text taken away."""
    case, strange = open_case(folder, "rtrans")
    yield from strange
    arrays = case.arrays
    expected = arrays.tensor("all_indices_force_mask")
    base, text = arrays.tensor("motion_ids"), arrays.tensor("cond")
    valid = length_mask(arrays.tensor("m_lens"), base.shape[1])
    yield exact("m_lens", (base >= 0).sum(1).numpy(), arrays["m_lens"])

    def fits(net: ResidualTransformer) -> bool:
        return (net.quantizers, net.cond_emb.in_features) == (expected.shape[-1], text.shape[1])

    def error(net: ResidualTransformer) -> float:
        return float((residual_ids(net, base, text, valid, 0.0) != expected).double().mean())

    with torch.no_grad():
        net = pick(folder, residuals(folder), fits, error)
        yield exact("all_indices_force_mask", residual_ids(net, base, text, valid, 0.0).numpy(), expected.numpy())
    yield from arrays.unread()


def full(folder: Path) -> Iterator[Check]:
    """Every network of a folder at its published size, its weights filled by the rule in the folder's name."""
    files = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    for path in sorted(folder.iterdir()):
        own = path.stem.startswith("bamm") or path.stem == "vectors"
        if path.suffix == ".json":
            continue  # settings and manifests, read where they are needed
        if path.suffix != ".npz" or not (own or path.stem in PARTS):
            yield Check(f"file '{path.name}' of unknown kind", float("inf"), 0.0)
            continue
        source, names = ("bamm", ("ids", "cond_idx", "m_lens", "cond")) if own else BORROWED.get(path.stem, ("", ()))
        lender = Arrays(files[source]) if source in files and source != path.stem else {}
        part = "bamm" if path.stem == "vectors" else path.stem
        run = bamm_checks if own else PARTS[path.stem]
        for check in run(Case(folder, Joined(path, lender, names), part)):
            yield Check(f"{path.stem} {check.name}", check.deviation, check.tolerance)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "e2e": e2e,
    "rtrans_force_mask": rtrans_force_mask,
    "full_sine": full,
    "full_hash": full,
}
