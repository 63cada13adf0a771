"""The numbers of MoMask's own parts, as published; impossible values are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmu.backbones.options import require
from hmu.checkpoints.kinds import Kind, check_fields, real, whole
from hmu.errors import shown

_SHARE = real(0, 1)
_SAMPLING: dict[str, Kind] = {
    "steps": whole(1, 100_000),
    "guidance": real(-1000, 1000),
    "residual_guidance": real(-1000, 1000),
    **dict.fromkeys(("temperature", "residual_temperature"), real(0, 1e6)),
    **dict.fromkeys(("thres", "residual_thres"), _SHARE),
}


@dataclass(frozen=True)
class LengthOptions:
    """The length estimator.

    Attributes:
        classes: one per number of tokens, from 0. hidden: widths of the three hidden layers. dropout: between them.
    """

    classes: int
    hidden: Sequence[int]
    dropout: float

    def __post_init__(self) -> None:
        check_fields(self, "backbone.length", {"classes": whole(1, 10_000), "dropout": _SHARE})
        try:
            widths = tuple(whole(1, 65_536).read(width) for width in self.hidden)
        except (TypeError, ValueError):
            widths = ()
        said = shown(self.hidden)
        require(len(widths) == 3, f"backbone.length.hidden={said}: expected three widths, like 512 256 128")
        object.__setattr__(self, "hidden", widths)  # a YAML list cannot be stored


@dataclass(frozen=True)
class SamplingOptions:
    """How motions are generated.

    Attributes:
        steps: passes of the masked transformer. guidance, residual_guidance: classifier-free scales (1 = text alone).
        temperature, residual_temperature: of the draws; 0 = the most likely code.
        thres, residual_thres: draws are from the ``ceil((1 - thres) * classes)`` most likely codes.
        residual_layers: how many residual layers are generated; None = all.
    """

    steps: int
    guidance: float
    residual_guidance: float
    temperature: float
    residual_temperature: float
    thres: float
    residual_thres: float
    residual_layers: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling", _SAMPLING)


#: the published length estimator
PUBLISHED_LENGTH = LengthOptions(classes=50, hidden=(512, 256, 128), dropout=0.2)
