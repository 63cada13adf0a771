"""BAMM's bidirectional-autoregressive transformer (Pinyoanuntapong et al., ECCV 2024).

The sequence is one text place followed by the motion tokens; the output at a place predicts the next token. Attention
is causal, except that *condition* places (tokens known ahead of time, and always the text) are seen by everybody and
see nothing but each other. Without conditions it is an autoregressive model, with them an inpainting one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.bamm.blocks import Attention, Memory, PostNormBlock, Stack, causal
from hmu.backbones.bamm.options import BidirectionalOptions


class InputProcess(nn.Module):
    """Codes of width ``code_dim`` to the transformer's width."""

    def __init__(self, code_dim: int, width: int) -> None:
        super().__init__()
        self.poseEmbedding = nn.Linear(code_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., code_dim)`` to ``(..., width)``."""
        return self.poseEmbedding(x)


class Positions(nn.Module):
    """Sinusoids, sine at even and cosine at odd columns (Vaswani et al. 2017); stored with the checkpoint."""

    pe: Tensor

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        angle = torch.arange(places)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(places, 1, width)
        table[:, 0, 0::2], table[:, 0, 1::2] = angle.sin(), angle.cos()[:, : width // 2]
        self.register_buffer("pe", table)

    def forward(self, start: int, places: int) -> Tensor:
        """Rows ``start … start + places`` as ``(places, width)``."""
        return self.pe[start : start + places, 0]


class OutputProcess(nn.Module):
    """Linear, GELU, LayerNorm, linear to the classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.poseFinal = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to logits ``(..., classes)``."""
        return self.poseFinal(self.LayerNorm(F.gelu(self.dense(x))))


class BidirectionalTransformer(nn.Module):
    """Predicts motion tokens and where the motion ends.

    Args:
        codes: size of the first codebook, ``K``. Ids beyond: END ``K``, pad ``K + 1``, and an unused ``K + 2``.
        code_dim: width of a token's embedding.
        text_width: width of the one vector that stands for the text.
        options: sizes, see :class:`~hmu.backbones.bamm.options.BidirectionalOptions`.
    """

    def __init__(self, codes: int, code_dim: int, text_width: int, options: BidirectionalOptions) -> None:
        super().__init__()
        self.codes, self.code_dim, self.text_width, self.options = codes, code_dim, text_width, options
        self.end_id, self.pad_id = codes, codes + 1
        width = options.latent_dim
        self.input_process = InputProcess(code_dim, width)
        self.position_enc = Positions(width, options.positions)
        self.seqTransEncoder = Stack(
            options.blocks, options.n_layers, width, options.n_heads, options.ff_size, options.dropout
        )
        self.cond_emb = nn.Linear(text_width, width)
        self.output_process = OutputProcess(width, codes + 1)
        self.token_emb = nn.Embedding(codes + 3, code_dim)
        self.drop = nn.Dropout(options.dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights of deviation 0.02, no biases; post-norm attention starts Glorot-uniform like torch's own."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for block in self.seqTransEncoder.members:
            if isinstance(block, PostNormBlock):
                for layer in (block.self_attn.query, block.self_attn.key, block.self_attn.value):
                    nn.init.xavier_uniform_(layer.weight)

    # -- pieces ------------------------------------------------------------------------------------
    def embed_text(self, text: Tensor) -> Tensor:
        """The text place ``(batch, 1, width)`` of vectors ``(batch, text_width)``; zeros are the empty prompt."""
        return self.drop(self.cond_emb(text)[:, None] + self.position_enc(0, 1))

    def embed_tokens(self, ids: Tensor, start: int) -> Tensor:
        """Token places ``(batch, tokens, width)`` of ``ids`` ``(batch, tokens)``, the first at place ``start``."""
        embedded = self.input_process(self.token_emb(ids))
        return self.drop(embedded + self.position_enc(start, ids.shape[1]))

    def attention_mask(self, conditions: Tensor) -> Tensor:
        """True where a row may look at a column, ``(batch, 1, tokens + 1, tokens + 1)``.

        ``conditions`` ``(batch, tokens)`` is True at known tokens; the text is added as the first place.
        """
        known = F.pad(conditions, (1, 0), value=True)
        rows, columns = known[:, None, :, None], known[:, None, None, :]
        return torch.where(rows, columns, columns | causal(known.shape[1], known.device))

    # -- whole sequences ---------------------------------------------------------------------------
    def forward(self, ids: Tensor, text: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Logits ``(batch, tokens + 1, codes + 1)``: row ``t`` predicts token ``t``, the last one nothing trained.

        Args:
            ids: ``(batch, tokens)``, special ids allowed.
            text: ``(batch, text_width)``.
            conditions: True at tokens known ahead of time ``(batch, tokens)``; None = none, purely causal.
        """
        x = torch.cat([self.embed_text(text), self.embed_tokens(ids, 1)], 1)
        attend = causal(x.shape[1], x.device) if conditions is None else self.attention_mask(conditions)
        return self.output_process(self.seqTransEncoder(x, attend))

    # -- one place after the other -----------------------------------------------------------------
    def memories(self, rows: int, places: int) -> list[Memory]:
        """Empty memories for :meth:`read`."""
        return self.seqTransEncoder.memories(rows, places, self.cond_emb.weight)

    def read(self, x: Tensor, memories: list[Memory], start: int, attend: Tensor | None = None) -> Tensor:
        """Hidden states of embedded places ``x`` from ``start`` on, given what the memories hold of others."""
        return self.seqTransEncoder(x, attend, memories, start)

    # -- handles -----------------------------------------------------------------------------------
    def attention_linears(self) -> list[str]:
        """Names of all query, key, value and output projections."""
        names = [name for name, module in self.named_modules() if isinstance(module, Attention)]
        return [f"{name}.{leaf}" for name in names for leaf in ("query", "key", "value", "proj")]
