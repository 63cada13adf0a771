"""Captions: plain text plus the ``word/POS`` tokens that the HumanML3D evaluator reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """One line of a HumanML3D text file.

    Attributes:
        text: the sentence as a person wrote it.
        tokens: ``word/POS`` pairs, lemmatised, as in the second field of the line; empty when the caption is a free
            prompt that nobody tagged (``hmu.data.tagger`` fills it in then, with a rule tagger).
        start, end: time tags in seconds of the sub-clip; both 0 means the whole clip.
    """

    text: str
    tokens: tuple[str, ...] = ()
    start: float = 0.0
    end: float = 0.0
