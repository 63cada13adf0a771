"""BAMM's bidirectional-autoregressive transformer (Pinyoanuntapong et al., ECCV 2024).

The sequence is one text place followed by the motion tokens; the output at a place predicts the next token. Attention
is causal, except that *condition* places (tokens known ahead of time, and always the text) are seen by everybody and
see nothing but each other. Without conditions it is an autoregressive model, with them an inpainting one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.bamm.blocks import Memory, Remembering, Stack, causal
from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.tokens.encoder import (
    InputProcess,
    OutputProcess,
    Positions,
    combine_branches,
    guidance_branches,
    initialise,
    repeat_rows,
)


class BidirectionalTransformer(nn.Module):
    """Predicts motion tokens and where the motion ends.

    Args:
        codes: size of the first codebook, ``K``. Ids beyond: END ``K``, pad ``K + 1``, and an unused ``K + 2``.
        code_dim: width of a token's embedding.
        text_width: width of the one vector that stands for the text; a zero vector is "no text".
        options: sizes, see :class:`~hmu.backbones.bamm.options.BidirectionalOptions`.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: BidirectionalOptions) -> None:
        super().__init__()
        self.codes, self.code_dim, self.text_width, self.options = codes, code_dim, text_width, options
        self.end_id, self.pad_id = codes, codes + 1
        width = options.latent_dim
        self.input_process = InputProcess(code_dim, width)
        self.position_enc = Positions(width, options.positions, options.dropout)
        self.seqTransEncoder = Stack(options)
        self.cond_emb = nn.Linear(text_width, width)
        self.output_process = OutputProcess(width, codes + 1)
        self.token_emb = nn.Embedding(codes + 3, code_dim)
        initialise(self)

    # -- pieces ------------------------------------------------------------------------------------
    def table(self) -> Tensor:
        """Every token's input ``(codes + 3, width)``; computed once for all places of a pass."""
        return self.input_process(self.token_emb.weight)

    def _placed(self, x: Tensor, start: int) -> Tensor:
        positions = self.position_enc.pe[start : start + x.shape[1], 0]
        return self.position_enc.dropout(x + positions)

    def embed_text(self, text: Tensor) -> Tensor:
        """The text place ``(rows, 1, width)`` of vectors ``(rows, text_width)``."""
        return self._placed(self.cond_emb(text)[:, None], 0)

    def embed_tokens(self, ids: Tensor, start: int, table: Tensor | None = None) -> Tensor:
        """Token places ``(batch, tokens, width)`` of ``ids`` ``(batch, tokens)``, the first at place ``start``."""
        return self._placed(F.embedding(ids, self.table() if table is None else table), start)

    def attention_mask(self, conditions: Tensor) -> Tensor:
        """True where a row may look at a column, ``(batch, 1, tokens + 1, tokens + 1)``.

        ``conditions`` ``(batch, tokens)`` is True at known tokens; the text is added as the first place.
        """
        known = F.pad(conditions, (1, 0), value=True)
        rows, columns = known[:, None, :, None], known[:, None, None, :]
        return torch.where(rows, columns, columns | causal(known.shape[1], known.device))

    # -- whole sequences ---------------------------------------------------------------------------
    def features(self, ids: Tensor, text: Tensor, conditions: Tensor | None = None) -> Tensor:
        """What enters the last linear layer, ``(rows, tokens + 1, width)``.

        Args:
            ids: ``(batch, tokens)``, special ids allowed.
            text: ``(rows, text_width)``; ``rows`` may be a multiple of the batch, whose tokens are repeated then.
            conditions: True at tokens known ahead of time ``(batch, tokens)``; None = none, purely causal.
        """
        x = torch.cat([self.embed_text(text), repeat_rows(self.embed_tokens(ids, 1), len(text))], 1)
        mask = causal(x.shape[1], x.device) if conditions is None else self.attention_mask(conditions)
        mask = mask if len(mask) == 1 else repeat_rows(mask, len(text))
        return self.output_process.features(self.seqTransEncoder(x, mask))

    def forward(self, ids: Tensor, text: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Logits ``(rows, tokens + 1, codes + 1)``: row ``t`` predicts token ``t``, the last one nothing trained.

        Arguments as for :meth:`features`.
        """
        return self.output_process.poseFinal(self.features(ids, text, conditions))

    def guided(self, ids: Tensor, text: Tensor, scale: float, conditions: Tensor | None = None) -> Tensor:
        """Guided logits ``(batch, tokens + 1, codes + 1)``, both branches in one pass (the last layer is affine)."""
        features = self.features(ids, guidance_branches(text, scale), conditions)
        return self.output_process.poseFinal(combine_branches(features, len(text), scale))

    # -- one place after the other -----------------------------------------------------------------
    def memories(self, rows: int, places: int) -> list[Memory]:
        """Empty memories for :meth:`read`."""
        return self.seqTransEncoder.memories(rows, places, self.cond_emb.weight)

    def read(self, x: Tensor, memories: list[Memory], start: int, mask: Tensor | None = None) -> Tensor:
        """Hidden states of embedded places ``x`` from ``start`` on, given what the memories hold of others."""
        return self.seqTransEncoder(x, mask, memories, start)

    # -- handles -----------------------------------------------------------------------------------
    def attention_linears(self) -> list[str]:
        """Names of all query, key, value and output projections."""
        found = ((name, part) for name, part in self.named_modules() if isinstance(part, Remembering))
        return [f"{name}.{leaf}" for name, part in found for leaf in part.names]
