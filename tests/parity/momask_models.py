"""Which MoMask or BAMM networks a case belongs to: cases do not name them, so sizes and the first output tell.

A case without stored weights is of the published size (as far as arrays and manifests tell) and filled by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.momask.authors import load_length, load_masked
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.tokens.authors import load_residual, load_rvq
from hmu.backbones.tokens.encoder import from_authors, to_authors
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq
from hmu.checkpoints.authors import read_statistics
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError, ConfigError
from tests.parity.case import Case, checkpoints
from tests.parity.checks import Check, match, nearest
from tests.parity.fills import filled, fills

TOKENIZER, NETWORK = 1e-5, 5e-5
#: the authors' option defaults, which published models have
ENCODER = {"latent_dim": 384, "n_heads": 6, "n_layers": 8, "ff_size": 1024}
#: what a generation without a JSON may have been run with: guidance, share of classes left out, temperature, steps
SCALES = (4.0, 5.0, 2.0, 3.0, 1.0, 6.0, 4.5, 2.5, 7.5, 0.0)
FILTERS, TEMPERATURES = (0.9, 0.5, 0.6, 0.7, 0.8, 0.0), (1.0, 0.7, 1.3, 0.5, 0.8, 0.9, 1.2)
STEPS = (10, 18, 5, 6, 8, 4, 12, 20)
M = TypeVar("M", bound=nn.Module)
C = TypeVar("C")
Settings = dict[str, Any]


def _readable(load: Callable[[Path], M], folders: Iterable[Path]) -> Iterator[tuple[Path, M]]:
    for folder in folders:
        try:
            yield folder, load(folder)
        except (CheckpointError, ConfigError):
            continue  # another part's folder


def _stored(folder: Path, load: Callable[[Path], M], file: str = "opt.txt") -> Iterator[tuple[Path, M]]:
    places = [path.parent if file == "opt.txt" else path.parents[1] for path in checkpoints(folder, file)]
    yield from _readable(load, places)


def tokenizers(folder: Path) -> Iterator[tuple[Path, Rvq]]:
    """Every tokenizer beside a case, with the authors' training behaviour."""
    return _stored(folder, lambda path: load_rvq(path, variant="upstream")[0])


def masked_transformers(folder: Path) -> Iterator[tuple[Path, MaskedTransformer]]:
    """Every masked transformer beside a case."""
    return _stored(folder, lambda path: load_masked(path)[0])


def residual_transformers(folder: Path) -> Iterator[tuple[Path, ResidualTransformer]]:
    """Every residual transformer beside a case."""
    return _stored(folder, lambda path: load_residual(path)[0])


def bamm_transformers(folder: Path) -> Iterator[tuple[Path, BidirectionalTransformer]]:
    """Every BAMM transformer beside a case."""
    return _stored(folder, lambda path: load_transformer(path)[0])


def length_estimators(folder: Path) -> Iterator[tuple[Path, LengthEstimator]]:
    """Every length estimator beside a case; its folder has no options."""
    return _stored(folder, lambda path: load_length(path)[0], "model/finest.tar")


def pick(
    case: Case,
    stored: Iterator[tuple[Path, M]],
    fits: Callable[[M], bool],
    error: Callable[[M], float],
    fresh: Callable[[], Iterable[M]] = tuple,
) -> M:
    """The stored network that fits a case and reproduces it best; without one the published size, filled.

    Args:
        case: with its arrays.
        stored: networks beside it.
        fits: whether a network has the sizes that the arrays tell.
        error: how far its first output is from the stored one.
        fresh: networks of the published size without values; more than one where the arrays leave it open.

    Raises:
        CheckpointError: there is none.
    """
    spoken = any(word in f"{case.folder.name} {case.part}" for word in ("sine", "hash", "full"))
    fitting = [] if spoken else [model for _, model in stored if fits(model)]
    candidates: Iterable[M] = fitting or (
        filled(model, fill, to_authors, from_authors)
        for fill in fills(case.part, case.folder.name)
        for model in fresh()
    )
    model = nearest(candidates, error)
    if model is None:
        raise CheckpointError(f"case {case.folder.name}: none of the checkpoints beside it has its sizes")
    return model


def sizes(numbers: dict[str, Any]) -> dict[str, int]:
    """Sizes of a transformer from a manifest's hyper-parameters; what it does not tell is as published."""
    return {key: int(numbers.get(key, value)) for key, value in ENCODER.items()}


def valid(case: Case, tokens: int, at: str = "") -> Tensor:
    """True at real tokens ``(batch, tokens)``: from the stored mask, else from the lengths in tokens, else all."""
    for name in dict.fromkeys((f"{at}m_lens", f"{at}token_lens", "m_lens")) if at else ():
        if name in case:
            return length_mask(case[name], tokens)
    if (mask := case.get("padding_mask")) is not None:
        return ~mask
    lengths = case.get("m_lens", "token_lens")
    rows = next(case.raw(name).shape[0] for name in ("cond", "text_emb", "motion_ids") if name in case)
    return torch.ones(rows, tokens, dtype=torch.bool) if lengths is None else length_mask(lengths, tokens)


def padding_check(case: Case, tokens: int) -> Iterator[Check]:
    """The stored mask and the stored lengths agree."""
    if "padding_mask" in case and "m_lens" in case:
        yield match("padding_mask", ~length_mask(case["m_lens"], tokens), case.raw("padding_mask"), 0.0)


def gradients(case: Case, model: nn.Module) -> Iterator[Check]:
    """Every stored gradient below ``grad/``, under the authors' names."""
    ours = to_authors({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()})
    yield from case.rows(None, {"grad/(.+)": lambda case, _, name: ours.get(name, float("nan"))}, NETWORK)


def guesses(told: Settings, sampled: bool, usual: float) -> Iterator[Settings]:
    """What is told of a run, completed in every way that it may mean; the usual guidance first."""
    scales = [told.get("cond_scale", usual)] if told else dict.fromkeys((usual, *SCALES))
    filters = [told.get("topk_filter_thres", 0.9)] if told or not sampled else FILTERS
    warmth = [told.get("temperature", 1.0)] if told or not sampled else TEMPERATURES
    for scale, share, temperature in product(scales, filters, warmth):
        yield {**told, "cond_scale": scale, "topk_filter_thres": share, "temperature": temperature}


class Chain(NamedTuple):
    """The networks from text to motion, and the tokenizer's statistics."""

    rvq: Rvq
    base: Any
    residual: ResidualTransformer
    mean: Tensor
    std: Tensor


def chains(folder: Path, base: Iterator[tuple[Path, Any]], quantizers: int) -> Iterator[Chain]:
    """Every base transformer with each tokenizer and residual transformer of its sizes, whatever ``opt.txt`` names."""
    residuals = [model for _, model in residual_transformers(folder) if model.quantizers == quantizers]
    coders = list(tokenizers(folder))
    for _, transformer in base:
        fitting = [coder for coder in coders if coder[1].options.codes == transformer.codes]
        for path, rvq in fitting:
            try:
                mean, std = (torch.from_numpy(x).float() for x in read_statistics(path / "meta", rvq.features))
            except CheckpointError:
                mean, std = torch.zeros(rvq.features), torch.ones(rvq.features)
            for residual in residuals:
                if (residual.codes, rvq.options.quantizers) == (transformer.codes, quantizers):
                    yield Chain(rvq, transformer, residual, mean, std)


def nearest_chain(
    case: Case, candidates: Iterable[tuple[Chain, C]], error: Callable[[tuple[Chain, C]], float]
) -> tuple[Chain, C]:
    """The chain, and the settings with it, that reproduce a case best.

    Raises:
        CheckpointError: there is no complete one.
    """
    found = nearest(candidates, error)
    if found is None:
        raise CheckpointError(f"case {case.folder.name}: no complete chain of checkpoints beside it")
    return found
