"""The residual transformer: the code of layer q from those of the layers before it (MoMask section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.positions import Positions
from hmu.backbones.tokens.encoder import (
    InputProcess,
    OutputProcess,
    Stack,
    combine_branches,
    guidance_branches,
    initialise,
    key_mask,
    repeat_rows,
)
from hmu.backbones.tokens.options import ResidualOptions


class ResidualTransformer(nn.Module):
    """One transformer for all residual layers; a text token and a layer token in front, without positions.

    Class ``codes`` is the padding: the authors' model may answer it inside a motion, see :meth:`logits`.

    Args:
        codes: classes without the padding. quantizers: layers of the tokenizer, 2 or more.
        code_dim, text_width: of a token's embedding and of a text vector; a zero vector is "no text".
        options: sizes; ``share_weight`` and ``doubled_head`` decide on names and form of the head.
    """

    def __init__(self, codes: int, quantizers: int, code_dim: int, text_width: int, options: ResidualOptions) -> None:
        super().__init__()
        width, tables = options.latent_dim, (codes + 1, code_dim)
        self.options, self.codes, self.quantizers, self.pad_id = options, codes, quantizers, codes
        if options.share_weight:
            self.embed_proj_shared_weight = nn.Parameter(torch.randn(quantizers - 2, *tables) * 0.02)
            self.token_embed_weight_ = nn.Parameter(torch.randn(1, *tables) * 0.02)
            self.output_proj_weight_ = nn.Parameter(torch.randn(1, *tables) * 0.02)
        else:
            self.output_proj_weight = nn.Parameter(torch.randn(quantizers - 1, *tables) * 0.02)
            self.output_proj_bias = nn.Parameter(torch.zeros(quantizers, codes + 1))
            self.token_embed_weight = nn.Parameter(torch.randn(quantizers - 1, *tables) * 0.02)
        self.input_process = InputProcess(code_dim, width)
        self.position_enc = Positions(width, options.positions, options.dropout)
        self.seqTransEncoder = Stack(options)
        self.quant_emb = nn.Linear(quantizers, width)
        self.cond_emb = nn.Linear(text_width, width)
        self.output_process = OutputProcess(width, code_dim)
        initialise(self)

    def embedding(self, layer: int) -> Tensor:
        """Table of the codes of ``layer`` (0 …) as input, ``(codes + 1, code width)``."""
        if not self.options.share_weight:
            return self.token_embed_weight[layer]
        return self.token_embed_weight_[0] if layer == 0 else self.embed_proj_shared_weight[layer - 1]

    def head(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """Weight ``(codes + 1, code width)`` and bias of the head for ``layer`` (1 …)."""
        if not self.options.share_weight:
            scale = 2 if self.options.doubled_head else 1
            return self.output_proj_weight[layer - 1] * scale, self.output_proj_bias[layer - 1]
        last = layer == self.quantizers - 1
        return self.output_proj_weight_[0] if last else self.embed_proj_shared_weight[layer - 1], None

    def history(self, ids: Tensor) -> Tensor:
        """Sum of the embeddings of known layers ``(batch, tokens, code width)``.

        ``ids``: ``(batch, tokens, layers)`` from layer 0 on; -1 where a layer is not known (yet).
        """
        total = torch.zeros((), device=ids.device)
        for layer in range(min(ids.shape[-1], self.quantizers - 1)):
            known = ids[..., layer]
            total = total + F.embedding(known.clamp_min(0), self.embedding(layer)) * (known >= 0)[..., None]
        return total

    def features(self, history: Tensor, layer: Tensor, text: Tensor, valid: Tensor | None = None) -> Tensor:
        """What enters the last linear layer, ``(rows, tokens, width)``.

        Args:
            history: of :meth:`history`.
            layer: ``(batch,)``, which layer is asked for.
            text: ``(rows, text width)``; ``rows`` may be a multiple of the batch, whose tokens are repeated then.
            valid: ``(batch, tokens)``, False at padding, which is not read; None = all valid.
        """
        rows = len(text)
        x = self.position_enc(self.input_process(history))
        place = F.embedding(layer, self.quant_emb.weight.t()) + self.quant_emb.bias
        x = repeat_rows(torch.cat([place[:, None], x], 1), rows)
        mask = key_mask(valid, 2)
        x = torch.cat([self.cond_emb(text)[:, None], x], 1)
        x = self.seqTransEncoder(x, None if mask is None else repeat_rows(mask, rows))
        return self.output_process.features(x[:, 2:])

    def logits(self, features: Tensor, layer: Tensor, padding: bool = False) -> Tensor:
        """Logits ``(batch, tokens, codes)`` of ``features``; with ``padding`` one class more.

        ``layer`` ``(batch,)``, or one for all ``(1,)``.
        """
        outputs, classes = self.output_process.poseFinal(features), self.codes + int(padding)
        layers = layer.unique().tolist()
        if len(layers) == 1:
            weight, bias = self.head(layers[0])
            return F.linear(outputs, weight[:classes], None if bias is None else bias[:classes])
        result = outputs.new_empty(*outputs.shape[:2], classes)
        for number in layers:
            weight, bias = self.head(number)
            rows = layer == number
            result[rows] = F.linear(outputs[rows], weight[:classes], None if bias is None else bias[:classes])
        return result

    def forward(
        self, history: Tensor, layer: Tensor, text: Tensor, valid: Tensor | None = None, padding: bool = False
    ) -> Tensor:
        """Logits ``(batch, tokens, classes)``; arguments of :meth:`features` (a text per clip) and :meth:`logits`."""
        return self.logits(self.features(history, layer, text, valid), layer, padding)

    def guided(
        self,
        history: Tensor,
        layer: int,
        text: Tensor,
        scale: float,
        valid: Tensor | None = None,
        padding: bool = False,
    ) -> Tensor:
        """Guided logits of one layer ``(batch, tokens, classes)``: both branches in one pass.

        They are combined before the last layers, which are affine. Scale 1 is the text alone, 0 no text.
        """
        layers = torch.full((len(history),), layer, device=history.device)
        features = self.features(history, layers, guidance_branches(text, scale), valid)
        return self.logits(combine_branches(features, len(text), scale), layers[:1], padding)
