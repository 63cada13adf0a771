"""MoMask's tokenizer against the authors' code: codes, reconstructions, losses, two training steps, manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.draws import Draws
from hmu.backbones.momask.options import RvqOptions
from hmu.backbones.momask.rvq import Rvq, rvq_terms
from hmu.backbones.tokens.authors import EMA, load_rvq
from hmu.errors import CheckpointError
from hmu.motion.layout import FeatureLayout
from tests import published as numbers_of
from tests.parity.checks import Check
from tests.parity.momask_files import (
    DOUBLE,
    NETWORK,
    TOKENIZER,
    Case,
    check_all,
    compare_array,
    deviation,
    fill_by_rule,
    folders,
    manifest,
    open_case,
    pick,
)
from tests.parity.salad_files import Arrays


def authors_state(model: Rvq) -> dict[str, Tensor]:
    """Our tokenizer's tensors under the authors' names (which are ours, less the running averages)."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith(EMA)}


def published(numbers: dict[str, Any]) -> tuple[int, RvqOptions]:
    """Columns and options of a manifest's hyper-parameters; what it does not tell is as published."""
    ours = {"nb_code": "codes", "code_dim": "code_dim", "num_quantizers": "quantizers", "depth": "depth"}
    ours |= {"down_t": "down", "stride_t": "stride", "dilation_growth_rate": "dilation", "width": "width"}
    given = {name: int(numbers[key]) for key, name in ours.items() if key in numbers}
    norm = str(numbers.get("vq_norm", "None"))
    shared = bool(numbers.get("shared_codebook", False))
    options = numbers_of.options(RvqOptions, **given, norm="none" if norm == "None" else norm, shared=shared)  # type: ignore[arg-type]
    return int(numbers.get("dim_pose", 263)), options


def tokenizers(case: Path) -> dict[str, Rvq]:
    """Every tokenizer beside the case, with the authors' training behaviour."""
    found = {}
    for folder, _ in folders(case):
        try:
            found[folder.name] = load_rvq(folder, variant="upstream")[0]
        except CheckpointError:
            continue  # another part's folder
    return found


def model_for(case: Case) -> Rvq:
    """The tokenizer a case belongs to: a stored one, or one of the published size that is filled."""
    arrays = case.arrays
    if case.filled:
        _, options = published(case.hyper_parameters())
        width = arrays["encoder_out"].shape[1] if "encoder_out" in arrays else options.code_dim
        options = replace(options, quantizers=arrays["indices"].shape[-1], code_dim=width)
        return fill_by_rule(Rvq(arrays["x"].shape[-1], options, "upstream"), case.filled)

    def fits(model: Rvq) -> bool:
        sizes = (model.features, model.options.quantizers)
        stored = arrays["indices"].shape[-1] if "indices" in arrays else model.options.quantizers
        return sizes == (arrays["x"].shape[-1], stored)

    return pick(
        case.folder, tokenizers(case.folder), fits, lambda m: deviation(m(arrays.tensor("x")).recon, arrays["recon"])
    )


def rvq_checks(case: Case) -> Iterator[Check]:
    """Evaluation-mode outputs in single and double precision."""
    arrays = case.arrays
    with torch.no_grad():
        model = model_for(case)
        yield from check_all(arrays, _outputs(model, arrays, torch.float32), TOKENIZER)
        if any(name.endswith("_f64") for name in arrays):
            double = _outputs(model.double(), arrays, torch.float64)
            yield from check_all(arrays, {f"{name}_f64": value for name, value in double.items()}, DOUBLE)
    yield from arrays.unread()


def _outputs(model: Rvq, arrays: Arrays, dtype: torch.dtype) -> dict[str, Any]:
    motion, ids = arrays.tensor("x", dtype), arrays.tensor("indices")
    output = model(motion)
    positions = FeatureLayout.of(model.features).positions
    terms = rvq_terms(output, motion, model.options, positions)
    latent = model.quantizer.decode(ids)
    outputs = {
        "encoder_out": model.latents(motion).transpose(1, 2),
        "indices": model.encode(motion),
        "all_codes": model.quantizer.layer_codes(ids).transpose(2, 3),
        "recon": output.recon,
        "commit_loss": output.commit,
        "perplexity": output.perplexity,
        "loss_rec": terms["recon"],
        "loss_explicit": terms["positions"],
        "loss_total": terms["loss"],
        "decoded": model.decode(ids),
        "latent_from_indices": latent.transpose(1, 2),
    }
    for name in [n for n in arrays if re.fullmatch(r"decoded_first\d+", n)]:
        outputs[name] = model.decode(ids[..., : int(name.removeprefix("decoded_first"))])
    if "indices_partial" in arrays:
        outputs["decoded_partial"] = model.decode(arrays.tensor("indices_partial"))
    return outputs


def rvq(folder: Path) -> Iterator[Check]:
    """A case of the tokenizer, and the manifest beside it."""
    case, strange = open_case(folder, "rvq")
    yield from strange
    yield from rvq_checks(case)
    path = folder / "manifest_full.json"
    if path.is_file():
        features, options = published(json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"])
        with torch.device("meta"):
            yield from manifest(path, authors_state(Rvq(features, options)))


class Recorded(Draws):
    """The stored numbers of one training step, in the order in which they were drawn."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        super().__init__()
        self.arrays, self.prefix = arrays, prefix
        self.drawn = {"uniform_q": 0, "tile_normal_": 0}

    def _next(self, kind: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        name = f"{self.prefix}{kind}{self.drawn[kind]}"
        self.drawn[kind] += 1
        stored = self.arrays.tensor(name, like.dtype)
        if tuple(stored.shape) != shape:
            raise CheckpointError(f"'{name}' has shape {tuple(stored.shape)}, the training step draws {shape}")
        return stored

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The next layer's uniform numbers."""
        return self._next("uniform_q", shape, like)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The next tile's noise."""
        return self._next("tile_normal_", shape, like)


def rvq_train(folder: Path) -> Iterator[Check]:
    """Training-mode forwards of a loaded model: losses, gradients and codebooks after every step."""
    case, strange = open_case(folder, "rvq")
    yield from strange
    arrays = case.arrays
    layers = len([name for name in arrays if re.fullmatch(r"step0/codebook_q\d+", name)])
    shape = (arrays["step0/x"].shape[-1], layers, *arrays["step0/codebook_q0"].shape)

    def sizes(model: Rvq) -> tuple[int, ...]:
        return (model.features, model.options.quantizers, model.options.codes, model.options.code_dim)

    def quiet(model: Rvq) -> Rvq:
        again = Rvq(model.features, replace(model.options, dropout=0.0, quantize_dropout=0.0), "upstream")
        again.load_state_dict(model.state_dict())
        return again.train()

    def error(model: Rvq) -> float:
        stored, motion = Recorded(arrays, "step0/"), arrays.tensor("step0/x")
        with torch.no_grad():
            return deviation(quiet(model)(motion, draws=stored).recon, arrays["step0/recon"])

    model = quiet(pick(folder, tokenizers(folder), lambda m: sizes(m) == shape, error))
    for step in sorted({name.split("/")[0] for name in arrays}):
        yield from _training_step(model, arrays, f"{step}/")
    yield from arrays.unread()


def _training_step(model: Rvq, arrays: Arrays, prefix: str) -> Iterator[Check]:
    motion = arrays.tensor(f"{prefix}x")
    model.zero_grad()
    output = model(motion, draws=Recorded(arrays, prefix))
    terms = rvq_terms(output, motion, model.options, FeatureLayout.of(model.features).positions)
    terms["loss"].backward()
    outputs: dict[str, Any] = {"recon": output.recon, "commit_loss": output.commit, "perplexity": output.perplexity}
    outputs["loss"] = terms["loss"]
    for q, book in enumerate(model.quantizer.books()):
        outputs |= {f"codebook_q{q}": book.codebook, f"code_sum_q{q}": book.code_sum}
        outputs[f"code_count_q{q}"] = book.code_count
    yield from check_all(arrays, outputs, TOKENIZER, prefix)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name in [n for n in arrays if n.startswith(f"{prefix}grad/")]:
        gradient = gradients.get(name.removeprefix(f"{prefix}grad/"))
        yield compare_array(name, np.nan if gradient is None else gradient, arrays[name], NETWORK)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"rvq": rvq, "rvq_train": rvq_train}
