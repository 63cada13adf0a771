"""A small rule tagger for free prompts, in the style of HumanML3D's token field.

It lemmatises verbs and nouns and names a part of speech: closed classes from lists, motion verbs with their
inflections, the rest by endings and by the word before. It replaces a statistical tagger for prompts that nobody
tagged; data sets bring tokens of their own. ``tests/data/test_tagger.py`` measures agreement with tagged captions.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hmu.data.captions import Caption
from hmu.english import closed_classes, inflections, noun_lemma, unlisted_verb, verb_forms

_AGENT = frozenset(("PRON", "NOUN"))
_SIDES = frozenset(("left", "right"))


def _side(word: str, before: str, following: str) -> tuple[str, str]:
    """``left`` and ``right``: mostly the side, seldom the past of ``leave``."""
    if word == "left" and before in _AGENT and (closed_classes().get(following) == "DET" or following == "through"):
        return "leave", "VERB"
    if before == "ADP" and following in ("", "and", "then", "or"):
        return word, "NOUN"
    if before == "DET":
        return word, "NOUN" if following in ("", "and", "then", "with", "while", "before", "in", "to") else "ADJ"
    return word, "ADV" if before in ("VERB", "NOUN") and following in ("", "and", "then", "while") else "ADJ"


def _small(word: str, before: str, following: str) -> tuple[str, str] | None:
    """Words of the closed classes whose tag depends on their neighbours; None for all others."""
    if word == "to" and verb_forms().get(following) == following:
        return word, "PART"
    if before == "VERB" and (word == "that" or (word == "one" and following in ("", *closed_classes()))):
        return word, "PRON"
    if word == "that" and before in _AGENT and following in verb_forms():
        return word, "PRON"
    if word in ("up", "out", "off") and before == "VERB":
        return word, "ADP"
    return (word, closed_classes()[word]) if word in closed_classes() else None


def _word(word: str, before: str, following: str) -> tuple[str, str]:
    """``(lemma, tag)`` of ``word`` after a word tagged ``before`` and before the word ``following``."""
    if word in _SIDES:
        return _side(word, before, following)
    small = _small(word, before, following)
    if small is not None:
        return small
    verb = verb_forms().get(word)
    if verb is not None:
        # no verb of its own follows an article, and no infinitive a preposition: a kick, two steps, in place
        named = word == verb or word == inflections(verb)[1]
        noun = (named and before in ("DET", "ADJ", "NUM")) or (word == verb and before == "ADP")
        return (noun_lemma(word), "NOUN") if noun else (verb, "VERB")
    if word.isdigit():
        return word, "NUM"
    if word.endswith("ly") and len(word) > 4:
        return word, "ADV"
    if re.search(r"(ful|ous|ive|able|ible|ish|less|ic)$", word) and len(word) > 4:
        return word, "ADJ"
    unlisted = unlisted_verb(word)
    if unlisted is not None:
        return unlisted, "VERB"
    third = before in _AGENT and re.search(r"[^s]s$", word) is not None
    if third and closed_classes().get(following) in ("DET", "ADP", "ADV"):
        return noun_lemma(word), "VERB"
    return noun_lemma(word), "NOUN"


def tag(text: str) -> tuple[str, ...]:
    """``"He kicked twice."`` -> ``("he/PRON", "kick/VERB", "twice/ADV")``; deterministic, ignores punctuation."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?|[0-9]+", text.lower())
    tokens: list[str] = []
    before = ""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        lemma, kind = _word(word.split("'")[0], before, following)
        tokens.append(f"{lemma}/{kind}")
        before = "DET" if word.endswith("'s") else kind  # whose: the next word is a thing, as after an article
    return tuple(tokens)


def tagged(caption: Caption) -> Caption:
    """The caption with tokens: its own, or those of this tagger where nobody tagged it."""
    return caption if caption.tokens else replace(caption, tokens=tag(caption.text))
