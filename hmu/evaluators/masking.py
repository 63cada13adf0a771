"""Captions without the words of a concept, in the published definition and in ours (for MM-Safe)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import ConfigError

CENSORED = "***"
UNKNOWN = "unk/OTHER"


def check_definition(definition: str) -> str:
    """``definition``, if MM-Safe has it; else ConfigError."""
    if definition not in ("clean", "hmu"):
        raise ConfigError(f"MM-Safe has the definitions 'clean' and 'hmu', not '{definition}'")
    return definition


def mask_substrings(framed: Sequence[str], terms: Sequence[str]) -> list[str]:
    """The published masking of one framed token list (``sos`` ... ``unk``), its traps included.

    All terms are replaced by ``***`` wherever they occur in the ``_``-joined tokens, ignoring case, inside words and
    tags too (``white -> w***e`` for "hit"); an empty list of terms mangles every token. Source: HMU
    ``eval_t2m_unlearn`` (as measured).
    """
    pattern = re.compile("|".join(re.escape(term) for term in terms), re.IGNORECASE)
    return pattern.sub(CENSORED, "_".join(framed)).split("_")


def mask_caption(caption: Caption, concept: Concept) -> tuple[Caption, bool]:
    """``caption`` with whole words that name ``concept`` removed: from the text, and as ``unk/OTHER`` among the tokens.

    Returns the masked caption and whether anything changed. Exceptions and inflections are the concept's own.
    """
    words = [token.rpartition("/")[0] or token for token in caption.tokens]
    tokens, text = list(caption.tokens), concept.mask(caption.text)
    starts = [0, *itertools.accumulate(len(word) + 1 for word in words)][: len(words)]
    for match in concept.find(" ".join(words)):
        for i, (start, word) in enumerate(zip(starts, words, strict=True)):
            if start < match.end() and match.start() < start + len(word):
                tokens[i] = UNKNOWN
    changed = bool(concept.find(caption.text)) or tokens != list(caption.tokens)
    return (replace(caption, text=text, tokens=tuple(tokens)), True) if changed else (caption, False)
