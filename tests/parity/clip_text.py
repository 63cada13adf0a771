"""Parity of CLIP's text tower: a tower with stored weights and its token embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from tests.parity.checks import Check, compare, exact
from tests.parity.clip_tower import tower_from_weights

_TOLERANCE = 2e-5
_KNOWN = {"input_ids", "attention_mask", "word_emb", "token_mask", "token_pos", "heads", "eps"}


def check_clip_text(folder: Path) -> Iterator[Check]:
    """Every ``.npz`` of the folder: weights ``w/<name>``, ids and masks in, ``word_emb`` out."""
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if path.suffix != ".npz":
            yield exact(f"unknown file {path.name}", path.name, None)
            continue
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        yield from _check_file(path.stem, arrays)


def _check_file(stem: str, arrays: dict[str, np.ndarray]) -> Iterator[Check]:
    weights = {name[2:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("w/")}
    for name in sorted(set(arrays) - _KNOWN - {f"w/{key}" for key in weights}):
        yield exact(f"{stem}: unknown array {name}", name, None)
    encoder = tower_from_weights(weights, int(arrays["heads"]), float(arrays["eps"]))
    ids, mask = (torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask"))
    condition = encoder.encode_ids(ids, mask)
    yield compare(f"{stem}: word_emb", condition.tokens.numpy(), arrays["word_emb"], _TOLERANCE)
    yield exact(f"{stem}: token_mask", condition.mask.numpy(), arrays["token_mask"])
    yield exact(f"{stem}: token_pos", ids.argmax(1).numpy(), arrays["token_pos"])
    # What we do in use: crop to the longest prompt of the batch. Real tokens must not notice.
    longest = int(mask.sum(1).max())
    for row in range(len(ids)):
        n = min(int(mask[row].sum()), longest)
        cropped = encoder.encode_ids(ids[row : row + 1, :n], mask[row : row + 1, :n]).tokens[0]
        yield compare(f"{stem}: word_emb of prompt {row} alone", cropped, arrays["word_emb"][row, :n], _TOLERANCE)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"clip_text": check_clip_text}
