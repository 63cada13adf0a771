"""MoMask's tokenizer against the authors' code: codes, reconstructions, losses, training steps, manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.draws import Draws
from hmu.backbones.tokens.authors import load_rvq
from hmu.backbones.tokens.options import RvqOptions
from hmu.backbones.tokens.rvq import Rvq, rvq_terms
from hmu.errors import CheckpointError
from hmu.motion.layout import FeatureLayout
from tests.parity.case import Case, Table, once
from tests.parity.checks import Checks
from tests.parity.kinds import compares
from tests.parity.manifests import manifest_checks, published
from tests.parity.momask_models import NETWORK, TOKENIZER, pick, stored
from tests.published import options as published_options

AVERAGES = ("code_sum", "code_count")  # of ours; the authors' files do not have them
#: a manifest's names, ours, and the authors' option defaults
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
#: with the authors' training behaviour
tokenizer = partial(load_rvq, variant="upstream")


def fresh(numbers: Mapping[str, Any]) -> Rvq:
    """A tokenizer of a manifest's hyper-parameters; what it does not tell is as published."""
    sizes: dict[str, Any] = {ours: int(numbers.get(theirs) or value) for theirs, (ours, value) in SIZES.items()}
    norm, shared = str(numbers.get("vq_norm", "None")), bool(numbers.get("shared_codebook", False))
    options = published_options(RvqOptions, **sizes, norm="none" if norm == "None" else norm, shared=shared)
    return Rvq(int(numbers.get("dim_pose") or 263), options, "upstream")


@once
def _output(case: Case, model: Rvq) -> Any:
    return model(case["x"])


def terms_of(output: Any, motion: Tensor, model: Rvq) -> dict[str, Tensor]:
    """The training loss and its terms."""
    return rvq_terms(output, motion, model.options, FeatureLayout.of(model.features).positions)


def _term(case: Case, model: Rvq, name: str) -> Tensor:
    names = {"rec": "recon", "explicit": "positions", "total": "loss"}
    return terms_of(_output(case, model), case["x"], model)[names[name]]


def _ids(case: Case) -> Tensor:
    """What the stored decodings decode: their own ids where they have some."""
    return case[case.first("dec_indices", "indices")]


RVQ_ROWS: Table = {
    "encoder_out": lambda case, model: model.latents(case["x"]).transpose(1, 2),
    "indices": lambda case, model: model.encode(case["x"]),
    "all_codes": lambda case, model: torch.stack(
        [book.lookup(ids) for book, ids in zip(model.quantizer.books(), case["indices"].unbind(-1), strict=False)]
    ).transpose(2, 3),
    "recon": lambda case, model: _output(case, model).recon,
    "commit_loss": lambda case, model: _output(case, model).commit,
    "perplexity": lambda case, model: _output(case, model).perplexity,
    "loss_(rec|explicit|total)": _term,
    "decoded": lambda case, model: model.decode(_ids(case)),
    "decoded_partial": lambda case, model: model.decode(case["indices_partial"]),
    r"decoded_first(\d+)": lambda case, model, count: model.decode(_ids(case)[..., : int(count)]),
    "latent_from_indices": lambda case, model: model.quantizer.decode(_ids(case)).transpose(1, 2),
}


def rvq_checks(case: Case) -> Checks:
    """Evaluation-mode outputs in single and double precision."""
    width = case.raw("encoder_out").shape[1] if "encoder_out" in case else None
    recorded = (case.last("x"), case.last("indices"), width)

    def fits(model: Rvq) -> bool:
        ours = (model.features, model.options.quantizers, model.options.code_dim)
        return all(size in (None, own) for size, own in zip(recorded, ours, strict=True))

    def sized() -> Iterator[Rvq]:
        names = ("dim_pose", "num_quantizers", "code_dim")
        known = {name: size for name, size in zip(names, recorded, strict=True) if size is not None}
        yield fresh(published(case.folder, "rvq") | known)

    first = case.first("recon", "encoder_out", "decoded", "indices")
    candidates = stored(case.folder, tokenizer)
    model = pick(case, candidates, fits, lambda model: case.off(model, RVQ_ROWS, first), sized)
    yield from case.table(model, RVQ_ROWS, TOKENIZER)


@compares("rvq")
def rvq(case: Case) -> Checks:
    """A case of the tokenizer, a training case (it has steps), and the manifest beside it."""
    yield from training_checks(case) if case.groups(r"step\d+") else rvq_checks(case)
    yield from manifest_checks(case, fresh, lambda state: {n: v for n, v in state.items() if not n.endswith(AVERAGES)})


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
        numbers = self.case[name].to(like.dtype)
        if tuple(numbers.shape) != shape:
            raise CheckpointError(f"'{name}' has shape {tuple(numbers.shape)}, the training step draws {shape}")
        return numbers

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
    r"(codebook|code_sum|code_count)_q(\d+)": lambda case, run, what, q: getattr(run.books[int(q)], what),
}
GRADIENTS: Table = {"grad/(.+)": lambda case, run, name: run.gradients.get(name, float("nan"))}


class Step:
    """One training step with stored draws."""

    @torch.enable_grad()
    def __init__(self, case: Case, model: Rvq, draws: Draws | None = None) -> None:
        model.zero_grad()
        self.output = model(case["x"], draws=Recorded(case) if draws is None else draws)
        self.terms = terms_of(self.output, case["x"], model)
        self.terms["loss"].backward()
        self.books = model.quantizer.books()
        self.gradients = {name: parameter.grad for name, parameter in model.named_parameters()}


def training_checks(case: Case) -> Checks:
    """Training-mode forwards of a loaded model: losses, gradients and codebooks after every step.

    A shared codebook has as many layers as there are draws, and its only book under one name or under all.
    """
    steps = [case.under(f"{step}/") for step in case.groups(r"step\d+")]
    layers = len(steps[0].find(r"uniform_q\d+"))
    shape = (steps[0].last("x"), layers, *steps[0].raw("codebook_q0").shape)

    def fits(model: Rvq) -> bool:
        return shape == (model.features, model.options.quantizers, model.options.codes, model.options.code_dim)

    def error(model: Rvq) -> float:
        return steps[0].off(Step(steps[0], quiet(model)), STEP_ROWS, "recon")

    model = quiet(pick(case, stored(case.folder, tokenizer), fits, error))
    for part in steps:
        run = Step(part, model)
        yield from part.rows(run, STEP_ROWS, TOKENIZER)
        yield from part.rows(run, GRADIENTS, NETWORK)
