"""What becomes of the rows of a codebook whose codes are listed for replacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.documents import read_yaml
from hmu.errors import ConfigError
from hmu.methods.codebook.ranking import Scores, Usage
from hmu.methods.upstream import codes as upstream_codes

MOST_CODES = 1 << 20  # no codebook has as many


@dataclass(frozen=True)
class Choice:
    """What is known of one quantiser layer, and the codes chosen in it.

    Attributes:
        listed: codes to replace.
        scores: log-odds of all codes ``(codes,)``, above 0 = more frequent on the forget side.
        usage: counts of both sides.
    """

    listed: list[int]
    scores: Scores
    usage: Usage


@dataclass(frozen=True)
class Rewriting:
    """How rows are rewritten; see the arguments of :class:`hmu.methods.lcr.Lcr` with these names."""

    destination: str
    target_code: int | None
    noise: str
    alpha: float
    upstream: bool


def by_codebook(backbone: MotionBackbone, layers: Sequence[int], count: int) -> dict[str, list[int]]:
    """The chosen ones of ``count`` layers by the name of their codebook (one for all, or one each)."""
    names = list(backbone.codebooks())
    found: dict[str, list[int]] = {}
    for layer in layers:
        found.setdefault(names[0] if len(names) == 1 else names[layer], []).append(layer)
    return found


def rewritten(
    backbone: MotionBackbone,
    choices: Mapping[int, Choice],
    count: int,
    how: Rewriting,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """Changes of the codebooks (and of the noise per code) by weight name, float32 on the CPU.

    Args:
        backbone: the base.
        choices: by layer.
        count: quantiser layers of the backbone.
        how: what becomes of a row.
        generator: of the noise and of a random destination, on the CPU.

    Raises:
        ConfigError: no code can be a destination.
    """
    books, noises = backbone.codebooks(), list(backbone.codebook_noise())
    listed = list(choices[min(choices)].listed)
    fixed = None
    if how.upstream and how.destination != "orthogonal":
        size = len(next(iter(books.values())))
        fixed = upstream_codes.destination(listed, size, how.target_code or 0, generator)
    deltas: dict[str, Tensor] = {}
    for name, layers in by_codebook(backbone, list(choices), count).items():
        book = books[name].detach().cpu().double()
        mine = [choices[layer] for layer in layers]
        rows = [code for choice in mine for code in choice.listed]
        if not how.upstream:
            rows = list(dict.fromkeys(rows))
        if not rows:
            continue
        if how.destination == "orthogonal":
            new = upstream_codes.orthogonal(book, rows, how.alpha)
        elif fixed is not None:
            new = upstream_codes.replaced(book, rows, fixed, how.alpha, normal((len(rows), book.shape[1]), generator))
        else:
            new = book.clone()
            new[rows] = book[destinations(book, rows, mine, how)]
            if how.noise == "edit":
                new[rows] += how.alpha * book.std() * normal((len(rows), book.shape[1]), generator)
            if how.noise == "sample":
                spread = torch.zeros(len(book))
                spread[rows] = float(how.alpha * book.std())
                deltas[noises[list(books).index(name)]] = spread
        deltas[name] = (new - book).float()
    return deltas


def normal(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(shape, generator=generator).double()


def safe_codes(choices: Sequence[Choice]) -> NDArray[np.bool_]:
    """Codes of one codebook that retain clips use in one of its layers, and forget clips more in none ``(codes,)``.

    Listed codes are not among them.
    """
    used = np.logical_or.reduce([choice.usage.rest > 0 for choice in choices])
    harmless = np.logical_and.reduce([choice.scores <= 0 for choice in choices])
    safe: NDArray[np.bool_] = used & harmless
    safe[[code for choice in choices for code in choice.listed]] = False
    return safe


def destinations(book: Tensor, rows: Sequence[int], choices: Sequence[Choice], how: Rewriting) -> Tensor:
    """The code that each of ``rows`` becomes ``(rows,)``: the nearest safe one, or one for all.

    Raises:
        ConfigError: no code is safe, or the asked one is listed itself.
    """
    safe = safe_codes(choices)
    if how.destination == "code":
        code = how.target_code
        if code is None and safe.any():
            seen = np.sum([choice.usage.rest for choice in choices], axis=0)
            code = int(np.argmax(np.where(safe, seen, -1)))
        if code is not None:
            if not 0 <= code < len(book) or code in set(rows):
                raise ConfigError(
                    f"method.target_code={code}: it is itself to be replaced, or not one of {len(book)} codes; choose "
                    "another, or null for the safe code that most retain clips contain"
                )
            return torch.full((len(rows),), code)
    if not safe.any():
        raise ConfigError("method.codes: no safe code is left to replace others with; list fewer codes")
    candidates = torch.from_numpy(np.flatnonzero(safe))
    return candidates[torch.cdist(book[list(rows)], book[candidates]).argmin(1)]


# -- lists and report --------------------------------------------------------------------------------------------------
def joined_lists(paths: Sequence[str | Path], *, keep_duplicates: bool = False) -> list[list[int]]:
    """Lists of codes by layer from several files (``codes.yaml``), joined layer by layer.

    Raises:
        ConfigError: a file that is missing, cannot be read or holds something else.
    """
    joined: list[list[int]] = []
    for path in map(Path, paths):
        lists = read_yaml(path, ConfigError)
        whole = isinstance(lists, list) and all(
            isinstance(codes, list) and all(type(c) is int and 0 <= c < MOST_CODES for c in codes) for codes in lists
        )
        if not whole or not lists:
            raise ConfigError(f"method.lists: '{path}' should hold one list of codes per layer, as codes.yaml does")
        pairs: list[tuple[list[int], list[int]]] = list(zip_longest(joined, lists, fillvalue=[]))
        joined = [[*old, *new] for old, new in pairs]
    return joined if keep_duplicates else [list(dict.fromkeys(codes)) for codes in joined]


def report(choices: Mapping[int, Choice]) -> dict[str, Any]:
    """What the chosen codes carry, layer by layer."""
    layers = {}
    for layer, choice in choices.items():
        share = choice.usage.share(choice.listed)
        layers[str(layer)] = {
            "codes": choice.listed,
            "log_odds": [round(float(choice.scores[code]), 4) for code in choice.listed],
            "forget_token_share": round(share["forget"], 6),
            "retain_token_share": round(share["retain"], 6),
        }
    first = next(iter(choices.values())).usage
    return {"forget_rows": first.forget_rows, "retain_rows": first.rest_rows, "layers": layers}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The report in words, a line per layer."""
    return [
        f"layer {layer}: {len(set(told['codes']))} codes carry {told['forget_token_share']:.1%} of the forget and "
        f"{told['retain_token_share']:.1%} of the retain tokens"
        for layer, told in found["layers"].items()
    ]
