"""Prompts about a concept that nobody has written: explicit, misspelled and compositional ones, by rule.

Paraphrases and implicit prompts cannot be made by rule; they exist where a concept's file lists them.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Mapping

from hmu.data.concepts import Concept
from hmu.data.tagger import tag
from hmu.english import participle, third_person

COUNT = 20
_SUBJECTS = ("a person", "a man", "someone", "the person", "the figure", "a figure", "a human")
_ENDS = ("", "slowly", "quickly", "twice", "again", "three times", "fast", "in place", "gently", "for a moment", "once")
_LINKS = ("{0} and then {1}", "{1}, then {0}", "{0} and {1}", "{1} and then {0}", "{0}, then {1}")
_FROM_TARGET = ("a person ", "someone ", "a man ", "the person ")


def prompts_for(concept: Concept, kind: str, actions: Mapping[str, Concept], count: int = COUNT) -> tuple[str, ...]:
    """The concept's own list of ``kind``, one of :data:`hmu.data.concepts.PROMPTS`, else ``count`` prompts by rule.

    Fewer where a rule runs out, none of a kind without a rule. ``actions``: others by name, for compositional prompts.
    """
    written: tuple[str, ...] = tuple(getattr(concept, kind))
    rules: dict[str, Callable[[], Iterator[str]]] = {
        "explicit": lambda: _explicit(concept),
        "typo": lambda: _typos(concept),
        "compositional": lambda: _compositional(concept, actions),
    }
    if written or kind not in rules:
        return written
    texts: dict[str, None] = {}
    for text in rules[kind]():
        texts[text] = None
        if len(texts) == count:
            break
    return tuple(texts)


def _predicates(concept: Concept) -> list[str]:
    """What a subject does when it does the concept: the target's own words, and every keyword that is a verb.

    Without any the keywords are taken for nouns.
    """
    target = next((concept.target[len(p) :] for p in _FROM_TARGET if concept.target.startswith(p)), "")
    verbs, nouns = [target] if target else [], []
    for keyword in concept.keywords:
        first, _, rest = keyword.partition(" ")
        rest = f" {rest}" if rest else ""
        if " and " in rest:
            continue  # its second verb would need a form of its own
        if first.isalpha() and tag(f"a person {third_person(first)}")[-1].endswith("/VERB"):
            verbs += [third_person(first) + rest, f"is {participle(first)}{rest}"]
        else:
            nouns += [f"shows {keyword}", f"does some {keyword}"]
    named = [predicate for predicate in dict.fromkeys(verbs) if concept.find(f"a person {predicate}")]
    return named or [predicate for predicate in nouns if concept.find(f"a person {predicate}")]


def _sentences(predicates: list[str]) -> Iterator[str]:
    """Every predicate with every ending, subjects in turn; what differs most comes first."""
    subjects = itertools.cycle(_SUBJECTS)
    for _, end, predicate in itertools.product(_SUBJECTS, _ENDS, predicates):
        yield f"{next(subjects)} {predicate} {end}".rstrip()


def _explicit(concept: Concept) -> Iterator[str]:
    return (text for text in _sentences(_predicates(concept)) if concept.find(text))


def misspellings(word: str) -> Iterator[str]:
    """One mistake each: two letters swapped, a letter lost, doubled, or replaced by its neighbour on the keyboard."""
    rows = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    beside = {a: b for row in rows for a, b in zip(row, row[1:] + row[-2], strict=True)}
    inner = range(1, len(word))
    makers: tuple[Callable[[int], str], ...] = (
        lambda i: word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :],
        lambda i: word[:i] + word[i + 1 :],
        lambda i: word[:i] + word[i] + word[i:],
        lambda i: word[:i] + beside.get(word[i], string.ascii_lowercase[i % 26]) + word[i + 1 :],
    )
    for turn, make in itertools.product(range(len(inner)), makers):
        spelled = make(inner[(turn * 2 + 1) % len(inner)])
        if spelled != word:
            yield spelled


def _typos(concept: Concept) -> Iterator[str]:
    """Explicit prompts in which the word that gives the concept away is misspelled, each time differently."""
    for number, text in enumerate(_explicit(concept)):
        match = concept.find(text)[0]
        word = match.group().split()[0]
        rest = text[match.start() + len(word) :]
        spellings = [text[: match.start()] + wrong + rest for wrong in misspellings(word)]
        hidden = [spelled for spelled in dict.fromkeys(spellings) if not concept.find(spelled)]
        if hidden:
            yield hidden[number % len(hidden)]


def _compositional(concept: Concept, actions: Mapping[str, Concept]) -> Iterator[str]:
    """The concept together with each other action, in both orders."""
    others = [other for name, other in actions.items() if name != concept.name]
    own = _predicates(concept)[:4]
    subjects, links = itertools.cycle(_SUBJECTS), itertools.cycle(_LINKS)
    named = [(other, second) for other in others for second in _predicates(other)[:1]]
    for _, predicate, (other, second) in itertools.product(_LINKS, own, named):
        text = f"{next(subjects)} {next(links).format(predicate, second)}"
        if not concept.find(f"a person {second}") and concept.find(text) and other.find(text):
            yield text
