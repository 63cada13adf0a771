"""Parity of CLIP's text tower: a tower with stored weights and its token embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import transformers
from torch import Tensor

from hmu.errors import CheckpointError
from hmu.text.clip import ClipTextEncoder
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, compare, inside
from tests.parity.kinds import compares

TOLERANCE = 2e-5
HEAD_WIDTH = 64  # of every published tower


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


ROWS: Table = {
    "word_emb": lambda case, encoder: encoder.encode_ids(case["input_ids"], case["attention_mask"]).tokens,
    "token_mask": lambda case, encoder: encoder.encode_ids(case["input_ids"], case["attention_mask"]).mask,
    "token_pos": lambda case, encoder: case["input_ids"].argmax(1),
}


@compares("clip_text", files=())
def clip_text(folder: Case) -> Checks:
    """Every ``.npz`` of the folder: weights ``w/<name>``, ids and masks in, ``word_emb`` out."""
    for case in Case.each(folder.folder):
        weights = {name: case[f"w/{name}"] for name in case.under("w/").names()}
        heads = case.number("heads", max(1, (case.last("word_emb") or HEAD_WIDTH) // HEAD_WIDTH))
        encoder = tower_from_weights(weights, int(heads), case.number("eps", 1e-5))
        yield from inside(f"{case.part}:", case.rows(encoder, ROWS, TOLERANCE))
        # What we do in use: crop to the longest prompt of the batch. Real tokens must not notice.
        ids, mask = case["input_ids"], case["attention_mask"]
        for row, count in enumerate(mask.sum(1).tolist()):
            cropped = encoder.encode_ids(ids[row : row + 1, :count], mask[row : row + 1, :count]).tokens[0]
            expected = case.raw("word_emb")[row, :count]
            yield compare(f"{case.part}: word_emb of prompt {row} alone", cropped, expected, TOLERANCE)
        yield from case.unread()
