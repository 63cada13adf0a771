"""The numbers of BAMM's own transformer and of its generation; the rest are MoMask's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from hmu.backbones.options import require
from hmu.backbones.tokens.options import TokenSampling, TransformerOptions


@dataclass(frozen=True, kw_only=True)
class BidirectionalOptions(TransformerOptions):
    """The bidirectional-autoregressive transformer and what its training hides.

    Attributes:
        blocks: ``official`` (post-norm) or ``t2mgpt`` (pre-norm), the authors' option ``trans``.
        max_tokens: motion tokens of the longest clip; END needs one place more.
        condition_chance: share of training batches that show tokens ahead of time.
        condition_rate: largest share of tokens shown in such a batch, drawn uniformly from 0.
        random_rate: largest share of input tokens replaced by random ones, drawn per batch, uniformly from 0.
    """

    blocks: Literal["official", "t2mgpt"]
    max_tokens: Annotated[int, ">= 1, <= 1000000"]
    condition_chance: Annotated[float, ">= 0, <= 1"]
    condition_rate: Annotated[float, ">= 0, <= 1"]
    random_rate: Annotated[float, ">= 0, <= 1"]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.max_tokens < self.positions,
            f"backbone.masked.max_tokens={self.max_tokens}: expected 1 to {self.positions - 1} (positions - 1)",
        )


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(TokenSampling):
    """How motions are generated: a causal pass, a pass that renews some tokens with the rest in sight, residuals.

    Attributes:
        guidance: classifier-free scale of the causal pass.
        refine_guidance: scale of the second pass, whatever the first one's; None = ``guidance``.
        refine_share: share of each clip's tokens that the second pass renews; 0 = one pass only.
        ranking: which tokens are renewed: those the causal pass was least sure of (``confidence``), any (``random``),
            or what sorting equal scores happens to give (``tied``, the authors' code).
        residual_guidance: scale of the residual transformer (5 in the authors' generation, 6 in their evaluation).
    """

    refine_guidance: float | None
    refine_share: Annotated[float, ">= 0, <= 1"]
    ranking: Literal["confidence", "random", "tied"]
