"""Concept validation and the two matching rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.data.concepts import Concept
from hmu.english import inflections
from hmu.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("kick", {"kick", "kicks", "kicked", "kicking"}),
        ("jab", {"jabs", "jabbed", "jabbing"}),
        ("squat", {"squats", "squatted", "squatting"}),
        ("carry", {"carries", "carried", "carrying"}),
        ("sway", {"sways", "swayed", "swaying"}),
        ("punch", {"punches", "punched", "punching"}),
        ("box", {"boxes", "boxed", "boxing"}),
        ("wave", {"waves", "waved", "waving"}),
        ("throw", {"throws", "threw", "thrown", "throwing"}),
        ("hit", {"hits", "hitting"}),
        ("die", {"dies", "died", "dying"}),
        ("lean", {"leans", "leaned", "leaning"}),
        ("foot", {"feet"}),
    ],
)
def test_inflections(word: str, forms: set[str]) -> None:
    assert forms <= set(inflections(word))


def test_no_wrong_doubling() -> None:
    assert "kickked" not in inflections("kick")
    assert "leanned" not in inflections("lean")
    assert "bowwed" not in inflections("bow")


@given(st.from_regex(r"[a-z]{3,9}", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_every_inflection_is_found_as_a_word_but_not_inside_one(word: str) -> None:
    concept = Concept("c", [word])
    for form in inflections(word):
        assert concept.find_line(f"He {form.upper()} it#he/PRON#0.0#0.0") == form.upper()
        assert concept.find_line(f"x{form}x#a/DET#0.0#0.0") is None


def test_word_rule_sees_lemmas_and_ignores_tags() -> None:
    kick = Concept("kick", ["kick"])
    assert kick.find_line("a strike with the foot#a/DET strike/NOUN kick/VERB#0.0#0.0") == "kick"
    assert kick.find_line("someone stands#someone/PRON stand/kick#0.0#0.0") is None
    assert kick.find_line("sidekick arrives#sidekick/NOUN#0.0#0.0") is None
    assert kick.find_line("a karate-kick!#a/DET#0.0#0.0") == "kick"
    assert kick.find_line("kick") == "kick"


def test_exceptions() -> None:
    box = Concept("box", ["box", "hook"], exceptions=["a box", "coat hook"])
    assert box.find_line("he picks up a box#he/PRON pick/VERB a/DET box/NOUN#0#0") is None
    assert box.find_line("he hangs it on the coat hooks#coat/NOUN hook/NOUN#0#0") is None
    assert box.find_line("he sees a box and starts boxing#x/X#0#0") == "boxing"


def test_phrases_allow_small_words_between() -> None:
    raise_arms = Concept("raise_arms", ["raise arm"])
    assert raise_arms.find_line("a person raises both of his arms".replace("both of his", "both their"))
    assert raise_arms.find_line("he raised his left arm")
    assert raise_arms.find_line("he raises a glass with his arm") is None


def test_substring_rule_traps() -> None:
    rule = Concept("violence", ["hit", "kick"], match="substring")
    assert rule.find_line("a white shirt") == "hit"
    assert rule.find_line("KICK") is None
    assert rule.find_line("stands#stand/VERB#0.0#0.0 hit") == "hit"


def test_mask() -> None:
    assert Concept("kick", ["kick"]).mask("a man kicks the ball, kicking hard") == "a man the ball, hard"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"keywords": []}, "keywords"),
        ({"keywords": "kick"}, "list"),
        ({"keywords": [True]}, "quote"),
        ({"match": "regex"}, "match"),
        ({"min_occurrence": 0}, "min_occurrence"),
        ({"name": "a/b"}, "file names"),
        ({"match": "substring", "keywords": ["("]}, "regular expression"),
        ({"match": "substring", "exceptions": ["x"]}, "exceptions"),
        ({"overrides": {"kit": {"keyword": ["x"]}}}, "overrides.kit"),
    ],
)
def test_validation(change: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Concept(**({"name": "kick", "keywords": ["kick"]} | change))


def test_overrides_per_dataset() -> None:
    concept = Concept("k", ["kick"], overrides={"motion_x": {"keywords": ["punch"], "match": "substring"}})
    assert concept.for_dataset("Motion-X").keywords == ("punch",)
    assert concept.for_dataset("demo").keywords == ("kick",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keywords": ["kick", "+++"]}, r"keywords holds '\+\+\+', which has no word in it"),
        ({"exceptions": ["..."]}, r"exceptions holds '\.\.\.', which has no word"),
        ({"keywords": ["("], "match": "substring"}, "no valid regular expression"),
        ({"detector": "kik"}, "no detector is called 'kik': known are bow"),
        ({"detector": 5}, "no detector is called '5'"),
        ({"overrides": ["bvh"]}, "overrides is no mapping"),
        ({"overrides": {"bvh": {"keywords": "kick"}}}, r"overrides\.bvh: .*expected a list of strings"),
        ({"overrides": {"bvh": {"detector": "kik"}}}, r"overrides\.bvh: no detector is called 'kik'"),
    ],
)
def test_what_users_type_is_refused_before_any_work(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Concept(**({"name": "c", "keywords": ["kick"]} | change))


@pytest.mark.parametrize("keyword", ["KICK", "kick*", "(kick", "Kicking"])
def test_upper_case_and_signs_around_a_word_do_not_matter(keyword: str) -> None:
    assert bool(Concept("c", [keyword]).find("he KICKING it")) is True
    assert Concept("c", ["schlägt"]).find("er Schlägt zu")
    assert Concept("c", ["wave_both"], detector="wave_both").detector == "wave_both"
