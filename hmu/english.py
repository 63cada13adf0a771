"""English inflection, just enough for captions of motion: forms of a keyword, the base of a form, a rough stem.

No dictionary: irregular forms from lists, the rest by rules. ``tests/data/test_tagger.py`` measures how the tagger that
rests on this agrees with captions that others have tagged.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from hmu.documents import read_yaml

VOWELS = "aeiou"


@lru_cache(maxsize=1)
def _words() -> Any:
    """``assets/english.yaml``, whose comments say what each table is."""
    return read_yaml(Path(__file__).parent / "assets" / "english.yaml")


@lru_cache(maxsize=1)
def closed_classes() -> dict[str, str]:
    """The part of speech of words that have only one in captions of motion: ``the`` DET, ``left`` ADJ."""
    return {word: tag for tag, words in reversed(_words()["closed"].items()) for word in words.split()}


def _doubles(word: str) -> bool:
    """Whether the last consonant doubles before -ed and -ing: one syllable, consonant, vowel, consonant (hop, jab)."""
    if len(word) < 3 or word[-1] in VOWELS + "wxyh" or word[-2] not in VOWELS:
        return False
    before = word[-3]
    vowel_before = before in VOWELS and not (before == "u" and word[-4:-3] == "q")
    syllables = len(re.findall(r"[aeiouy]+", word.replace("qu", "q")))
    return not vowel_before and syllables == 1


@lru_cache(maxsize=4096)
def inflections(word: str) -> tuple[str, ...]:
    """All usual forms of one lower-case base ``word``, itself first: ``hop -> hop hops hopped hopping``.

    Agent nouns are not included ("kicker" is a person). A word of one or two letters (other than ``go``), or one
    that is no plain word (it holds a digit or a dot), has no forms but itself.
    """
    if word in _words()["all_forms"]:
        return (word, *_words()["all_forms"][word])
    forms, irregular = _regular(word), _words()["keywords"].get(word)
    return (word, forms[1], forms[-1], *irregular) if irregular is not None else forms


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


def _regular(word: str) -> tuple[str, ...]:
    if len(word) < 3 or not word.isalpha():
        return (word,)
    if word[-1] == "y" and word[-2] not in VOWELS:
        stem = word[:-1]
        return (word, stem + "ies", stem + "ied", word + "ing")
    plural = word + "es" if re.search(r"(s|x|z|ch|sh)$", word) else word + "s"
    if word.endswith("ie"):
        return (word, word + "s", word + "d", word[:-2] + "ying")
    if word[-1] == "e":
        ing = word + "ing" if word.endswith(("ee", "oe", "ye")) else word[:-1] + "ing"
        return (word, plural, word + "d", ing)
    stem = word + word[-1] if _doubles(word) else word
    return (word, plural, stem + "ed", stem + "ing")


@lru_cache(maxsize=1)
def verb_forms() -> dict[str, str]:
    """Every form of every listed verb, with its base: ``went`` is a form of ``go``."""
    tagged = _words()["tagged"]
    bases = sorted({*_words()["verbs"], *tagged, *_words()["keywords"]})
    forms = {form: base for base in bases for form in inflections(base)}
    forms |= {form: base for base, more in tagged.items() for form in more}
    return forms | {base: base for base in bases}


def unlisted_verb(word: str) -> str | None:
    """The base of a word that looks like ``…ing`` or ``…ed`` of a verb that is not listed; None for others."""
    ending = re.fullmatch(r"([a-z]{2,20})(ing|ed)", word)
    if ending is None or not re.search("[aeiouy]", ending[1]) or word in _words()["no_verbs"]:
        return None
    stem = ending[1]
    if ending[2] == "ed" and stem.endswith("i"):
        return stem[:-1] + "y"
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsfz":
        return stem[:-1]
    silent = re.search(r"([^aeiou][aeiou][cgsvz]|[^aeioulrwy]l|[uv]|[lnr][cgsv]|dg|[^aeiou][aiou][kmnptbd])$", stem)
    return stem + "e" if silent and not _two_vowels(stem) else stem


def _two_vowels(stem: str) -> bool:
    """Whether a stem of two syllables ends so that English adds no ``e`` (visit, happen, wander)."""
    return bool(re.search(r"[aeiou][^aeiou]+[aeiou][kmnptbd]$", stem)) and stem[-2] in VOWELS


def noun_lemma(word: str) -> str:
    """The singular of a noun; words that are no plural stay."""
    if word in _words()["singulars"]:
        return str(_words()["singulars"][word])
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|us|is)$", word) or not word.endswith("s") or len(word) < 4:
        return word
    return word[:-2] if re.search(r"(ch|sh|x|ss)es$", word) else word[:-1]


def stem(word: str) -> str:
    """A rough stem: usual endings and a doubled last consonant are cut (``kicking, kicked, kicks -> kick``)."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word
