"""English inflection, just enough for captions of motion: forms of a keyword, the base of a form, a rough stem.

No dictionary: irregular forms from lists, the rest by rules. ``tests/data/test_tagger.py`` measures how the tagger that
rests on this agrees with captions that others have tagged.
"""

from __future__ import annotations

import re
from functools import lru_cache

VOWELS = "aeiou"

# base, then the forms besides -s and -ing: a keyword is found in all of them
_KEYWORDS = """
beat beaten | bend bent | bring brought | catch caught | creep crept | cut | draw drew drawn | drink drank drunk
drive drove driven | fall fell fallen | fight fought | fling flung | fly flew flown | hang hung | hit | hold held
kneel knelt kneeled | lead led | leap leaped leapt | lie lay lain | put | ride rode ridden | rise rose risen | run ran
shake shook shaken | shoot shot | sit sat | slide slid | spin spun | spring sprang sprung | stand stood
strike struck | sweep swept | swim swam swum | swing swung | take took taken | throw threw thrown | wind wound
"""
# all forms but the base
_ODD: dict[str, tuple[str, ...]] = {
    "foot": ("feet",),
    "go": ("goes", "going", "went", "gone"),
    "knife": ("knives", "knifes", "knifed", "knifing"),
    "man": ("men",),
    "uppercut": ("uppercuts", "uppercutting"),
    "woman": ("women",),
}
# as _KEYWORDS, besides what rules give: forms that the tagger alone knows
_TAGGED = """
become became | begin began begun | bite bit bitten | blow blew blown | break broke broken | build built | buy bought
choose chose chosen | come came | deal dealt | dig dug | do does did done | eat ate eaten | feed fed | feel felt
find found | flee fled | forget forgot forgotten | freeze froze frozen | get got gotten | give gave given
grow grew grown | have has had | hear heard | hide hid hidden | keep kept | know knew known | lay laid | lean leant
learn learnt | lend lent | light lit | lose lost | make made | mean meant | meet met | overcome overcame | pay paid
ring rang | say said | see saw seen | seek sought | sell sold | send sent | set | show shown | sing sang sung
sink sank sunk | sleep slept | sling slung | speak spoke spoken | speed sped | spend spent | steal stole stolen
stick stuck | sting stung | stride strode stridden | strike stricken | swear swore sworn | teach taught
tear tore torn | tell told | think thought | tread trod trodden | understand understood | wake woke woken | wear wore
weave wove woven | weep wept | win won | withdraw withdrew withdrawn | write wrote written
"""
# what people do in motion captions; nouns that are rarely verbs there (hand, head, back, motion) are left out
_VERBS = (
    "act add adjust aim answer appear applaud approach arrive attack attempt avoid balance bang bat bathe beat beg "
    "begin bend blink block blow bob bounce bow box brace break breathe bring brush bump button call carry cast catch "
    "change charge chase check cheer chew chop circle clap clasp clean clear clench climb close collapse comb come "
    "complete conduct continue convey cough count cover crank crawl creep cross crouch cry cup curl curtsy cut cycle "
    "dance dart dash defend demonstrate descend describe die dig dip direct disappear display dive do dodge drag draw "
    "dribble drift drink drive drop duck dust eat embrace emerge enter examine exercise exit explain express extend "
    "face fall feel fidget fight find finish fire fish fix flail flap flex flick flinch fling flip float fly fold "
    "follow form freeze frolic gallop gather gesture get give glance glide go grab greet grip grow guard guide hang "
    "happen have hear help hide hike hit hold hop hug hunch hurl hurry imitate indicate inspect interact jab jerk jog "
    "juggle jump keep kick kiss kneel knock know lack land lay lead lean leap learn leave let lie lift limp listen "
    "load lock look loosen lose lower lunge make march massage meander meet mime mimic miss mix mop mount move need "
    "nod notice nudge observe open operate pace paddle paint pass pat pause pedal peel perform pet pick pitch pivot "
    "place plant play point pose position pour practice pray prepare present press pretend proceed protect pull pump "
    "punch push put raise reach ready receive recover relax release remain remove repeat reply respond rest retreat "
    "return reverse ride rise roam rock roll rotate row rub run rush salute say scoop scratch scrub scurry search see "
    "seem shake shift shiver shoot shout show shrug shuffle shut sidestep signal sing sink sit skate ski skip slap "
    "slash sleep slide slip slow slump smash smell smile sneak sneeze sniff speak speed spin spread sprint squat "
    "squeeze stack stagger stand stare start stay steal steer step stir stomp stoop stop straighten stretch stride "
    "strike stroke stroll strum strut stumble support surrender swagger sway sweep swerve swim swing swipe swivel take "
    "talk tap teach tell test think throw thrust tie tighten tilt tiptoe toss touch train travel tread trip trot try "
    "tuck tug tumble turn twirl twist twitch type understand use veer vomit wade wait wake walk wander warm wash watch "
    "wave wear weave wiggle wipe wobble wrap wrestle write yawn zigzag"
)
# end like a form of a verb and are none
_NOT_VERBS = (
    "hundred red bed seed need speed weed shed sled bleed steed feed naked thing something nothing anything everything "
    "ring string king wing ceiling building morning evening railing spring clothing sibling wedding pudding earring"
)
_PLAIN_WORDS = frozenset(_NOT_VERBS.split())


_NOUN_FORMS = {
    "feet": "foot",
    "men": "man",
    "women": "woman",
    "people": "people",
    "knives": "knife",
    "children": "child",
}


def _table(rows: str) -> dict[str, tuple[str, ...]]:
    """Base and further forms, ``base form form | base form``, as a table."""
    entries = (entry.split() for entry in re.split(r"[|\n]", rows) if entry.strip())
    return {base: tuple(forms) for base, *forms in entries}


@lru_cache(maxsize=1)
def _irregular() -> dict[str, tuple[str, ...]]:
    return _table(_KEYWORDS)


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
    if word in _ODD:
        return (word, *_ODD[word])
    forms = _regular(word)
    if word in _irregular():
        return (word, forms[1], forms[-1], *_irregular()[word])
    return forms


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
    tagged = _table(_TAGGED)
    bases = sorted({*_VERBS.split(), *tagged, *_irregular()})
    forms = {form: base for base in bases for form in inflections(base)}
    forms |= {form: base for base, more in tagged.items() for form in more}
    return forms | {base: base for base in bases}


def unlisted_verb(word: str) -> str | None:
    """The base of a word that looks like ``…ing`` or ``…ed`` of a verb that is not listed; None for others."""
    ending = re.fullmatch(r"([a-z]{2,20})(ing|ed)", word)
    if ending is None or not re.search("[aeiouy]", ending[1]) or word in _PLAIN_WORDS:
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
    if word in _NOUN_FORMS:
        return _NOUN_FORMS[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|us|is)$", word) or not word.endswith("s") or len(word) < 4:
        return word
    return word[:-2] if re.search(r"(ch|sh|x|ss)es$", word) else word[:-1]


_ENDINGS = ("ing", "ed", "es", "s", "e")


def stem(word: str) -> str:
    """A rough stem: usual endings and a doubled last consonant are cut (``kicking, kicked, kicks -> kick``)."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word
