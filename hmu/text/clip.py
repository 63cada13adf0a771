"""CLIP's text tower (Radford et al. 2021) through ``transformers``, as SALAD and MoMask use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.devices import of_module
from hmu.errors import CheckpointError, ConfigError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.hub import BATCH, FrozenTransformer, load

OUTPUTS = ("hidden", "pooled")

# Names of the authors' option files -> names on the hub.
HUB_NAMES = {"ViT-B/32": "openai/clip-vit-base-patch32", "ViT-L/14": "openai/clip-vit-large-patch14"}


class ClipTextEncoder(FrozenTransformer):
    """Frozen CLIP text tower; the vision tower is never built.

    Args:
        name_or_folder: a folder in the Hugging Face layout, a name on the hub, or ``ViT-B/32`` / ``ViT-L/14``.
        output: ``"hidden"``: token embeddings after the final LayerNorm, without projection and normalisation
            (SALAD), ``pooled`` being the projected end token; ``"pooled"``: that projected feature alone, as a single
            token (MoMask, HMU).
        model: a ``CLIPTextModelWithProjection`` built elsewhere, in place of the named one; without a tokeniser, only
            :meth:`encode_ids` works.

    The padding mask is not given to CLIP (its causal mask keeps real tokens independent of what follows) but returned.
    Prompts are padded to the longest of a call, at most 77 tokens; longer ones are cut. Raises as
    :func:`hmu.text.hub.load` does.
    """

    def __init__(
        self,
        name_or_folder: str | Path,
        output: str = "hidden",
        trust_network: bool = True,
        model: nn.Module | None = None,
    ) -> None:
        if output not in OUTPUTS:
            raise ConfigError(f"text.output={output} is unknown: use one of {', '.join(OUTPUTS)}")
        tower, tokenizer = (model, None) if model is not None else _tower(str(name_or_folder), trust_network)
        config: Any = tower.config
        width = int(config.hidden_size if output == "hidden" else config.projection_dim)
        super().__init__(tower, tokenizer, width, int(config.max_position_embeddings), "clip", output)
        self.output = output

    def encode(self, texts: Sequence[str]) -> TextCondition:
        """Prompts -> ``(batch, tokens, width)`` with begin and end tokens; ``""`` has two tokens."""
        return self.encode_ids(*self.tokenized(texts))

    @torch.no_grad()
    def encode_ids(self, input_ids: Tensor, attention_mask: Tensor) -> TextCondition:
        """Token ids ``(batch, tokens)`` and their mask -> condition; the mask is returned, not used by CLIP."""
        device = of_module(self.model)
        parts = [self.model(input_ids=ids.to(device)) for ids in input_ids.split(BATCH)]
        pooled = torch.cat([part.text_embeds for part in parts])
        if self.output == "pooled":
            mask = torch.ones(len(pooled), 1, dtype=torch.bool, device=device)
            return TextCondition(pooled[:, None], mask, pooled)
        hidden = torch.cat([part.last_hidden_state for part in parts])
        return TextCondition(hidden, attention_mask.to(device).bool(), pooled)


def build(name_or_folder: str | Path, output: str, trust_network: bool, cache: str | Path | None) -> TextEncoder:
    """The Hydra target of ``configs/text/clip.yaml``: a :class:`ClipTextEncoder` that remembers what it has encoded.

    ``cache``: folder where embeddings are kept between runs, by encoder and prompt; None encodes anew in every run.
    """
    encoder = ClipTextEncoder(name_or_folder, output, trust_network)
    return encoder if cache is None else CachedTextEncoder(encoder, cache)


def _tower(name: str, network: bool) -> tuple[nn.Module, Any]:
    source = name if Path(name).is_dir() else HUB_NAMES.get(name, name)
    classes = ("CLIPTextModelWithProjection", "CLIPTokenizerFast")
    (model, info), tokenizer = load(source, network, "CLIP's text tower", *classes, output_loading_info=True)
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{source}: CLIP's text tower lacks '{missing[0]}' ({len(missing)} tensors missing); get it again"
        )
    return model, tokenizer
