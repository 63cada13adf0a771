"""Weights that golden vectors do not store: the documented rules that fill a network of any system.

All rules go by the authors' names of the tensors. ``i`` is the flat index in C order, ``c`` is ``crc32(name)``,
``s`` is ``1 / sqrt(numel / shape[0])``, 0.1 for one dimension; weights of norms (one dimension) are moved by 1.

* ``sine``: ``s sin(0.37 i + c mod 1000)``,
* ``hash``: ``2 a (frac(43758.5453 sin(12.9898 i + c mod 1000)) - 0.5)`` with ``a = s sqrt(3)``,
* ``random``: ``RandomState(c).standard_normal``, over ``sqrt(shape[1])``; one dimension times 0.15, norms times 0.2.

MoMask's codebooks take the hash form under every rule (its README says why). Values are computed in double precision;
references were run with them as they are or rounded to float32, so both are kept.
"""

from __future__ import annotations

import copy
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
State = dict[str, Tensor]
RULES = ("sine", "hash", "random")
SPELLINGS = {"sine": "sine", "sin": "sine", "hash": "hash", "random": "random", "randomstate": "random", "rs": "random"}
#: tables that are not weights
CONSTANT = re.compile(r"(^|.*\.)(pe|freqs|code_sum|code_count|.*adj_matrix|skeleton_pool|skeleton_unpool)$")
CODEBOOK = re.compile(r"quantizer\.layers\.(\d+)\.codebook")


@dataclass(frozen=True)
class Fill:
    """One way to fill a network: a rule, what stands before every name, and whether norms are moved by 1."""

    rule: str
    before: str = ""
    moved: bool = True

    def under(self, before: str) -> Fill:
        """The same with something else before every name."""
        return replace(self, before=before)

    def values(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The documented numbers of one tensor, in double precision."""
        code = zlib.crc32(f"{self.before}{name}".encode())
        size, norm = math.prod(shape), self.moved and len(shape) == 1 and name.endswith("weight")
        if self.rule == "random":
            return self._random(name, code, shape, norm)
        index, seed = np.arange(size, dtype=np.float64), code % 1000
        book, scale = CODEBOOK.fullmatch(name), 0.1 if len(shape) == 1 else 1 / math.sqrt(size / shape[0])
        if book:
            scale = (0.5 if self.rule == "sine" else 1.7) / (int(book[1]) + 1)
        elif self.rule == "hash":
            scale *= math.sqrt(3)
        if book or self.rule == "hash":
            wave = 43758.5453 * np.sin(12.9898 * index + seed)
            flat = 2 * scale * (wave - np.floor(wave) - 0.5)
        else:
            flat = scale * np.sin(0.37 * index + seed)
        return (flat + 1 if norm else flat).reshape(shape)

    @staticmethod
    def _random(name: str, code: int, shape: tuple[int, ...], norm: bool) -> np.ndarray:
        drawn = np.random.RandomState(code).standard_normal(shape)
        if len(shape) >= 2:
            return drawn / np.sqrt(shape[1]) * (0.8 if name == "final_layer.weight" else 1.0)
        return 1 + 0.2 * drawn if norm else 0.15 * drawn

    def state(self, like: Mapping[str, Tensor]) -> State:
        """Values in double precision for every floating tensor of ``like`` (the authors' names); tables stay."""
        return {
            name: value
            if CONSTANT.fullmatch(name) or not value.is_floating_point()
            else torch.from_numpy(np.ascontiguousarray(self.values(name, tuple(value.shape))))
            for name, value in like.items()
        }


def rules(*names: str) -> list[str]:
    """The rules that names of files and folders speak of, else every rule."""
    words = [word for name in names for word in re.split(r"[^a-z]+", name.lower())]
    named = [SPELLINGS[word] for word in words if word in SPELLINGS]
    return list(dict.fromkeys(named)) or list(RULES)


def fills(*names: str, before: tuple[str, ...] = ("",), moved: tuple[bool, ...] = (True,)) -> Iterator[Fill]:
    """Every fill that a case may mean; the likeliest first."""
    return (Fill(rule, prefix, norm) for norm in moved for prefix in before for rule in rules(*names))


def filled(
    module: M,
    fill: Fill,
    theirs: Callable[[Any], Mapping[str, Tensor]] = dict,
    ours: Callable[[Any], Mapping[str, Tensor]] = dict,
) -> M:
    """``module`` filled, in evaluation mode; it remembers the double values for :func:`doubled`.

    ``theirs`` gives our state under the authors' names, ``ours`` the reverse.
    """
    values = ours(fill.state(theirs(module.state_dict())))
    module.load_state_dict({name: value.to(module.state_dict()[name].dtype) for name, value in values.items()})
    module.exact_values = values  # type: ignore[assignment]
    return module.eval()


def doubled(module: M) -> Iterator[M]:
    """The network in double precision: with its values as filled, where there are such, then as rounded to float32."""
    rounded = copy.deepcopy(module).double()
    parts = [(name, part) for name, part in rounded.named_modules() if hasattr(part, "exact_values")]
    if parts:
        precise = copy.deepcopy(rounded)
        for name, part in parts:
            precise.get_submodule(name).load_state_dict({n: v.double() if v.is_floating_point() else v
                                                         for n, v in part.exact_values.items()})  # fmt: skip
        yield precise
    yield rounded
