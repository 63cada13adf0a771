"""Which MoMask or BAMM networks a case belongs to: cases do not name them, so sizes and the first output tell.

A case without stored weights is of the published size (as far as arrays and manifests tell) and filled by rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hmu.backbones.tokens.encoder import from_authors
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError, ConfigError
from tests.authors_names import to_authors
from tests.parity.case import Case, checkpoints
from tests.parity.checks import Checks, match, nearest
from tests.parity.fills import filled, fills

TOKENIZER, NETWORK = 1e-5, 5e-5
#: the authors' option defaults, which published models have
ENCODER = {"latent_dim": 384, "n_heads": 6, "n_layers": 8, "ff_size": 1024}
#: what a generation without a JSON may have been run with: guidance, share of classes left out, temperature, steps
SCALES = (4.0, 5.0, 2.0, 3.0, 1.0, 6.0, 4.5, 2.5, 7.5, 0.0)
FILTERS, TEMPERATURES = (0.9, 0.5, 0.6, 0.7, 0.8, 0.0), (1.0, 0.7, 1.3, 0.5, 0.8, 0.9, 1.2)
STEPS = (10, 18, 5, 6, 8, 4, 12, 20)
M = TypeVar("M", bound=nn.Module)
Settings = dict[str, Any]


def stored(folder: Path, load: Callable[[Path], tuple[M, Any]], file: str = "opt.txt") -> Iterator[tuple[Path, M]]:
    """Every network beside a case that ``load`` reads, with its folder; ``file``: what such a folder holds."""
    for path in checkpoints(folder, file):
        place = path.parents[file.count("/")]
        try:
            yield place, load(place)[0]
        except (CheckpointError, ConfigError):
            continue  # another part's folder


def pick(
    case: Case,
    candidates: Iterable[tuple[Path, M]],
    fits: Callable[[M], bool],
    error: Callable[[M], float],
    fresh: Callable[[], Iterable[M]] = tuple,
) -> M:
    """The stored network that fits a case and reproduces it best; without one the published size, filled.

    Args:
        case: with its arrays.
        candidates: networks beside it.
        fits: whether a network has the sizes that the arrays tell.
        error: how far its first output is from the stored one.
        fresh: networks of the published size without values; more than one where the arrays leave it open.

    Raises:
        CheckpointError: there is none.
    """
    words = f"{case.folder.name} {case.part}"
    by_rule = any(word in words for word in ("sine", "hash", "full"))
    fitting = [] if by_rule else [model for _, model in candidates if fits(model)]
    by_name = fills(case.part, case.folder.name)
    unstored = (filled(model, fill, to_authors, from_authors) for fill in by_name for model in fresh())
    return nearest(fitting or unstored, error, "network")


def sizes(numbers: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of a transformer from a manifest's hyper-parameters; what it does not tell is as published."""
    return {key: int(numbers.get(key, value)) for key, value in ENCODER.items()}


def widths(numbers: Mapping[str, Any]) -> tuple[int, int, int]:
    """Codes, their width, and the width of texts; what a manifest does not tell is as published."""
    codes, width, text = (int(numbers.get(key) or 512) for key in ("num_tokens", "code_dim", "clip_dim"))
    return codes, width, text


def valid(case: Case, tokens: int, at: str = "") -> Tensor:
    """True at real tokens ``(batch, tokens)``: from the stored mask, else from the lengths in tokens, else all."""
    if at and (own := case.get(f"{at}m_lens", f"{at}token_lens", "m_lens")) is not None:
        return length_mask(own, tokens)
    if (mask := case.get("padding_mask")) is not None:
        return ~mask
    if (lengths := case.get("m_lens", "token_lens")) is not None:
        return length_mask(lengths, tokens)
    return torch.ones(len(case.raw(case.first("cond", "text_emb", "motion_ids"))), tokens, dtype=torch.bool)


def padding_check(case: Case, tokens: int) -> Checks:
    """The stored mask and the stored lengths agree."""
    if "padding_mask" in case and "m_lens" in case:
        yield match("padding_mask", ~length_mask(case["m_lens"], tokens), case.raw("padding_mask"), 0.0)


def trained(part: Case, model: nn.Module, logits: Tensor, loss: Tensor, accuracy: Tensor, **others: Tensor) -> Checks:
    """One recorded training batch: its inputs, logits ``(batch, tokens, classes)``, loss and gradients.

    Gradients lie below ``grad/``, under the authors' names.
    """
    model.zero_grad()
    loss.backward()
    outputs = {"logits": logits.transpose(1, 2), "loss": loss, "pred_id": logits.argmax(-1), "acc": accuracy}
    yield from part.given(others | outputs, NETWORK)
    ours = to_authors({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()})
    yield from part.rows(None, {"grad/(.+)": lambda case, _, name: ours.get(name, float("nan"))}, NETWORK)


def guesses(recorded: Settings, sampled: bool, usual: float) -> Iterator[Settings]:
    """What is recorded of a run, completed in every way that it may mean; the usual guidance first."""
    scales = [recorded.get("cond_scale", usual)] if recorded else dict.fromkeys((usual, *SCALES))
    filters = [recorded.get("topk_filter_thres", 0.9)] if recorded or not sampled else FILTERS
    warmth = [recorded.get("temperature", 1.0)] if recorded or not sampled else TEMPERATURES
    for scale, share, temperature in product(scales, filters, warmth):
        yield {**recorded, "cond_scale": scale, "topk_filter_thres": share, "temperature": temperature}
