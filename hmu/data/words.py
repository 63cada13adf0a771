"""English inflection, just enough to match a keyword in its usual forms: kick, kicks, kicked, kicking."""

from __future__ import annotations

import re
from functools import lru_cache

VOWELS = "aeiou"

# Irregular forms of the verbs and nouns that occur in motion captions: base -> further forms (the base is implied).
IRREGULAR: dict[str, tuple[str, ...]] = {
    "beat": ("beats", "beating", "beaten"),
    "bend": ("bends", "bending", "bent"),
    "bring": ("brings", "bringing", "brought"),
    "catch": ("catches", "catching", "caught"),
    "creep": ("creeps", "creeping", "crept"),
    "cut": ("cuts", "cutting"),
    "draw": ("draws", "drawing", "drew", "drawn"),
    "drink": ("drinks", "drinking", "drank", "drunk"),
    "drive": ("drives", "driving", "drove", "driven"),
    "fall": ("falls", "falling", "fell", "fallen"),
    "fight": ("fights", "fighting", "fought"),
    "fling": ("flings", "flinging", "flung"),
    "fly": ("flies", "flying", "flew", "flown"),
    "foot": ("feet",),
    "go": ("goes", "going", "went", "gone"),
    "hang": ("hangs", "hanging", "hung"),
    "hit": ("hits", "hitting"),
    "hold": ("holds", "holding", "held"),
    "kneel": ("kneels", "kneeling", "knelt", "kneeled"),
    "knife": ("knives", "knifes", "knifed", "knifing"),
    "lead": ("leads", "leading", "led"),
    "leap": ("leaps", "leaping", "leaped", "leapt"),
    "lie": ("lies", "lying", "lay", "lain"),
    "man": ("men",),
    "put": ("puts", "putting"),
    "ride": ("rides", "riding", "rode", "ridden"),
    "rise": ("rises", "rising", "rose", "risen"),
    "run": ("runs", "running", "ran"),
    "shake": ("shakes", "shaking", "shook", "shaken"),
    "shoot": ("shoots", "shooting", "shot"),
    "sit": ("sits", "sitting", "sat"),
    "slide": ("slides", "sliding", "slid"),
    "spin": ("spins", "spinning", "spun"),
    "spring": ("springs", "springing", "sprang", "sprung"),
    "stand": ("stands", "standing", "stood"),
    "strike": ("strikes", "striking", "struck"),
    "sweep": ("sweeps", "sweeping", "swept"),
    "swim": ("swims", "swimming", "swam", "swum"),
    "swing": ("swings", "swinging", "swung"),
    "take": ("takes", "taking", "took", "taken"),
    "throw": ("throws", "throwing", "threw", "thrown"),
    "uppercut": ("uppercuts", "uppercutting"),
    "wind": ("winds", "winding", "wound"),
    "woman": ("women",),
}


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
    if word in IRREGULAR:
        return (word, *IRREGULAR[word])
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
