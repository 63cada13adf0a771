"""Every word that the grammar can write, with lemma and part of speech: the demo captions need no tagger."""

from __future__ import annotations

import re

from hmu.english import inflections

_WORDS = {
    "DET": "a an the both another all some",
    "NOUN": (
        "person man figure human guy line step foot leg arm hand fist knee hip head chest shoulder body air spot place "
        "ball curve arc chair seat ceiling palm circle axis floor way side time waist stride degree hello crouch "
        "quarter reverse front pace"
    ),
    "PRON": "someone something his their it he they",
    "ADP": "with to in on from of for off behind over above through at before after about around until by",
    "ADV": (
        "forward ahead backward sideways up down out slowly quickly fast twice once then together away again gently "
        "calmly rapidly swiftly still upright respectfully farther high low deeply slightly back"
    ),
    "ADJ": (
        "small slight slow left right straight long bent full front upper deep half own opposite other close high "
        "normal several"
    ),
    "NUM": "ninety one two three four five six seven eight nine ten",
    "AUX": "is",
    "OTHER": "and",
}
_PLURALS = ("step", "leg", "arm", "hand", "fist", "knee", "hip", "shoulder", "palm", "time", "stride", "degree")
VERBS = """
walk stroll take move set run jog sprint go rush dash jump leap push fly leave land hop bounce hold spring
kick perform do boot swing lift snap thrust punch jab strike shoot throw toss hurl bring whip wave greet
signal clap applaud squat stand lower come bow give lean straighten sit settle rest get rise turn rotate
pivot step spin face raise reach stretch side-step shuffle shift open close remain wait stay keep look march
parade stomp crouch sneak creep back
""".split()  # noqa: SIM905


def _lexicon() -> dict[str, tuple[str, str]]:
    table: dict[str, tuple[str, str]] = {}
    for tag, words in _WORDS.items():
        for word in words.split():
            table.setdefault(word, (word, tag))
    for noun in _PLURALS:
        table[noun + "s"] = (noun, "NOUN")
    for verb in VERBS:
        table.setdefault(verb, (verb, "VERB"))
    table |= {"feet": ("foot", "NOUN"), "backwards": ("backward", "ADV")}
    table |= {"bouncing": ("bounce", "VERB"), "facing": ("face", "VERB"), "crouched": ("crouch", "VERB")}
    return table


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
