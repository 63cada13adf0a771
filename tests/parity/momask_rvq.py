"""MoMask's tokenizer against the authors' code: codes, reconstructions, losses, training steps, manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.options import RvqOptions
from hmu.backbones.tokens.rvq import Rvq, rvq_terms
from hmu.errors import CheckpointError
from hmu.motion.layout import FeatureLayout
from tests.parity.case import Case, Table, manifest, published, read_json, strange
from tests.parity.checks import Check, deviation
from tests.parity.momask_models import NETWORK, TOKENIZER, pick, tokenizers
from tests.published import options as published_options

#: a manifest's names, ours, and the authors' option defaults
AVERAGES = ("code_sum", "code_count")  # of ours; the authors' files do not have them
SIZES = {
    "nb_code": ("codes", 512),
    "code_dim": ("code_dim", 512),
    "num_quantizers": ("quantizers", 6),
    "depth": ("depth", 3),
    "down_t": ("down", 2),
    "stride_t": ("stride", 2),
    "dilation_growth_rate": ("dilation", 3),
    "width": ("width", 512),
}


def options_of(numbers: dict[str, Any]) -> RvqOptions:
    """Options of a manifest's hyper-parameters; what it does not tell is as published."""
    sizes: dict[str, Any] = {ours: int(numbers.get(theirs, value)) for theirs, (ours, value) in SIZES.items()}
    norm = str(numbers.get("vq_norm", "None"))
    return published_options(
        RvqOptions, **sizes, norm="none" if norm == "None" else norm, shared=bool(numbers.get("shared_codebook", False))
    )


def _output(case: Case, model: Rvq) -> Any:
    return case.once("output", lambda: model(case["x"]))


def _term(case: Case, model: Rvq, name: str) -> Tensor:
    names = {"rec": "recon", "explicit": "positions", "total": "loss"}
    positions = FeatureLayout.of(model.features).positions
    return rvq_terms(_output(case, model), case["x"], model.options, positions)[names[name]]


def _ids(case: Case) -> Tensor:
    """What the stored decodings decode: their own ids where they have some."""
    ids = case.get("dec_indices", "indices")
    assert ids is not None
    return ids


RVQ_ROWS: Table = {
    "encoder_out": lambda case, model: model.latents(case["x"]).transpose(1, 2),
    "indices": lambda case, model: model.encode(case["x"]),
    "all_codes": lambda case, model: model.quantizer.layer_codes(case["indices"]).transpose(2, 3),
    "recon": lambda case, model: _output(case, model).recon,
    "commit_loss": lambda case, model: _output(case, model).commit,
    "perplexity": lambda case, model: _output(case, model).perplexity,
    "loss_(rec|explicit|total)": _term,
    "decoded": lambda case, model: model.decode(_ids(case)),
    "decoded_partial": lambda case, model: model.decode(case["indices_partial"]),
    r"decoded_first(\d+)": lambda case, model, count: model.decode(_ids(case)[..., : int(count)]),
    "latent_from_indices": lambda case, model: model.quantizer.decode(_ids(case)).transpose(1, 2),
}


def rvq_checks(case: Case) -> Iterator[Check]:
    """Evaluation-mode outputs in single and double precision."""
    columns, layers, width = case.last("x"), case.last("indices"), None
    if "encoder_out" in case:
        width = case.raw("encoder_out").shape[1]

    def fits(model: Rvq) -> bool:
        ours = (model.features, model.options.quantizers, model.options.code_dim)
        return all(told in (None, size) for told, size in zip((columns, layers, width), ours, strict=True))

    def fresh() -> Iterator[Rvq]:
        numbers = published(case.folder, "rvq")
        options = options_of(numbers)
        options = replace(options, quantizers=layers or options.quantizers, code_dim=width or options.code_dim)
        yield Rvq(columns or int(numbers.get("dim_pose", 263)), options, "upstream")

    first = next(name for name in ("recon", "encoder_out", "decoded", "indices") if name in case)
    with torch.no_grad():
        model = pick(case, tokenizers(case.folder), fits, lambda m: _error(case, m, first), fresh)
        yield from case.table(model, RVQ_ROWS, TOKENIZER)
    yield from case.unread()


def _error(case: Case, model: Rvq, name: str) -> float:
    return deviation(RVQ_ROWS[name](replace(case, memory={}), model), case.raw(name))


def rvq(folder: Path) -> Iterator[Check]:
    """A case of the tokenizer, a training case (it has steps), and the manifest beside it."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder, "rvq")
    yield from training_checks(case) if case.groups(r"step\d+") else rvq_checks(case)
    if (path := folder / "manifest_full.json").is_file():
        numbers = read_json(path)["hyper_parameters"]
        with torch.device("meta"):
            state = Rvq(int(numbers.get("dim_pose", 263)), options_of(numbers)).state_dict()
        yield from manifest(path, {name: value for name, value in state.items() if not name.endswith(AVERAGES)})


# -- training ----------------------------------------------------------------------------------------------------------
class Recorded(Draws):
    """The stored numbers of one training step, in the order in which they were drawn."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.drawn = {"uniform_q": 0, "tile_normal_": 0}

    def _next(self, kind: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        name = f"{kind}{self.drawn[kind]}"
        self.drawn[kind] += 1
        stored = self.case[name].to(like.dtype)
        if tuple(stored.shape) != shape:
            raise CheckpointError(f"'{name}' has shape {tuple(stored.shape)}, the training step draws {shape}")
        return stored

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The next layer's uniform numbers."""
        return self._next("uniform_q", shape, like)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The next tile's noise."""
        return self._next("tile_normal_", shape, like)


def quiet(model: Rvq) -> Rvq:
    """A copy in training mode without dropout, as the steps were recorded."""
    again = Rvq(model.features, replace(model.options, dropout=0.0, quantize_dropout=0.0), "upstream")
    again.load_state_dict(model.state_dict())
    return again.train()


STEP_ROWS: Table = {
    "recon": lambda case, run: run.output.recon,
    "commit_loss": lambda case, run: run.output.commit,
    "perplexity": lambda case, run: run.output.perplexity,
    "loss": lambda case, run: run.terms["loss"],
    r"codebook_q(\d+)": lambda case, run, q: run.books[int(q)].codebook,
    r"code_sum_q(\d+)": lambda case, run, q: run.books[int(q)].code_sum,
    r"code_count_q(\d+)": lambda case, run, q: run.books[int(q)].code_count,
}


class Step:
    """One training step with stored draws."""

    def __init__(self, case: Case, model: Rvq, draws: Draws | None = None) -> None:
        model.zero_grad()
        motion = case["x"]
        self.output = model(motion, draws=Recorded(case) if draws is None else draws)
        self.terms = rvq_terms(self.output, motion, model.options, FeatureLayout.of(model.features).positions)
        self.terms["loss"].backward()
        self.books = model.quantizer.books()
        self.gradients = {name: parameter.grad for name, parameter in model.named_parameters()}


def training_checks(case: Case) -> Iterator[Check]:
    """Training-mode forwards of a loaded model: losses, gradients and codebooks after every step.

    A shared codebook has as many layers as there are draws, and its only book under one name or under all.
    """
    steps = case.groups(r"step\d+")
    first = case.under(f"{steps[0]}/")
    layers = len(first.find(r"uniform_q\d+"))
    shape = (first.last("x"), layers, *first.raw("codebook_q0").shape)

    def fits(model: Rvq) -> bool:
        return shape == (model.features, model.options.quantizers, model.options.codes, model.options.code_dim)

    def error(model: Rvq) -> float:
        return deviation(Step(first, quiet(model)).output.recon, first.raw("recon"))

    model = quiet(pick(case, tokenizers(case.folder), fits, error))
    for step in steps:
        part = case.under(f"{step}/")
        run = Step(part, model)
        yield from part.rows(run, STEP_ROWS, TOKENIZER)
        grads = {"grad/(.+)": lambda case, run, name: run.gradients.get(name, float("nan"))}
        yield from part.rows(run, grads, NETWORK)
    yield from case.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"rvq": rvq}
