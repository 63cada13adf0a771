"""Verbs of everyday movement with all their forms, for the rule tagger: ``went`` is a form of ``go``."""

from __future__ import annotations

import re
from functools import lru_cache

from hmu.data.words import VOWELS, inflections

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
# base, then the forms that no rule gives
_IRREGULAR = """
become became | begin began begun | bend bent | bite bit bitten | blow blew blown
break broke broken
bring brought | build built | buy bought | catch caught | choose chose chosen | come came | creep crept | cut
deal dealt | die dying | dig dug | do does did done | draw drew drawn | drink drank | drive drove driven
eat ate eaten | fall fell fallen | feed fed | feel felt | fight fought | find found | flee fled | fling flung
fly flew flown | forget forgot forgotten | freeze froze frozen | get got gotten | give gave given
go goes going went gone | grow grew grown | hang hung | have has had | hear heard | hide hid hidden
hit | hold held | keep kept | kneel knelt | know knew known | lay laid | lead led | lean leant | leap leapt
learn learnt | lend lent | let | lie lying lain | light lit | lose lost | make made | mean meant | meet met
overcome overcame | pay paid | put | ride rode ridden | ring rang | rise rose risen | run ran | say said
see saw seen | seek sought | sell sold | send sent | set | shake shook shaken | shoot shot | show shown | shut
sing sang sung | sink sank sunk | sit sat | sleep slept | slide slid | sling slung | speak spoke spoken | speed sped
spend spent | spin spun | spread | spring sprang sprung | stand stood | steal stole stolen | stick stuck
sting stung | stride strode stridden | strike struck stricken | swear swore sworn | sweep swept | swim swam swum
swing swung | take took taken | teach taught | tear tore torn | tell told | think thought | throw threw thrown
thrust | tie tying | tread trod trodden | understand understood | vomit vomiting vomited | wake woke woken
wear wore | weave wove woven | weep wept | win won | wind wound | withdraw withdrew withdrawn | write wrote written
"""
# end like a form of a verb and are none
_NOT_VERBS = (
    "hundred red bed seed need speed weed shed sled bleed steed feed naked thing something nothing anything everything "
    "ring string king wing ceiling building morning evening railing spring clothing sibling wedding pudding earring"
)
_PLAIN_WORDS = frozenset(_NOT_VERBS.split())


@lru_cache(maxsize=1)
def verb_forms() -> dict[str, str]:
    """Every form of every listed verb, with its base."""
    irregular = {words[0]: words[1:] for words in (entry.split() for entry in re.split(r"[|\n]", _IRREGULAR)) if words}
    bases = sorted({*_VERBS.split(), *irregular})
    forms = {form: base for base in bases for form in inflections(base)}
    forms |= {form: base for base, more in irregular.items() for form in more}
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
