"""Any encoder of the ``transformers`` library: DistilBERT token embeddings, mpnet sentence embeddings (TMR)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.errors import CheckpointError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.clip import _hub_answers, _quiet, _tokenizer_rules, _transformers
from hmu.text.folders import check_language_model

_BATCH = 256


class TransformerTextEncoder(TextEncoder):
    """Frozen language model: last hidden states of all real tokens, begin and end markers included.

    ``pooled`` is their mean over real tokens, of unit length (what ``sentence-transformers`` computes for mpnet).

    Args:
        name_or_folder: a folder in the Hugging Face layout, or a name on the hub.
        trust_network: whether the hub may be asked when the files are not in its local cache.

    Raises:
        MissingExtra: ``transformers`` is not installed.
        CheckpointError: no such folder or name, incomplete files, or no network.
    """

    def __init__(self, name_or_folder: str | Path, trust_network: bool = True) -> None:
        super().__init__()
        self.name = str(name_or_folder)
        self.model, self.tokenizer = _load(self.name, trust_network)
        self.model.eval().requires_grad_(False)
        self.width = int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.max_tokens = min(int(self.tokenizer.model_max_length), 512)
        self._fingerprint: str | None = None

    def train(self, mode: bool = True) -> TransformerTextEncoder:
        """Stays in eval mode: the model is frozen."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and the tokeniser. Computed once: the weights are frozen."""
        if self._fingerprint is None:
            digest = hashlib.sha256(f"{self.max_tokens}|{_tokenizer_rules(self.tokenizer)}".encode())
            for name, value in sorted(self.model.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._fingerprint = f"transformer-{digest.hexdigest()[:32]}"
        return self._fingerprint

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Texts -> tokens ``(batch, tokens, width)``, zero beyond each text, and the unit mean ``(batch, width)``."""
        device = next(self.model.parameters()).device
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        mask = batch["attention_mask"].bool().to(device)
        parts: list[Tensor] = [
            self.model(input_ids=ids.to(device), attention_mask=m.to(device)).last_hidden_state
            for ids, m in zip(batch["input_ids"].split(_BATCH), batch["attention_mask"].split(_BATCH), strict=True)
        ]
        tokens = torch.cat(parts) * mask[..., None]
        pooled = tokens.sum(1) / mask.sum(1, keepdim=True)
        return TextCondition(tokens, mask, nn.functional.normalize(pooled, dim=-1))


def build(name_or_folder: str | Path, trust_network: bool, cache: str | Path | None) -> TextEncoder:
    """The Hydra target of ``configs/text/distilbert.yaml``: the encoder, remembering what it has encoded.

    Args:
        name_or_folder, trust_network: of :class:`TransformerTextEncoder`.
        cache: folder where embeddings are kept between runs, by encoder and text; None encodes anew in every run.
    """
    encoder = TransformerTextEncoder(name_or_folder, trust_network)
    return encoder if cache is None else CachedTextEncoder(encoder, cache)


def _load(name: str, network: bool) -> tuple[nn.Module, Any]:
    transformers = _transformers()
    local = Path(name).is_dir()
    if not local and (name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1):
        raise CheckpointError(
            f"{name}: no such folder, expected a language model in the Hugging Face layout (config.json, weights, "
            "tokenizer files)"
        )
    if local:
        check_language_model(Path(name))
    asked = [True] if local or not network or not _hub_answers() else [True, False]
    for local_only in asked:
        try:
            with _quiet(transformers):
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    name, local_files_only=local_only, trust_remote_code=False
                )
                model = transformers.AutoModel.from_pretrained(
                    name, local_files_only=local_only, use_safetensors=True, trust_remote_code=False
                )
                return model, tokenizer
        except Exception as error:  # transformers raises many kinds for missing files, names and networks
            fault = error
    remedy = "give a folder with config.json, model.safetensors and the tokenizer files"
    raise CheckpointError(f"{name}: the language model cannot be loaded; {remedy}") from fault
