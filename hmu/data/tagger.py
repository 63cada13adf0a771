"""A small rule tagger for free prompts, in the style of HumanML3D's token field.

It lemmatises verbs and nouns and names a part of speech: closed classes from lists, motion verbs with their
inflections, the rest by endings and by the word before. It replaces a statistical tagger for prompts that nobody
tagged; data sets bring tokens of their own. ``tests/data/test_tagger.py`` measures agreement with tagged captions.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hmu.data.words import inflections

_CLOSED = {
    "DET": (
        "a an the this that these those his her their its my your our both each every another some any no all either"
    ),
    "PRON": (
        "he she it they them him someone somebody something anyone anything everyone himself herself itself "
        "themselves who which what i you we us me one's other others nothing"
    ),
    "ADP": (
        "in on at to of with from by for into onto over under across through around above below behind toward "
        "towards against between along near like off upon past during without beside inside up out before after"
    ),
    "CCONJ": ("and or but nor"),
    "SCONJ": ("if while as because until when though although since that than whether"),
    "AUX": ("is are was were be been being am has have had do does did can could will would may might must should"),
    "NUM": ("one two three four five six seven eight nine ten ninety hundred"),
    "ADV": (
        "then forward forwards backward backwards sideways again back down away together twice once here there very "
        "slightly almost still just not too so also around straight ahead up diagonally clockwise counterclockwise "
        "anticlockwise quite fast upright upwards upward downwards afterwards finally soon now"
    ),
    "PART": ("not"),
    "ADJ": (
        "left right several few many same other high low big small large great old young tired happy sad angry "
        "front full slow quick straight sharp hard soft wide long short first second third last own opposite still "
        "good strong drunk heavy light little imaginary aged masculine feminine elderly neutral tough worn "
        "exhausted manly lively proud shy male female"
    ),
}
_VERBS = (
    "act appear applaud attack balance bang beat begin bend bounce bow box bring call carry catch change cheer chop "
    "circle clap climb close come continue cough crawl creep cross crouch cut dance dash defend do dodge drag draw "
    "dribble drift drink drop duck eat extend face fall feel fight flap fling fly gesture get give go grab greet "
    "guide hang hit hold hop hurl hurry jab jog juggle jump keep kick kneel knock lead lean leap lie lift limp look "
    "lose lower lunge make march mop move nod open pace pass peel perform pick place play point pose pour practice "
    "press pretend pull punch push put raise reach relax repeat rest return rise roll rotate rub run salute say "
    "scratch seem shake shoot shout show shrug shuffle sit skate skip slap slash slide smash sneak sneeze spin "
    "spread sprint squat stand start step stir stomp stoop stop stretch stride strike stroll stumble sway sweep "
    "swim swing swipe take tap throw thrust toss touch trip try turn twist type use walk wander wash wave wipe "
    "write"
)
# of these, the ones that captions use as nouns too (a kick, two steps)
_NOUNS_TOO = (
    "bow box call circle dance face hit hop jog jump kick leap lunge pace place point punch rest run spin squat "
    "step stretch stride swing throw turn walk wave"
)
_NOUN_FORMS = {
    "feet": "foot",
    "men": "man",
    "women": "woman",
    "people": "people",
    "knives": "knife",
    "children": "child",
}
_AGENT = frozenset(("PRON", "NOUN"))
_SIDES = frozenset(("left", "right"))


@lru_cache(maxsize=1)
def _closed() -> dict[str, str]:
    table: dict[str, str] = {}
    for tag_, words in _CLOSED.items():
        for word in words.split():
            table.setdefault(word, tag_)
    return table


@lru_cache(maxsize=1)
def _verb_forms() -> dict[str, str]:
    verbs = _VERBS.split()
    forms = {form: verb for verb in verbs for form in inflections(verb)}
    return forms | {verb: verb for verb in verbs} | {"made": "make", "felt": "feel", "kept": "keep", "lost": "lose"}


@lru_cache(maxsize=1)
def _nouns_too() -> frozenset[str]:
    return frozenset(_NOUNS_TOO.split())


def _noun_lemma(word: str) -> str:
    if word in _NOUN_FORMS:
        return _NOUN_FORMS[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|us|is)$", word) or not word.endswith("s") or len(word) < 4:
        return word
    return word[:-2] if re.search(r"(ch|sh|x|ss)es$", word) else word[:-1]


def _one(word: str, before: str, following: str) -> tuple[str, str]:
    """``(lemma, tag)`` of ``word`` after a word tagged ``before`` and before the word ``following``."""
    if word in _SIDES:
        if before == "ADP" and following in ("", "and", "then", "or"):
            return word, "NOUN"
        if before == "DET":
            return word, "NOUN" if following in ("", "and", "then", "with", "while", "before", "in", "to") else "ADJ"
        return word, "ADV" if before in ("VERB", "NOUN") and following in ("", "and", "then", "while") else "ADJ"
    if word == "to" and following in _verb_forms() and following not in _nouns_too():
        return word, "PART"
    if word in ("that", "one") and before == "VERB":
        return word, "PRON"
    if word in ("up", "out", "off") and before == "VERB":
        return word, "ADP"
    if word in _closed():
        return word, _closed()[word]
    verb = _verb_forms().get(word)
    if verb is not None:
        as_noun = before in ("DET", "ADJ", "NUM") and verb in _nouns_too() and not word.endswith("ing")
        return (_noun_lemma(word), "NOUN") if as_noun else (verb, "VERB")
    if word.isdigit():
        return word, "NUM"
    if word.endswith("ly") and len(word) > 4:
        return word, "ADV"
    if re.search(r"(ful|ous|ive|able|ible|ish|less|ic)$", word) and len(word) > 4:
        return word, "ADJ"
    if (
        before in _AGENT
        and word.endswith("s")
        and not word.endswith("ss")
        and following in ("his", "her", "their", "the", "a")
    ):
        return _noun_lemma(word), "VERB"
    return _noun_lemma(word), "NOUN"


def tag(text: str) -> tuple[str, ...]:
    """``"He kicked twice."`` -> ``("he/PRON", "kick/VERB", "twice/ADV")``; deterministic, ignores punctuation."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?|[0-9]+", text.lower())
    tokens: list[str] = []
    before = ""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        lemma, before = _one(word.split("'")[0], before, following)
        tokens.append(f"{lemma}/{before}")
    return tuple(tokens)
