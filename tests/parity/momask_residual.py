"""MoMask's residual transformer, and the whole chain from text to motion, against the authors' code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.momask.authors import load_masked
from hmu.backbones.momask.encoder import to_authors
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import ResidualOptions
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.backbones.momask.rvq import Rvq
from hmu.backbones.momask.sampling import decode_base, decode_residual
from hmu.backbones.tokens import objectives
from hmu.backbones.tokens.authors import load_residual, load_rvq
from hmu.checkpoints.authors import read_statistics
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from tests import published as numbers_of
from tests.parity.checks import Check
from tests.parity.momask_files import (
    DOUBLE,
    NETWORK,
    Case,
    check_all,
    compare_array,
    deviation,
    fill_by_rule,
    folders,
    manifest,
    open_case,
    other_runner,
    pick,
)
from tests.parity.momask_masked import chooser, gradients, transformer_sizes
from tests.parity.salad_files import Arrays

LOGITS = re.compile(r"q(\d+)_logits(?:_scale([\d.]+)|(_force_mask|_uncond))?")


def published(numbers: dict[str, Any], shared: bool) -> ResidualOptions:
    """Options of the published size; the unshared head as the authors' code computes it."""
    return numbers_of.options(
        ResidualOptions, **transformer_sizes(numbers), share_weight=shared, doubled_head=not shared
    )


def residuals(case: Path) -> dict[str, ResidualTransformer]:
    """Every residual transformer beside the case."""
    found = {}
    for folder, _ in folders(case):
        try:
            found[folder.name] = load_residual(folder)[0]
        except CheckpointError:
            continue  # another part's folder
    return found


def model_for(case: Case) -> ResidualTransformer:
    """The transformer a case belongs to: a stored one, or one of the published size that is filled."""
    arrays = case.arrays
    shared = case.part != "rtrans_noshare"
    codes = next(arrays[name].shape[1] for name in arrays if LOGITS.fullmatch(name)) - 1
    code_dim, width = arrays["motion_codes"].shape[-1], arrays["cond"].shape[1]
    quantizers = arrays["all_indices"].shape[-1] if "all_indices" in arrays else 0
    if case.filled:
        numbers = case.hyper_parameters()
        layers, options = quantizers or int(numbers.get("num_quantizers", 6)), published(numbers, shared)
        return fill_by_rule(ResidualTransformer(codes, layers, code_dim, width, options), case.filled)

    def fits(model: ResidualTransformer) -> bool:
        sizes = (model.codes, model.cond_emb.in_features, model.output_process.poseFinal.out_features)
        good = sizes == (codes, width, code_dim) and quantizers in (0, model.quantizers)
        return good and model.options.share_weight == shared

    def error(model: ResidualTransformer) -> float:
        return deviation(_logits(model, arrays, 1, 1.0), arrays["q1_logits"])

    return pick(case.folder, residuals(case.folder), fits, error)


def _features(model: ResidualTransformer, arrays: Arrays, layer: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """What the authors' ``trans_forward`` returns ``(batch, code width, tokens)``."""
    valid = ~arrays.tensor("padding_mask")
    features = model.features(arrays.tensor("motion_codes", dtype), layer, arrays.tensor("cond", dtype), valid)
    return model.output_process.poseFinal(features).transpose(1, 2)


def _logits(
    model: ResidualTransformer, arrays: Arrays, layer: int, scale: float, dtype: torch.dtype | None = None
) -> Tensor:
    codes, text = arrays.tensor("motion_codes", dtype), arrays.tensor("cond", dtype)
    valid = ~arrays.tensor("padding_mask")
    return model.guided(codes, layer, text, scale, valid, padding=True).transpose(1, 2)


def rtrans_checks(case: Case) -> Iterator[Check]:
    """Features and logits of every layer, the training loss and every recorded generation."""
    arrays = case.arrays
    wanted: dict[str, tuple[int, float]] = {}
    for name in arrays:
        found = LOGITS.fullmatch(name)
        if found:
            wanted[name] = (int(found[1]), 0.0 if found[3] else float(found[2] or 1))
    with torch.no_grad():
        model = model_for(case)
        outputs = {name: _logits(model, arrays, *setting) for name, setting in wanted.items()}
        for name in [n for n in arrays if re.fullmatch(r"q\d+_features", n)]:
            layer = torch.full((len(arrays["cond"]),), int(name[1 : name.index("_")]))
            outputs[name] = _features(model, arrays, layer)
        yield from check_all(arrays, outputs, NETWORK)
    if "m_lens" in arrays:
        valid = length_mask(arrays.tensor("m_lens"), arrays["padding_mask"].shape[1])
        yield compare_array("padding_mask", ~valid, arrays["padding_mask"], 0.0)
    if "train/labels" in arrays:
        yield from _training(model, arrays)
    with torch.no_grad():
        for run in sorted({n.split("/")[0] for n in arrays if n.startswith("gen_")}):
            yield from _generation(model, case, run)
        model.double()
        doubles = {n: s for n, s in wanted.items() if f"{n}_f64" in arrays}
        outputs = {f"{n}_f64": _logits(model, arrays, *s, torch.float64) for n, s in doubles.items()}
        yield from check_all(arrays, outputs, DOUBLE)
    yield from arrays.unread()


def _training(model: ResidualTransformer, arrays: Arrays) -> Iterator[Check]:
    ids = arrays.tensor("all_indices")
    valid = length_mask(arrays.tensor("m_lens"), ids.shape[1])
    layer = objectives.active_layers(arrays.tensor("train/uniform"), model.quantizers)
    padded = torch.where(valid[..., None], ids, model.pad_id)
    history = model.history(objectives.known_layers(padded, layer)[..., :-1])
    labels = padded.gather(2, layer[:, None, None].expand(-1, ids.shape[1], 1))[..., 0]
    model.zero_grad()
    text = arrays.tensor("cond" if "train/cond" not in arrays else "train/cond")
    logits = model(history, layer, text, valid, padding=True)
    loss = F.cross_entropy(logits[valid], labels[valid])
    loss.backward()
    guess = logits.argmax(-1)
    outputs = {
        "active_q": layer,
        "history_sum": history,
        "labels": labels,
        "logits": logits.transpose(1, 2),
        "loss": loss,
        "pred_id": guess,
        "acc": (guess[valid] == labels[valid]).double().mean(),
    }
    yield from check_all(arrays, outputs, NETWORK, "train/")
    yield from gradients(model, arrays)


def _generation(model: ResidualTransformer, case: Case, run: str) -> Iterator[Check]:
    arrays, settings = case.arrays, case.settings(run)
    expected, base = arrays[f"{run}/all_indices"], arrays.tensor(f"{run}/motion_ids")
    lengths = arrays.tensor(f"{run}/m_lens" if f"{run}/m_lens" in arrays else "m_lens")
    ids = decode_residual(
        model,
        base,
        arrays.tensor(f"{run}/cond"),
        length_mask(lengths, base.shape[1]),
        chooser(arrays, run, settings, gumbel_noise=True),
        scale=0.0 if settings.get("force_mask") else float(settings.get("cond_scale", 5)),
        layers=expected.shape[-1] - 1,
        padding=True,
    )
    yield compare_array(f"{run}/all_indices", ids, expected, 0.0)


def _case(part: str) -> Callable[[Path], Iterator[Check]]:
    def residual(folder: Path) -> Iterator[Check]:
        """A case of the residual transformer, and the manifest beside it."""
        case, strange = open_case(folder, part)
        yield from strange
        yield from rtrans_checks(case)
        path = folder / "manifest_full.json"
        if path.is_file():
            numbers = json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"]
            codes, code_dim = int(numbers.get("num_tokens", 512)), int(numbers.get("code_dim", 512))
            sizes = (codes, int(numbers["num_quantizers"]), code_dim, int(numbers.get("clip_dim", 512)))
            options = published(numbers, bool(numbers.get("share_weight", part == "rtrans")))
            with torch.device("meta"):
                yield from manifest(path, to_authors(ResidualTransformer(*sizes, options).state_dict()))

    return residual


# -- from text to motion -----------------------------------------------------------------------------------------------
def e2e(folder: Path) -> Iterator[Check]:
    """Greedy generation: base codes, residual codes, motion; with the decoder that reads padding."""
    case, strange = open_case(folder, "e2e")
    elsewhere = None if "base_ids" in case.arrays else other_runner("e2e", e2e)
    if elsewhere is not None:
        yield from elsewhere(folder)
        return
    yield from strange
    arrays, settings = case.arrays, _settings(folder)
    with torch.no_grad():
        tokenizer, masked, residual, statistics = _chain(case)
        text, lengths = arrays.tensor("cond"), arrays.tensor("token_lens")
        shape = arrays["base_ids"].shape
        valid, greedy = length_mask(lengths, shape[1]), chooser(arrays, "e2e", {}, False)
        base = decode_base(
            masked,
            torch.zeros(shape, dtype=torch.long),
            text,
            valid,
            greedy,
            steps=int(settings.get("timesteps", 10)),
            scale=float(settings.get("cond_scale", 4)),
            variant="upstream",
        )
        yield compare_array("base_ids", base, arrays["base_ids"], 0.0)
        scale = float(settings.get("res_cond_scale", 5))
        ids = decode_residual(residual, base, text, valid, greedy, scale=scale, padding=True)
        yield compare_array("all_ids", ids, arrays["all_ids"], 0.0)
        motion = tokenizer.decode(ids)
        outputs = {"normalised_motion": motion, "motion": motion * statistics[1] + statistics[0]}
        yield from check_all(arrays, outputs, NETWORK)
    yield from arrays.unread()


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "case.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


Chain = tuple[Rvq, MaskedTransformer, ResidualTransformer, tuple[Tensor, Tensor]]


def _chain(case: Case) -> Chain:
    """The models of a chain: every masked transformer with its tokenizer and each residual transformer of that."""
    arrays, chains = case.arrays, list[Chain]()
    quantizers = arrays["all_ids"].shape[-1]
    for folder, opt in folders(case.folder):
        tokenizer = folder.parent / str(opt.get("vq_name", ""))
        try:
            masked = load_masked(folder)[0]
            rvq = load_rvq(tokenizer)[0]
            mean, std = (torch.from_numpy(x).float() for x in read_statistics(tokenizer / "meta", rvq.features))
        except CheckpointError:
            continue  # another part's folder
        partners = {f.name for f, other in folders(case.folder) if other.get("vq_name") == opt.get("vq_name")}
        for name, residual in residuals(case.folder).items():
            if name in partners and residual.quantizers == quantizers:
                chains.append((rvq, masked, residual, (mean, std)))
    if not chains:
        raise CheckpointError(f"case {case.folder.name}: no complete chain of checkpoints beside it")
    return chains[0] if len(chains) == 1 else min(chains, key=lambda chain: _mismatch(chain, case))


def _mismatch(chain: Chain, case: Case) -> float:
    """Share of the stored residual ids that a chain does not reproduce from the stored base ids."""
    arrays, settings = case.arrays, _settings(case.folder)
    base = arrays.tensor("base_ids")
    greedy, scale = chooser(arrays, "e2e", {}, False), float(settings.get("res_cond_scale", 5))
    valid = length_mask(arrays.tensor("token_lens"), base.shape[1])
    ids = decode_residual(chain[2], base, arrays.tensor("cond"), valid, greedy, scale=scale, padding=True)
    motion = chain[0].decode(ids) * chain[3][1] + chain[3][0]
    return float((ids.numpy() != arrays["all_ids"]).mean()) + deviation(motion, arrays["motion"])


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "rtrans": _case("rtrans"),
    "rtrans_noshare": _case("rtrans_noshare"),
    "e2e": e2e,
}
