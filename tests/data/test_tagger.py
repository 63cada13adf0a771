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
    ],
)  # fmt: skip
def test_sentences(text: str, tokens: str) -> None:
    assert list(tag(text)) == tokens.split()


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
    assert lemmas / total > 0.93
    assert good / total > 0.85
