"""Parity of CLIP's text tower: a tower with stored weights and its token embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.parity.case import Case, Table, read_arrays, strange
from tests.parity.checks import Check, compare
from tests.parity.clip_tower import tower_from_weights

TOLERANCE = 2e-5
HEAD_WIDTH = 64  # of every published tower

ROWS: Table = {
    "word_emb": lambda case, encoder: encoder.encode_ids(case["input_ids"], case["attention_mask"]).tokens,
    "token_mask": lambda case, encoder: encoder.encode_ids(case["input_ids"], case["attention_mask"]).mask,
    "token_pos": lambda case, encoder: case["input_ids"].argmax(1),
}


def check_clip_text(folder: Path) -> Iterator[Check]:
    """Every ``.npz`` of the folder: weights ``w/<name>``, ids and masks in, ``word_emb`` out."""
    yield from strange(folder, ".npz", ".json")
    for path in sorted(folder.glob("*.npz")):
        case = Case(folder, read_arrays(path))
        weights = {name: case[f"w/{name}"] for name in case.under("w/").names()}
        width = case.last("word_emb") or HEAD_WIDTH
        encoder = tower_from_weights(
            weights, int(case.number("heads", max(1, width // HEAD_WIDTH))), case.number("eps", 1e-5)
        )
        yield from (check.inside(f"{path.stem}:") for check in case.rows(encoder, ROWS, TOLERANCE))
        # What we do in use: crop to the longest prompt of the batch. Real tokens must not notice.
        ids, mask = case["input_ids"], case["attention_mask"]
        for row, count in enumerate(mask.sum(1).tolist()):
            cropped = encoder.encode_ids(ids[row : row + 1, :count], mask[row : row + 1, :count]).tokens[0]
            expected = case.raw("word_emb")[row, :count]
            yield compare(f"{path.stem}: word_emb of prompt {row} alone", cropped, expected, TOLERANCE)
        yield from case.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"clip_text": check_clip_text}
