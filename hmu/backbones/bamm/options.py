"""The numbers of BAMM's own transformer and of its generation, as published; the rest are MoMask's."""

from __future__ import annotations

from dataclasses import dataclass

from hmu.backbones.options import require
from hmu.backbones.tokens.options import TransformerOptions
from hmu.checkpoints.kinds import Kind, check_fields, choice, real, whole

BLOCKS = ("official", "t2mgpt")
RANKINGS = ("confidence", "random", "tied")
_SHARE, _HEAT = real(0, 1), real(0, 1e6)
_MASKED: dict[str, Kind] = {
    "blocks": choice(BLOCKS),
    "max_tokens": whole(1, 1_000_000),
    **dict.fromkeys(("condition_chance", "condition_rate", "random_rate"), _SHARE),
}
_SAMPLING: dict[str, Kind] = {
    "ranking": choice(RANKINGS),
    **dict.fromkeys(("refine_share", "residual_thres"), _SHARE),
    **dict.fromkeys(("temperature", "residual_temperature"), _HEAT),
}


@dataclass(frozen=True)
class BidirectionalOptions(TransformerOptions):
    """The bidirectional-autoregressive transformer and what its training hides.

    Attributes:
        blocks: ``official`` (post-norm) or ``t2mgpt`` (pre-norm), the authors' option ``trans``.
        max_tokens: motion tokens of the longest clip; END needs one place more.
        condition_chance: share of training batches that show tokens ahead of time.
        condition_rate: largest share of tokens shown in such a batch, drawn uniformly from 0.
        random_rate: largest share of input tokens replaced by random ones, drawn per batch, uniformly from 0.

    Raises:
        ConfigError: for an impossible value, naming the key.
    """

    blocks: str
    max_tokens: int
    condition_chance: float
    condition_rate: float
    random_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, "backbone.masked", _MASKED)
        require(
            self.max_tokens < self.positions,
            f"backbone.masked.max_tokens={self.max_tokens}: expected 1 to {self.positions - 1} (positions - 1)",
        )


@dataclass(frozen=True)
class SamplingOptions:
    """How motions are generated: a causal pass, a pass that renews some tokens with the rest in sight, residuals.

    Attributes:
        guidance: classifier-free scale of the causal pass (1 = the text alone, 0 = no text).
        refine_guidance: scale of the second pass, whatever the first one's; None = ``guidance``.
        refine_share: share of each clip's tokens that the second pass renews; 0 = one pass only.
        ranking: which tokens are renewed: those the causal pass was least sure of (``confidence``), any (``random``),
            or what sorting equal scores happens to give (``tied``, the authors' code).
        temperature: of the base tokens; 0 = the most likely one.
        residual_guidance: scale of the residual transformer (5 in the authors' generation, 6 in their evaluation).
        residual_temperature, residual_thres, residual_layers: as MoMask's.
    """

    guidance: float
    refine_guidance: float | None
    refine_share: float
    ranking: str
    temperature: float
    residual_guidance: float
    residual_temperature: float
    residual_thres: float
    residual_layers: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "backbone.sampling", _SAMPLING)
