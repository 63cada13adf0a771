"""Captions: plain text plus the ``word/POS`` tokens that the HumanML3D evaluator reads."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """One line ``caption#word/POS word/POS ...#start#end`` of a HumanML3D text file.

    Attributes:
        text: the sentence as a person wrote it.
        tokens: ``word/POS`` pairs, lemmatised; empty where nobody tagged it (:func:`hmu.data.tagger.tagged` does then).
        start, end: time tags in seconds of the sub-clip; both 0 means the whole clip.
    """

    text: str
    tokens: tuple[str, ...] = ()
    start: float = 0.0
    end: float = 0.0

    def __str__(self) -> str:
        return f"{self.text}#{' '.join(self.tokens)}#{self.start}#{self.end}"

    @classmethod
    def parse(cls, line: str, exact_tokens: bool = False) -> Caption:
        """One line; NaN tags become 0; ``exact_tokens`` splits on every space, as published. ValueError: it is none."""
        parts = line.strip().split("#")
        if len(parts) < 4:
            raise ValueError(f"expected caption#tokens#start#end, found {len(parts)} field(s)")
        start, end = (0.0 if math.isnan(value) else value for value in (float(parts[2]), float(parts[3])))
        tokens = parts[1].split(" ") if exact_tokens else parts[1].split()
        return cls(parts[0], tuple(tokens), start, end)
