"""Captions from specs: three different sentences per clip, with lemmatised ``word/POS`` tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmu.data.captions import Caption
from hmu.data.demo.specs import Spec
from hmu.documents import read_yaml
from hmu.english import participle, third_person

_SUBJECTS = ("a person", "a man", "someone", "the person", "the figure", "a figure", "the man", "a human")
_SUBJECT_WEIGHTS = (0.44, 0.14, 0.14, 0.1, 0.06, 0.05, 0.05, 0.02)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PACE = {
    "slow": ("slowly", "gently", "at a slow pace"),
    "fast": ("quickly", "fast", "rapidly", "swiftly"),
    "normal": ("",),
}
_TURNS = {180: "around", 360: "circle"}
_LINKS = ("then", "and then", ", then")
_COUNT, _IMPLICIT_SHARE = 3, 0.25  # captions of a clip; clips of which the last one is implicit

Token = tuple[str, str, str]  # word as written, lemma, part of speech
Row = tuple[tuple[str, ...], ...]  # primary phrases, synonyms, implicit phrases

#: by action, or action and variant
PHRASES: dict[str, Row] = {
    key: tuple(tuple(row[kind]) for kind in ("primary", "synonyms", "implicit"))
    for key, row in read_yaml(Path(__file__).with_name("phrases.yaml")).items()
}


def variant(spec: Spec) -> str:
    """The key of ``PHRASES`` that describes a spec."""
    action = spec.action
    if action in ("walk", "run"):
        return f"{action}.{'curve' if spec.direction in ('left', 'right') else 'forward'}"
    if action in ("punch", "wave", "raise_arms"):
        return f"{action}.{'both' if spec.side == 'both' else 'one'}"
    if action in ("jump", "hop", "kick", "sit", "march"):
        return f"{action}.{spec.direction}"
    if action == "turn":
        return "turn.walk" if spec.direction == "forward" else f"turn.{_TURNS.get(spec.count, 'spot')}"
    return action


def _slots(spec: Spec, poss: str, rng: np.random.Generator) -> dict[str, str]:
    pick = lambda *options: str(options[int(rng.integers(len(options)))])  # noqa: E731
    number = _NUMBERS[min(spec.count, 10)]
    times = {1: pick("", "", "once"), 2: pick("twice", "two times")}.get(spec.count, f"{number} times")
    if spec.action == "clap" and spec.count > 3:
        times = pick(f"{number} times", "several times")
    angle = {90: pick("", "ninety degrees", "a quarter"), 180: "around"}.get(spec.count, "around")
    steps = _NUMBERS[spec.count] if spec.count <= 10 else "some"
    slots = {
        "side": spec.side,
        "way": spec.direction,
        "poss": poss,
        "times": times,
        "n": pick(steps, "several", "some"),
        "pace": pick(*_PACE[spec.speed]),
        "high": {"high": "high", "low": "low"}.get(spec.amplitude, ""),
        "low": {"high": pick("deep", "low"), "low": pick("small", "slight")}.get(spec.amplitude, ""),
        "deeply": {"high": pick("deeply", "low"), "low": "slightly"}.get(spec.amplitude, ""),
        "angle": angle,
    }
    through = {"side": "out to the side and up", "forward": pick("forward and up", "up in front of the body")}
    return slots | {"through": through.get(spec.direction, "up")}


def _clause(pattern: str, slots: dict[str, str], progressive: bool) -> list[Token]:
    """One pattern as tokens."""
    tokens: list[Token] = []
    for word in pattern.format(**slots).split():
        name, _, override = word.partition("/")
        if not name.startswith("*"):
            tokens.append((name, name, override) if override else (name, *tag(name)))
            continue
        verb = name[1:]
        if progressive and not tokens and override != "BASE":
            tokens.append(("is", "is", "AUX"))
        form = verb if override == "BASE" else participle(verb) if progressive else third_person(verb)
        tokens.append((form, verb, "VERB"))
    return tokens


def _sentence(patterns: Sequence[str], specs: Sequence[Spec], rng: np.random.Generator) -> list[Token]:
    subject = _SUBJECTS[int(rng.choice(len(_SUBJECTS), p=_SUBJECT_WEIGHTS))]
    poss = "his" if "man" in subject.split() else ("his" if rng.random() < 0.3 else "their")
    tokens = [(word, *tag(word)) for word in subject.split()]
    progressive = rng.random() < 0.15
    link = _LINKS[int(rng.integers(len(_LINKS)))]
    for index, (pattern, spec) in enumerate(zip(patterns, specs, strict=True)):
        if index:
            if link.startswith(","):
                tokens[-1] = (tokens[-1][0] + ",", *tokens[-1][1:])
            tokens += [(word, *tag(word)) for word in link.replace(",", "").split()]
        clause = _clause(pattern, _slots(spec, poss, rng), progressive)
        tokens += clause[1:] if index and progressive else clause
    return tokens


def captions(specs: Sequence[Spec], rng: np.random.Generator) -> list[str]:
    """Three different lines ``caption#word/POS word/POS ...#0.0#0.0`` for a clip.

    The first uses each action's primary verb; the others may use synonyms, and in a quarter of the clips the last one
    describes the movement without the keyword.
    """
    rows = [PHRASES[variant(spec)] for spec in specs]
    implicit = rng.random() < _IMPLICIT_SHARE
    lines: list[str] = []
    while len(lines) < _COUNT:
        patterns = []
        for primary, synonyms, hidden in rows:
            options = primary if not lines else (*primary, *synonyms, *synonyms)
            if implicit and len(lines) == _COUNT - 1:
                options = hidden
            patterns.append(options[int(rng.integers(len(options)))])
        line = _line(_sentence(patterns, specs, rng))
        if line not in lines:
            lines.append(line)
    return lines


def _line(tokens: Sequence[Token]) -> str:
    text = re.sub(r"\s+", " ", " ".join(token[0] for token in tokens)).strip()
    return str(Caption(f"{text}.", tuple(f"{lemma}/{pos}" for _, lemma, pos in tokens)))


# -- words: every one that the grammar can write, with lemma and part of speech, so that no tagger is needed ----------
def _lexicon() -> dict[str, tuple[str, str]]:
    words = read_yaml(Path(__file__).with_name("lexicon.yaml"))
    table = {word: (word, tag) for tag, names in reversed(words["classes"].items()) for word in names.split()}
    table |= {f"{noun}s": (noun, "NOUN") for noun in words["plurals"].split()}
    return table | {word: (lemma, tag) for word, (lemma, tag) in words["others"].items()}


LEXICON = _lexicon()


def tag(word: str) -> tuple[str, str]:
    """``(lemma, POS)`` of a word of the grammar; KeyError for a word that the lexicon lacks (a bug, tests look)."""
    return LEXICON[re.sub(r"[^\w-]", "", word)]
