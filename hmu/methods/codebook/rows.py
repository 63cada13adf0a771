"""What becomes of the rows of a codebook whose codes are listed for replacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.checks import check_variant
from hmu.documents import read_yaml
from hmu.errors import ConfigError
from hmu.methods.base import EditMethod
from hmu.methods.codebook.ranking import Scores, Usage
from hmu.methods.upstream import codes as upstream_codes
from hmu.values import Variant, Weight, Whole

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


@dataclass(kw_only=True)
class Rewriting(EditMethod):
    """What becomes of the rows whose codes are listed.

    Args:
        destination: ``nearest`` safe code of the codebook; one ``code``; or ``orthogonal``: a listed row only loses its
            part along the mean of the listed rows. Safe: used by retain clips, and not more by forget clips.
        target_code: for ``code``: its index; None = the safe code that most retain clips contain.
        noise: ``none``; ``edit``: drawn once, now; ``sample``: drawn anew for every token that is generated.
        alpha: noise in standard deviations of the codebook; with ``orthogonal`` the share of that part that is lost.
        variant: ``default``, or ``upstream`` = destination and noise as the authors compute them.
    """

    destination: Literal["nearest", "code", "orthogonal"]
    target_code: Whole | None
    noise: Literal["none", "edit", "sample"]
    alpha: Weight
    variant: Variant

    def __post_init__(self) -> None:
        super().__post_init__()
        self.variant = check_variant("method.variant", self.variant)
        if self.noise != "none" and self.destination == "orthogonal":
            raise ConfigError(
                f"method.noise={self.noise} has no meaning with destination=orthogonal: choose noise=none"
            )

    def rewritten(
        self, backbone: MotionBackbone, choices: Mapping[int, Choice], generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Changes of the codebooks ``(codes, width)`` and of the noise ``(codes,)`` by weight name, float32 on the CPU.

        ``choices`` are by layer (all may share one codebook); ``generator`` draws noise and a random destination.

        Raises:
            ConfigError: no code can be a destination.
        """
        books, noises = backbone.codebooks(), list(backbone.codebook_noise())
        names = list(books)
        fixed = None
        if self.variant == "upstream" and self.destination != "orthogonal":
            first = choices[min(choices)].listed
            fixed = upstream_codes.destination(first, len(books[names[0]]), self.target_code or 0, generator)
        grouped: dict[int, list[Choice]] = {}
        for layer, choice in choices.items():
            grouped.setdefault(0 if len(names) == 1 else layer, []).append(choice)
        deltas: dict[str, Tensor] = {}
        for number, group in grouped.items():
            book = books[names[number]].detach().cpu().double()
            rows = [code for choice in group for code in choice.listed]
            if self.variant == "default":
                rows = list(dict.fromkeys(rows))
            if not rows:
                continue
            if self.noise == "sample" and fixed is None:
                spread = torch.zeros(len(book))
                spread[rows] = float(self.alpha * book.std())
                deltas[noises[number]] = spread
            deltas[names[number]] = (self._new(book, rows, group, fixed, generator) - book).float()
        return deltas

    def _new(
        self, book: Tensor, rows: list[int], group: list[Choice], fixed: int | None, generator: torch.Generator | None
    ) -> Tensor:
        """The codebook ``(codes, width)`` with its listed rows replaced; ``fixed``: the authors' one destination."""
        if self.destination == "orthogonal":
            return upstream_codes.orthogonal(book, rows, self.alpha)
        noisy = fixed is not None or self.noise == "edit"
        noise = torch.randn(len(rows), book.shape[1], generator=generator).double() if noisy else torch.zeros(1)
        if fixed is not None:
            return upstream_codes.replaced(book, rows, fixed, self.alpha, noise)
        new = book.clone()
        new[rows] = book[self._destinations(book, rows, group)] + self.alpha * book.std() * noise
        return new

    def _destinations(self, book: Tensor, rows: Sequence[int], choices: Sequence[Choice]) -> Tensor:
        """The code that each of ``rows`` becomes ``(rows,)``: the nearest safe one, or one for all.

        Raises:
            ConfigError: no code is safe, or the asked one is listed itself.
        """
        safe = safe_codes(choices)
        if self.destination == "code":
            code = self.target_code
            if code is None and safe.any():
                code = int(np.argmax(np.where(safe, np.sum([choice.usage.rest for choice in choices], axis=0), -1)))
            if code is not None:
                if not 0 <= code < len(book) or code in set(rows):
                    raise ConfigError(
                        f"method.target_code={code}: it is itself to be replaced, or not one of {len(book)} codes; "
                        "choose another, or null for the safe code that most retain clips contain"
                    )
                return torch.full((len(rows),), code)
        if not safe.any():
            raise ConfigError("method.codes: no safe code is left to replace others with; list fewer codes")
        candidates = torch.from_numpy(np.flatnonzero(safe))
        return candidates[torch.cdist(book[list(rows)], book[candidates]).argmin(1)]


def safe_codes(choices: Sequence[Choice]) -> NDArray[np.bool_]:
    """Codes of one codebook that retain clips use in one of its layers, and forget clips more in none ``(codes,)``.

    Listed codes are not among them.
    """
    used = np.logical_or.reduce([choice.usage.rest > 0 for choice in choices])
    harmless = np.logical_and.reduce([choice.scores <= 0 for choice in choices])
    safe: NDArray[np.bool_] = used & harmless
    safe[[code for choice in choices for code in choice.listed]] = False
    return safe


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
