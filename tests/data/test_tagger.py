"""The rule tagger: known sentences, form, and agreement with captions tagged by others."""

from __future__ import annotations

import re
import tarfile
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmu.data.tagger import tag
from tests.conftest import shared


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a man kicks something or someone with his left leg.",
         "a/DET man/NOUN kick/VERB something/PRON or/CCONJ someone/PRON with/ADP his/DET left/ADJ leg/NOUN"),
        ("The person did a jump", "the/DET person/NOUN did/AUX a/DET jump/NOUN"),
        ("she slowly waved both hands twice", "she/PRON slowly/ADV wave/VERB both/DET hand/NOUN twice/ADV"),
        ("he turns to the right", "he/PRON turn/VERB to/ADP the/DET right/NOUN"),
        ("a man that walks in place", "a/DET man/NOUN that/PRON walk/VERB in/ADP place/NOUN"),
        ("he began to walk", "he/PRON begin/VERB to/PART walk/VERB"),
        ("a person left the room with his left hand up",
         "a/DET person/NOUN leave/VERB the/DET room/NOUN with/ADP his/DET left/ADJ hand/NOUN up/ADP"),
        ("the person's hands shook", "the/DET person/NOUN hand/NOUN shake/VERB"),
        ("someone vaults over a box", "someone/PRON vault/VERB over/ADP a/DET box/NOUN"),
    ],
)  # fmt: skip
def test_sentences(text: str, tokens: str) -> None:
    assert list(tag(text)) == tokens.split()


@pytest.mark.parametrize(
    ("forms", "lemma"),
    [
        ("go goes going went gone", "go"), ("ride rides riding rode ridden", "ride"), ("bring brought", "bring"),
        ("come came", "come"), ("see saw seen", "see"), ("write wrote written writing", "write"), ("get got", "get"),
        ("give gave given", "give"), ("lie lies lying", "lie"), ("kneel knelt kneeled", "kneel"), ("feed fed", "feed"),
        ("follow following followed", "follow"), ("squeeze squeezing squeezed", "squeeze"), ("hug hugged", "hug"),
        ("shuffle shuffling", "shuffle"), ("visit visited", "visit"), ("carry carries carried carrying", "carry"),
        ("mumble mumbling mumbled", "mumble"), ("skid skidding", "skid"), ("tidy tidied", "tidy"),
    ],
)  # fmt: skip
def test_every_form_has_its_lemma(forms: str, lemma: str) -> None:
    for form in forms.split():
        token = tag(f"she {form} it")[1]
        assert token == f"{lemma}/VERB" or (form == lemma and token.startswith(f"{lemma}/")), form


def test_things_that_look_like_verbs_stay_things() -> None:
    assert tag("a red ring on the ceiling") == ("a/DET", "red/ADJ", "ring/NOUN", "on/ADP", "the/DET", "ceiling/NOUN")
    assert all(len(token) < 6000 for token in tag("a" * 5000 + "ing"))  # and in no time


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_always_word_slash_tag(text: str) -> None:
    assert all(re.fullmatch(r"[a-z0-9]+/[A-Z]+", token) for token in tag(text))
    assert tag(text) == tag(text)


def test_agreement_with_tagged_captions() -> None:
    path = shared("data/bandai/bandai_humanml3d/texts.tar.xz")
    good = total = lemmas = 0
    with tarfile.open(path) as archive:
        members = [m for m in archive.getmembers() if m.isfile()][::8]
        lines = [line for m in members for line in archive.extractfile(m).read().decode().splitlines()]
    for line in lines:
        caption, tokens = line.split("#")[:2]
        ours, theirs = tag(caption), tokens.split()
        total += len(theirs)
        good += sum(b.size for b in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks())
        words = [[t.rpartition("/")[0] for t in x] for x in (ours, theirs)]
        lemmas += sum(b.size for b in SequenceMatcher(None, *words, autojunk=False).get_matching_blocks())
    assert total > 1000
    assert lemmas / total > 0.995
    assert good / total > 0.98
