"""The numbers of MoMask's own parts; impossible values are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from hmu.backbones.options import require
from hmu.backbones.tokens.options import TokenSampling
from hmu.checks import check_fields
from hmu.errors import shown


@dataclass(frozen=True)
class LengthOptions:
    """The length estimator.

    Attributes:
        classes: one per number of tokens, from 0. hidden: widths of the three hidden layers. dropout: between them.
    """

    classes: Annotated[int, ">= 1, <= 10000"]
    hidden: Sequence[Annotated[int, ">= 1, <= 65536"]]
    dropout: Annotated[float, ">= 0, <= 1"]

    def __post_init__(self) -> None:
        check_fields(self, "backbone.length")
        said = shown(self.hidden)
        require(len(self.hidden) == 3, f"backbone.length.hidden={said}: expected three widths, like 512 256 128")
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a YAML list cannot be stored


#: the published length estimator
PUBLISHED_LENGTH = LengthOptions(classes=50, hidden=(512, 256, 128), dropout=0.2)


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(TokenSampling):
    """How motions are generated.

    Attributes:
        steps: passes of the masked transformer.
        thres: base codes are drawn from the ``ceil((1 - thres) * classes)`` most likely ones.
    """

    steps: Annotated[int, ">= 1, <= 100000"]
    thres: Annotated[float, ">= 0, <= 1"]
