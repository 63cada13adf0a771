"""The masked transformer: which base code belongs at the masked positions (MoMask section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.tokens.encoder import Stack, key_mask, repeat_rows
from hmu.backbones.tokens.options import TransformerOptions
from hmu.backbones.tokens.transformer import TokenTransformer


class MaskedTransformer(TokenTransformer):
    """Bidirectional transformer over base codes; the text has no position.

    Args:
        codes: classes; id ``codes`` is the mask, ``codes + 1`` the padding.
        code_dim, text_width, options: see :class:`~hmu.backbones.tokens.transformer.TokenTransformer`.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: TransformerOptions) -> None:
        super().__init__(codes, codes, code_dim, text_width, options, Stack(options))
        self.options, self.mask_id, self.pad_id = options, codes, codes + 1

    def features(  # type: ignore[override]
        self, ids: Tensor, text: Tensor, valid: Tensor | None = None, table: Tensor | None = None
    ) -> Tensor:
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
