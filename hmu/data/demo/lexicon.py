"""Every word that the grammar can write, with lemma and part of speech: the demo captions need no tagger."""

from __future__ import annotations

import re
from pathlib import Path

from hmu.documents import read_yaml
from hmu.english import inflections


def _lexicon() -> dict[str, tuple[str, str]]:
    words = read_yaml(Path(__file__).with_name("lexicon.yaml"))
    table = {word: (word, tag) for tag, names in reversed(words["classes"].items()) for word in names.split()}
    table |= {f"{noun}s": (noun, "NOUN") for noun in words["plurals"].split()}
    return table | {word: (lemma, tag) for word, (lemma, tag) in words["others"].items()}


LEXICON = _lexicon()


def third_person(verb: str) -> str:
    """``kick`` -> ``kicks``; ``side-step`` -> ``side-steps``."""
    prefix, word = _split(verb)
    return {"do": "does", "go": "goes"}.get(word, prefix + inflections(word)[1] if len(word) > 2 else word)


def participle(verb: str) -> str:
    """``kick`` -> ``kicking``."""
    prefix, word = _split(verb)
    if len(word) < 3:
        return word + "ing"
    return prefix + next(form for form in inflections(word)[1:] if form.endswith("ing"))


def _split(verb: str) -> tuple[str, str]:
    head, dash, tail = verb.rpartition("-")
    return head + dash, tail


def tag(word: str) -> tuple[str, str]:
    """``(lemma, POS)`` of a word of the grammar; KeyError for a word that the lexicon lacks (a bug, tests look)."""
    return LEXICON[re.sub(r"[^\w-]", "", word)]
