"""Sentence vectors by content words."""

from __future__ import annotations

import pytest
import torch

from hmu.english import stem
from hmu.text.words_bag import BagOfWords


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("kick", "kicks", "kicked", "kicking"), "kick"),
        (("wave", "waves", "waved", "waving"), "wav"),
        (("run", "runs", "running"), "run"),
        (("sit", "sits", "sitting"), "sit"),
        (("bus",), "bus"),
    ],
)
def test_inflections_share_a_stem(words: tuple[str, ...], wanted: str) -> None:
    assert {stem(word) for word in words} == {wanted}


def test_equal_content_is_equal_and_other_content_is_far() -> None:
    texts = ["A man kicks to the left.", "the person is kicking left", "someone sits down", "a person"]
    vectors = BagOfWords().encode(texts).pooled
    assert vectors is not None
    cosines = vectors @ vectors.T
    assert torch.allclose(cosines.diagonal(), torch.ones(4))
    assert cosines[0, 1] == pytest.approx(1.0)
    assert cosines[0, 2] < 0.2
    assert torch.equal(BagOfWords().encode(texts[::-1]).pooled, vectors.flip(0))
