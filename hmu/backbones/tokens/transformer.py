"""What the transformers over base tokens share; MoMask's and BAMM's differ in what a place may see."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from hmu.backbones.positions import Positions
from hmu.backbones.tokens.encoder import (
    InputProcess,
    OutputProcess,
    Stack,
    combine_branches,
    guidance_branches,
    initialise,
)
from hmu.backbones.tokens.options import TransformerOptions
from hmu.contract import Contract


class TokenTransformer(Contract, nn.Module):
    """A transformer over base tokens with the text as one place in front. A subclass has :meth:`features`.

    Args:
        codes: size of the first codebook; ids from there on are special.
        classes: of the output; there are two embeddings more.
        code_dim, text_width: of a token's embedding and of a text vector; a zero vector is "no text".
        options: sizes. stack: the blocks.
    """

    def __init__(
        self, codes: int, classes: int, code_dim: int, text_width: int, options: TransformerOptions, stack: Stack
    ) -> None:
        super().__init__()
        width = options.latent_dim
        self.codes, self.text_width = codes, text_width
        self.input_process = InputProcess(code_dim, width)
        self.position_enc = Positions(width, options.positions, options.dropout)
        self.seqTransEncoder = stack
        self.cond_emb = nn.Linear(text_width, width)
        self.output_process = OutputProcess(width, classes)
        self.token_emb = nn.Embedding(classes + 2, code_dim)
        initialise(self)

    def table(self) -> Tensor:
        """Every token's input ``(classes + 2, width)``; computed once for all sampling steps."""
        return self.input_process(self.token_emb.weight)

    @abstractmethod
    def features(self, ids: Tensor, text: Tensor, *visible: Any) -> Tensor:
        """What enters the last linear layer ``(rows, places, width)``, of ids ``(batch, tokens)``.

        ``text`` ``(rows, text width)``: ``rows`` may be a multiple of the batch, whose tokens are repeated then.
        """

    def forward(self, ids: Tensor, text: Tensor, *visible: Any) -> Tensor:
        """Logits ``(rows, places, classes)``; arguments as for :meth:`features`."""
        return self.output_process.poseFinal(self.features(ids, text, *visible))

    def guided(self, ids: Tensor, text: Tensor, scale: float, *visible: Any) -> Tensor:
        """Guided logits ``(batch, places, classes)``: both branches in one pass, combined before the last layer.

        That layer is affine, so combining before or after it is the same. Scale 1 is the text alone, 0 no text.
        ``text`` ``(batch, text width)``; ``visible`` as for :meth:`features`.
        """
        features = self.features(ids, guidance_branches(text, scale), *visible)
        return self.output_process.poseFinal(combine_branches(features, len(text), scale))
