"""Any encoder of the ``transformers`` library: DistilBERT token embeddings, mpnet sentence embeddings (TMR)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hmu.devices import of_module
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.hub import BATCH, FrozenTransformer, load


class TransformerTextEncoder(FrozenTransformer):
    """Frozen language model: last hidden states of all real tokens, begin and end markers included.

    ``pooled`` is their mean over real tokens, of unit length (what ``sentence-transformers`` computes for mpnet).

    Folder or name, and what is raised, as in :func:`hmu.text.hub.load`.
    """

    def __init__(self, name_or_folder: str | Path, trust_network: bool = True) -> None:
        name, classes = str(name_or_folder), ("AutoModel", "AutoTokenizer")
        model, tokenizer = load(name, trust_network, "a language model", *classes, use_safetensors=True)
        most = min(int(tokenizer.model_max_length), 512)
        super().__init__(model, tokenizer, int(model.config.hidden_size), most, "transformer")

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Texts -> tokens ``(batch, tokens, width)``, zero beyond each text, and the unit mean ``(batch, width)``."""
        device = of_module(self.model)
        ids, attention = self.tokenized(texts)
        mask = attention.bool().to(device)
        parts: list[Tensor] = [
            self.model(input_ids=i.to(device), attention_mask=m.to(device)).last_hidden_state
            for i, m in zip(ids.split(BATCH), attention.split(BATCH), strict=True)
        ]
        tokens = torch.cat(parts) * mask[..., None]
        pooled = tokens.sum(1) / mask.sum(1, keepdim=True)
        return TextCondition(tokens, mask, nn.functional.normalize(pooled, dim=-1))


def build(name_or_folder: str | Path, trust_network: bool, cache: str | Path | None) -> TextEncoder:
    """The Hydra target of ``configs/text/distilbert.yaml``: the encoder, remembering what it has encoded.

    ``cache``: as in :func:`hmu.text.clip.build`.
    """
    encoder = TransformerTextEncoder(name_or_folder, trust_network)
    return encoder if cache is None else CachedTextEncoder(encoder, cache)
