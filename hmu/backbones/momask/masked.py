"""The masked transformer: which base code belongs at the masked positions (MoMask section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.tokens.encoder import (
    InputProcess,
    OutputProcess,
    Positions,
    PostNormEncoder,
    combine_branches,
    guidance_branches,
    initialise,
    key_mask,
    repeat_rows,
)
from hmu.backbones.tokens.options import TransformerOptions


class MaskedTransformer(nn.Module):
    """Bidirectional transformer over base codes; the text is one token in front, without a position.

    Args:
        codes: classes; id ``codes`` is the mask, ``codes + 1`` the padding.
        code_dim: width of the token embeddings.
        text_width: width of a text vector; a zero vector is "no text".
        options: sizes.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: TransformerOptions) -> None:
        super().__init__()
        width = options.latent_dim
        self.options, self.codes, self.mask_id, self.pad_id = options, codes, codes, codes + 1
        self.input_process = InputProcess(code_dim, width)
        self.position_enc = Positions(width, options.positions, options.dropout)
        self.seqTransEncoder = PostNormEncoder(options)
        self.cond_emb = nn.Linear(text_width, width)
        self.output_process = OutputProcess(width, codes)
        self.token_emb = nn.Embedding(codes + 2, code_dim)
        initialise(self)

    def table(self) -> Tensor:
        """Every token's input ``(codes + 2, width)``; computed once for all sampling steps."""
        return self.input_process(self.token_emb.weight)

    def features(self, ids: Tensor, text: Tensor, valid: Tensor | None = None, table: Tensor | None = None) -> Tensor:
        """What enters the last linear layer, ``(rows, tokens, width)``.

        Args:
            ids: ``(batch, tokens)``, with mask and padding ids.
            text: ``(rows, text width)``; ``rows`` may be a multiple of the batch, whose tokens are repeated then.
            valid: ``(batch, tokens)``, False at padding, which is not read; None = all valid.
            table: of :meth:`table`.
        """
        x = self.position_enc(F.embedding(ids, self.table() if table is None else table))
        mask = key_mask(valid, 1)
        x, mask = repeat_rows(x, len(text)), None if mask is None else repeat_rows(mask, len(text))
        x = torch.cat([self.cond_emb(text)[:, None], x], 1)
        return self.output_process.features(self.seqTransEncoder(x, mask)[:, 1:])

    def forward(self, ids: Tensor, text: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits ``(rows, tokens, codes)``; arguments as for :meth:`features`."""
        return self.output_process.poseFinal(self.features(ids, text, valid))

    def guided(
        self, ids: Tensor, text: Tensor, scale: float, valid: Tensor | None = None, table: Tensor | None = None
    ) -> Tensor:
        """Guided logits ``(batch, tokens, codes)``: both branches in one pass, combined before the last layer.

        That layer is affine, so combining before or after it is the same. Scale 1 is the text alone, 0 no text.
        """
        features = self.features(ids, guidance_branches(text, scale), valid, table)
        return self.output_process.poseFinal(combine_branches(features, len(text), scale))
