"""BAMM's bidirectional-autoregressive transformer (Pinyoanuntapong et al., ECCV 2024).

The sequence is one text place followed by the motion tokens; the output at a place predicts the next token. Attention
is causal, except that *condition* places (tokens known ahead of time, and always the text) are seen by everybody and
see nothing but each other. Without conditions it is an autoregressive model, with them an inpainting one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.tokens.encoder import Memory, SelfAttention, Stack, repeat_rows
from hmu.backbones.tokens.transformer import TokenTransformer


class GptAttention(SelfAttention):
    """Under the names of the ``t2mgpt`` checkpoints, whose projections are not fused."""

    names = ("query", "key", "value", "proj")
    fused = False


class PreNormBlock(nn.Module):
    """Attention and feed-forward, each on a normalised input; nothing is normalised at the end (T2M-GPT)."""

    def __init__(self, sizes: BidirectionalOptions) -> None:
        super().__init__()
        width, ff = sizes.latent_dim, sizes.ff_size
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = GptAttention(width, sizes.n_heads, sizes.dropout)
        self.mlp = nn.Sequential(nn.Linear(width, ff), nn.GELU(), nn.Linear(ff, width), nn.Dropout(sizes.dropout))
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Memory | None = None, start: int = 0) -> Tensor:
        """Same shape as ``x`` ``(rows, places, width)``; arguments of :meth:`SelfAttention.forward`."""
        x = x + self.dropout(self.attn(self.ln1(x), mask, memory, start))
        return x + self.mlp(self.ln2(x))


def causal(places: int, device: torch.device) -> Tensor:
    """True where a row may look at a column: itself and what precedes it; ``(1, 1, places, places)``."""
    return torch.ones(places, places, dtype=torch.bool, device=device).tril()[None, None]


class BidirectionalTransformer(TokenTransformer):
    """Predicts motion tokens and where the motion ends; row ``t`` of its logits predicts token ``t``, the last nothing.

    Args:
        codes: size of the first codebook, ``K``. Ids beyond: END ``K``, pad ``K + 1``, and an unused ``K + 2``.
        code_dim, text_width, options: see :class:`~hmu.backbones.tokens.transformer.TokenTransformer`.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: BidirectionalOptions) -> None:
        post = options.blocks == "official"
        stack = Stack(options) if post else Stack(options, PreNormBlock, "blocks")
        super().__init__(codes, codes + 1, code_dim, text_width, options, stack)
        self.options, self.end_id, self.pad_id = options, codes, codes + 1

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

    def features(  # type: ignore[override]
        self, ids: Tensor, text: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
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

    def memories(self, rows: int, places: int) -> list[Memory]:
        """Empty memories for :meth:`read`: of ``rows`` sequences of at most ``places``."""
        heads, width = self.options.n_heads, self.options.latent_dim // self.options.n_heads
        return [Memory(rows, heads, places, width, self.cond_emb.weight) for _ in range(self.options.n_layers)]

    def read(self, x: Tensor, memories: list[Memory], start: int, mask: Tensor | None = None) -> Tensor:
        """Hidden states of embedded places ``x`` ``(rows, places, width)`` from ``start`` on.

        The places before are those that ``memories`` hold; ``mask`` as in :meth:`SelfAttention.forward`.
        """
        return self.seqTransEncoder(x, mask, memories, start)
