"""Text embeddings that the authors computed beforehand, read from their annotation folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmu.checkpoints.arrays import load_array
from hmu.documents import read_json
from hmu.errors import DataError
from hmu.text.precomputed import PrecomputedTextEncoder

_LIMIT = 64 << 30  # bytes; HumanML3D's token embeddings are several GB


def token_table(folder: str | Path, model: str) -> PrecomputedTextEncoder:
    """Token embeddings of exactly the stored texts, by the language ``model``; any other text is an error.

    ``folder``: ``datasets/annotations/<data>``, with ``token_embeddings/<model>{.npy,_slice.npy,_index.json}``.
    """
    stem = Path(folder) / "token_embeddings" / model
    table, slices = torch.from_numpy(stored_array(f"{stem}.npy")), stored_array(f"{stem}_slice.npy")
    index = stored_index(f"{stem}_index.json")
    return PrecomputedTextEncoder({text: table[slice(*map(int, slices[row]))] for text, row in index.items()})


def stored_array(path: str) -> np.ndarray:
    """Rows of stored embeddings ``(n, width)``. Raises :class:`DataError` where there are none."""
    try:
        return load_array(path, limit=_LIMIT)
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing, expected TMR's stored text embeddings") from error


def stored_index(path: str) -> dict[str, Any]:
    """Text -> row. Raises :class:`DataError` where it is missing or broken."""
    try:
        return dict(read_json(path))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: broken, expected the index of TMR's stored text embeddings") from error
