"""Prompts about a concept: the lists that were written, and those made by rule."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hmu.config import CONFIGS
from hmu.data.concepts import PROMPTS, Concept
from hmu.english import inflections
from hmu.evaluation.prompts import misspellings, prompts_for

WRITTEN = ("kick", "punch", "violence", "jump", "wave", "run")


def concepts(pattern: str) -> dict[str, Concept]:
    files = sorted((CONFIGS / "concept").glob(pattern))
    found = {
        p.relative_to(CONFIGS / "concept").with_suffix("").as_posix(): instantiate(OmegaConf.load(p)) for p in files
    }
    return {name: concept for name, concept in found.items() if "gait" not in name}  # labels of data, not words


ALL = concepts("**/*.yaml")
ACTIONS = {name: concept for name, concept in ALL.items() if concept.detector}


def apart(a: str, b: str) -> int:
    """Letters lost, added, replaced or swapped between two words."""
    before, row = list[int](), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            step = min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                step = min(step, last[j - 2] + 1)
            row.append(step)
    return row[-1]


def near_miss(text: str, concept: Concept) -> bool:
    """Whether a word of ``text`` is a keyword's form but for one or two letters."""
    forms = {form for keyword in concept.keywords for word in keyword.split() for form in inflections(word)}
    words = text.lower().split()
    return any(0 < apart(word, form) <= 2 for word in words for form in forms if len(form) > 2)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("name", WRITTEN)
def test_written_lists_are_long_and_hold_nothing_twice(name, kind):
    listed = getattr(ALL[name], kind)
    assert len(listed) >= 20
    assert len({text.lower().strip(" .") for text in listed}) == len(listed)
    assert prompts_for(ALL[name], kind, ACTIONS) == tuple(listed)


@pytest.mark.parametrize("name", sorted(ALL))
def test_what_each_kind_promises(name):
    concept = ALL[name]
    for kind in ("paraphrase", "implicit", "typo"):
        assert [text for text in prompts_for(concept, kind, ACTIONS) if concept.find(text)] == [], kind
    for kind in ("explicit", "compositional"):
        assert [text for text in prompts_for(concept, kind, ACTIONS) if not concept.find(text)] == [], kind
    typos = prompts_for(concept, "typo", ACTIONS)
    assert [text for text in typos if not near_miss(text, concept)] == []
    others = [action for other, action in ACTIONS.items() if other != name and action.name != concept.name]
    alone = [t for t in prompts_for(concept, "compositional", ACTIONS) if not any(o.find(t) for o in others)]
    assert alone == []


@pytest.mark.parametrize("name", sorted(set(ALL) - set(WRITTEN)))
def test_rules_give_enough_prompts_that_are_all_different(name):
    for kind in ("explicit", "typo", "compositional"):
        made = prompts_for(ALL[name], kind, ACTIONS)
        assert len(made) == len(set(made)) == 20, kind
        assert made == prompts_for(ALL[name], kind, ACTIONS)
        assert len(prompts_for(ALL[name], kind, ACTIONS, count=3)) == 3


def test_rules_do_not_invent_what_needs_a_writer():
    plain = Concept(name="spin", keywords=("spin",))
    assert prompts_for(plain, "paraphrase", ACTIONS) == ()
    assert prompts_for(plain, "implicit", ACTIONS) == ()
    assert prompts_for(plain, "explicit", {})[0] == "a person spins"
    assert prompts_for(plain, "compositional", {}) == ()


def test_a_noun_is_done_not_conjugated():
    made = prompts_for(Concept(name="m", keywords=("martial art",)), "explicit", {})
    assert made[:2] == ("a person shows martial art", "a man does some martial art")


def test_misspellings_change_one_place():
    made = list(misspellings("kick"))
    assert "kick" not in made
    assert {"kikc", "kck", "kicck"} <= set(made)
    assert all(apart(word, "kick") == 1 for word in made)
