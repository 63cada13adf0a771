"""CLIP text towers from bare weights, as the golden vectors store them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import transformers
from torch import Tensor

from hmu.errors import CheckpointError
from hmu.text.clip import ClipTextEncoder


def tower_from_weights(weights: Mapping[str, Tensor], heads: int, eps: float = 1e-5) -> ClipTextEncoder:
    """A text tower from bare weights (names with or without ``text_model.``); sizes are read from their shapes.

    Without a ``text_projection.weight`` the projection is the identity. No tokenizer: use
    :meth:`ClipTextEncoder.encode_ids`.
    """
    state = {key.removeprefix("text_model."): value for key, value in weights.items()}
    vocabulary, width = state["embeddings.token_embedding.weight"].shape
    projection = state.pop("text_projection.weight", torch.eye(width))
    layers = {key.split(".")[2] for key in state if key.startswith("encoder.layers.")}
    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["encoder.layers.0.mlp.fc1.weight"].shape[0],
        projection_dim=projection.shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=heads,
        max_position_embeddings=state["embeddings.position_embedding.weight"].shape[0],
        layer_norm_eps=eps,
        hidden_act="quick_gelu",
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    model = transformers.CLIPTextModelWithProjection(config)
    full = {f"text_model.{key}": value for key, value in state.items()} | {"text_projection.weight": projection}
    result = model.load_state_dict(full, strict=False)
    absent = [key for key in result.missing_keys if not key.endswith("position_ids")]
    if absent or result.unexpected_keys:
        names = ", ".join([*absent, *result.unexpected_keys][:3])
        raise CheckpointError(f"these weights are not a CLIP text tower: missing or unknown {names}")
    return ClipTextEncoder("", model=model)
